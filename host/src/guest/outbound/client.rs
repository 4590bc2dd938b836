//! The client for upstreams outside this process.

use std::error::Error;

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioTimer},
};
use wasmtime_wasi_http::{Error as HttpError, WasiBody};

use super::origin;
use crate::connect::{ConnectError, Connector, Roots, Tls};
use crate::guest::config::OutboundConfig;
use crate::guest::headers::end_connection_fields;

/// HTTP/1.1 over pooled connections, with TLS where the URL says `https`.
pub(super) struct Client(legacy::Client<Connector, WasiBody>);

impl Client {
    /// A client that trusts the system's roots.
    pub(super) fn new(config: &OutboundConfig) -> Self {
        Self::with_roots(config, Roots::System)
    }

    /// A client that trusts `roots`.
    pub(super) fn with_roots(config: &OutboundConfig, roots: Roots) -> Self {
        let connector = Connector::new(config.connect_timeout, Tls::new(roots));
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
        let uri = request.uri().clone();
        let answered = self.0.request(request).await;
        let mut response = answered.map_err(|error| reason(&error, &uri))?;
        end_connection_fields(response.headers_mut());
        Ok(response)
    }
}

/// What the guest is told. What an operator has to mend is logged.
fn reason(error: &legacy::Error, uri: &Uri) -> HttpError {
    tracing::debug!(%error, "upstream request failed");
    let source = error.source().and_then(|source| source.downcast_ref());
    let Some(source) = source else {
        return HttpError::ConnectionTerminated;
    };
    match source {
        ConnectError::Tcp(_) => HttpError::ConnectionRefused,
        ConnectError::HandshakeTimeout(_) => HttpError::ConnectionTimeout,
        // Logged where it was found: once, and not for each request.
        ConnectError::NoRoots(none) => HttpError::InternalError(Some(none.to_string())),
        ConnectError::Certificate(_) => {
            tracing::warn!("request to {} failed: {source}", origin(uri));
            HttpError::TlsCertificateError
        }
        ConnectError::Tls(_) => {
            tracing::warn!("request to {} failed: {source}", origin(uri));
            HttpError::TlsProtocolError
        }
        ConnectError::Alert(alert) => {
            tracing::warn!("request to {} failed: {source}", origin(uri));
            HttpError::TlsAlertReceived {
                alert_id: Some(u8::from(*alert)),
                alert_message: Some(format!("{alert:?}")),
            }
        }
    }
}

#[cfg(test)]
mod tests;
