//! Upstreams inside this process: a guest's request becomes a function call.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use tower::{Service, ServiceExt, util::BoxCloneSyncService};
use wasmtime_wasi_http::{Error as HttpError, WasiBody};

use super::allow::own_port;
use crate::guest::body::BoxError;

/// A service of this process that guests reach under an authority, without a socket.
/// The component's allow-list still has to allow it. It is polled inside the calling
/// guest's task: a service that calls a [`GuestHost`](crate::guest::GuestHost) itself
/// has to do that in a task of its own, or gets [`Nested`](crate::guest::GuestError::Nested).
#[derive(Clone)]
pub struct LocalUpstream {
    authority: String,
    service: BoxCloneSyncService<Request<WasiBody>, Response<WasiBody>, Infallible>,
}

impl LocalUpstream {
    /// Answers requests to `authority` (`host` or `host:port`) with `service`, for
    /// example an `axum::Router`. Without a port, 80 is meant.
    pub fn new<S, B>(authority: impl Into<String>, service: S) -> Self
    where
        S: Service<Request<WasiBody>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let service = service.map_response(|response: Response<B>| {
            response.map(|body| body.map_err(body_error).boxed_unsync())
        });
        Self {
            authority: authority.into(),
            service: BoxCloneSyncService::new(service),
        }
    }

    /// Host in lower case, and port.
    pub(super) fn key(&self) -> (String, u16) {
        let http = own_port("http").unwrap_or_default();
        let (host, port) = match self.authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().unwrap_or(http)),
            None => (self.authority.as_str(), http),
        };
        (host.to_ascii_lowercase(), port)
    }

    pub(super) async fn call(
        &self,
        request: Request<WasiBody>,
    ) -> Result<Response<WasiBody>, HttpError> {
        match self.service.clone().oneshot(request).await {
            Ok(response) => Ok(response),
            Err(never) => match never {},
        }
    }
}

fn body_error(error: impl Into<BoxError>) -> HttpError {
    HttpError::InternalError(Some(error.into().to_string()))
}
