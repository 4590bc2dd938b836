//! The client for upstreams outside this process.

use http::{Request, Response, uri::Scheme};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use wasmtime_wasi_http::{Error as HttpError, WasiBody};

use crate::guest::config::OutboundConfig;
use crate::guest::headers::end_connection_fields;

/// HTTP/1.1 over pooled TCP connections.
pub(super) struct Client(legacy::Client<HttpConnector, WasiBody>);

impl Client {
    pub(super) fn new(config: &OutboundConfig) -> Self {
        let mut connector = HttpConnector::new();
        // Without it a small request waits for the acknowledgement of its own head: 44 ms.
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(config.connect_timeout));
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(config.idle_connection_timeout)
            .pool_max_idle_per_host(config.max_idle_connections)
            .build(connector);
        Self(client)
    }

    pub(super) async fn send(
        &self,
        request: Request<WasiBody>,
    ) -> Result<Response<Incoming>, HttpError> {
        if request.uri().scheme() == Some(&Scheme::HTTPS) {
            tracing::warn!(
                "https upstreams are not supported; put a local proxy in front, or use http"
            );
            return Err(HttpError::TlsProtocolError);
        }
        let answered = self.0.request(request).await;
        let mut response = answered.map_err(|error| {
            tracing::debug!(%error, "upstream request failed");
            if error.is_connect() {
                HttpError::ConnectionRefused
            } else {
                HttpError::ConnectionTerminated
            }
        })?;
        end_connection_fields(response.headers_mut());
        Ok(response)
    }
}
