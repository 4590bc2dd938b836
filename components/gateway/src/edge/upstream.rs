//! Calls to the inference host.

use std::time::Duration;

use brink_protocol::limits::MAX_MESSAGE_BYTES;
use brink_protocol::{
    CATALOG_PATH, Catalog, INFER_PATH, InferReply, InferRequest, MEDIA_TYPE, message,
};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use http_body_util::Full;
use serde::de::DeserializeOwned;
use spin_sdk::http::send;
use spin_sdk::wasip3::http::types::{ErrorCode, RequestOptions};
use spin_sdk::wasip3::http_compat::RequestOptionsExtension;

use super::Edge;
use super::body::{self, ReadError};
use crate::error::ApiError;

/// A host that is up accepts a connection at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The host answers at its deadline by itself; only a lost answer is waited for longer.
pub(super) const GRACE: Duration = Duration::from_millis(500);
/// What a client is told to wait when the host is gone.
pub(super) const RETRY_AFTER_MS: u32 = 1000;
/// A catalogue takes no model time.
const CATALOG_TIMEOUT: Duration = Duration::from_secs(2);

impl Edge {
    /// Asks the host which models it serves.
    pub(super) async fn fetch_catalog(&self) -> Result<Catalog, ApiError> {
        self.call(Method::GET, CATALOG_PATH, Bytes::new(), CATALOG_TIMEOUT)
            .await
    }

    /// Asks the host for what is missing.
    pub(super) async fn fetch_results(&self, call: &InferRequest) -> Result<InferReply, ApiError> {
        let body = message::encode(call).into();
        let timeout = self.settings.upstream_timeout + GRACE;
        self.call(Method::POST, INFER_PATH, body, timeout).await
    }

    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        timeout: Duration,
    ) -> Result<T, ApiError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.settings.upstream))
            .header(CONTENT_TYPE, MEDIA_TYPE)
            .extension(RequestOptionsExtension(options(timeout)))
            .body(Full::new(body))
            .map_err(|error| {
                ApiError::host_nonsense(&format!("the variable upstream is no URL: {error}"))
            })?;
        let response = send(request)
            .await
            .map_err(|error| unreachable_host(&error, timeout))?;
        let bytes = body::read(response.into_body(), MAX_MESSAGE_BYTES as u64)
            .await
            .map_err(|error| match error {
                ReadError::TooLarge(size) => ApiError::host_nonsense(&format!("{size} bytes")),
                ReadError::Broken => ApiError::host_unavailable(RETRY_AFTER_MS),
            })?;
        message::decode(&bytes).map_err(|error| ApiError::host_nonsense(&error.to_string()))
    }
}

pub(super) fn options(timeout: Duration) -> RequestOptions {
    let nanos = |duration: Duration| Some(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    let options = RequestOptions::new();
    // A host that knows no such option keeps its own limit: nothing to do about it here.
    let _ = options.set_connect_timeout(nanos(CONNECT_TIMEOUT));
    let _ = options.set_first_byte_timeout(nanos(timeout));
    let _ = options.set_between_bytes_timeout(nanos(timeout));
    options
}

fn unreachable_host(error: &ErrorCode, timeout: Duration) -> ApiError {
    eprintln!("the call to the inference host failed: {error:?}");
    match error {
        ErrorCode::HttpResponseTimeout | ErrorCode::ConnectionReadTimeout => timed_out(timeout),
        _ => ApiError::host_unavailable(RETRY_AFTER_MS),
    }
}

pub(super) fn timed_out(timeout: Duration) -> ApiError {
    ApiError::host_timeout(timeout.as_millis().try_into().unwrap_or(u32::MAX))
}
