//! Calls to the inference host.

use std::convert::Infallible;
use std::time::Duration;

use brink_protocol::infer::decode_reply;
use brink_protocol::limits::MAX_MESSAGE_BYTES;
use brink_protocol::{
    CATALOG_PATH, Catalog, INFER_PATH, InferReply, MEDIA_TYPE, TOKENIZE_PATH, TokenizeReply,
    TokenizeRequest, message,
};
use bytes::Bytes;
use futures_util::stream;
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use http_body::{Body, Frame};
use http_body_util::{Full, StreamBody};
use serde::de::DeserializeOwned;
use spin_sdk::http::send;
use spin_sdk::wasip3::http::types::{ErrorCode, RequestOptions};
use spin_sdk::wasip3::http_compat::RequestOptionsExtension;

use super::Edge;
use super::body::{self, ReadError};
use crate::error::ApiError;
use crate::items::{MAX_ANSWER_BYTES, UpstreamCall};

/// A host that is up accepts a connection at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The host answers at its deadline by itself; only a lost answer is waited for longer.
pub(super) const GRACE: Duration = Duration::from_millis(500);
/// What a client is told to wait when the host is gone.
pub(super) const RETRY_AFTER_MS: u32 = 1000;
/// A catalogue takes no model time.
const CATALOG_TIMEOUT: Duration = Duration::from_secs(2);

/// Most bytes of an answer beside the results: what is said of each.
const MAX_ANSWER_HEAD_BYTES: u64 = 256 * 1024;

/// Why a call brought no message.
enum CallError {
    /// As the client is told.
    Told(ApiError),
    /// The answer has more bytes than the limit.
    TooLarge(u64),
}

/// A call, and what its answer may cost.
struct Ask<B> {
    method: Method,
    path: &'static str,
    body: B,
    timeout: Duration,
    /// Most bytes of the answer.
    limit: u64,
}

impl Edge {
    /// Asks the host which models it serves.
    pub(super) async fn fetch_catalog(&self) -> Result<Catalog, ApiError> {
        let ask = Ask {
            method: Method::GET,
            path: CATALOG_PATH,
            body: Full::new(Bytes::new()),
            timeout: CATALOG_TIMEOUT,
            limit: MAX_MESSAGE_BYTES as u64,
        };
        self.message(ask).await
    }

    /// Asks the host for what is missing. The call is sent piece by piece, and the results are slices of what
    /// comes back.
    pub(super) async fn fetch_results(&self, call: &UpstreamCall) -> Result<InferReply, ApiError> {
        let frames = call
            .pieces()
            .map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
        let ask = Ask {
            method: Method::POST,
            path: INFER_PATH,
            body: StreamBody::new(stream::iter(frames)),
            timeout: self.settings.upstream_timeout + GRACE,
            limit: MAX_ANSWER_BYTES as u64 + MAX_ANSWER_HEAD_BYTES,
        };
        let bytes = self.ask(ask).await.map_err(|error| match error {
            CallError::Told(error) => error,
            CallError::TooLarge(_) => ApiError::answer_too_large(MAX_ANSWER_BYTES),
        })?;
        decode_reply(&bytes).map_err(|error| ApiError::host_nonsense(&error.to_string()))
    }

    /// Asks the host what its tokenizer makes of texts.
    pub(super) async fn fetch_tokens(
        &self,
        call: &TokenizeRequest,
    ) -> Result<TokenizeReply, ApiError> {
        let ask = Ask {
            method: Method::POST,
            path: TOKENIZE_PATH,
            body: Full::new(Bytes::from(message::encode(call))),
            timeout: self.settings.upstream_timeout,
            limit: MAX_MESSAGE_BYTES as u64,
        };
        self.message(ask).await
    }

    async fn message<T: DeserializeOwned>(&self, ask: Ask<Full<Bytes>>) -> Result<T, ApiError> {
        let bytes = self.ask(ask).await.map_err(|error| match error {
            CallError::Told(error) => error,
            CallError::TooLarge(size) => ApiError::host_nonsense(&format!("{size} bytes")),
        })?;
        message::decode(&bytes).map_err(|error| ApiError::host_nonsense(&error.to_string()))
    }

    async fn ask<B>(&self, ask: Ask<B>) -> Result<Bytes, CallError>
    where
        B: Body<Data = Bytes, Error = Infallible> + Unpin + 'static,
    {
        let Ask { timeout, limit, .. } = ask;
        let request = Request::builder()
            .method(ask.method)
            .uri(format!("{}{}", self.settings.upstream, ask.path))
            .header(CONTENT_TYPE, MEDIA_TYPE)
            .extension(RequestOptionsExtension(options(timeout)))
            .body(ask.body)
            .map_err(|error| {
                let what = format!("the variable upstream is no URL: {error}");
                CallError::Told(ApiError::host_nonsense(&what))
            })?;
        let response = send(request)
            .await
            .map_err(|error| CallError::Told(unreachable_host(&error, timeout)))?;
        let announced = body::announced(response.headers());
        body::read(response.into_body(), announced, limit)
            .await
            .map_err(|error| match error {
                ReadError::TooLarge(size) => CallError::TooLarge(size),
                ReadError::Broken => CallError::Told(ApiError::host_unavailable(RETRY_AFTER_MS)),
            })
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
