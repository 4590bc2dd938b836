//! Connections to other hosts, for HTTP clients: TCP, and TLS on top where the URL says `https`.
//!
//! HTTP/1.1 only. Whom TLS trusts is in [`Tls`]. Not here: requests, pools of connections, and which
//! hosts may be asked.

mod error;
mod tls;

use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Uri;
use http::uri::Scheme;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower::Service;

pub use error::ConnectError;
pub use tls::{NoRoots, Roots, Tls};

/// Opens the connections of a `hyper_util` client.
#[derive(Clone)]
pub struct Connector {
    tcp: HttpConnector,
    tls: Tls,
    handshake_timeout: Duration,
}

impl Connector {
    /// Connections that are there within `connect_timeout`, or twice that with TLS: the handshake
    /// may take as long again.
    pub fn new(connect_timeout: Duration, tls: Tls) -> Self {
        let mut tcp = HttpConnector::new();
        // Without it a small request waits for the acknowledgement of its own head: 44 ms.
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(connect_timeout));
        // It opens the connections below TLS as well.
        tcp.enforce_http(false);
        Self {
            tcp,
            tls,
            handshake_timeout: connect_timeout.saturating_mul(2),
        }
    }

    async fn open(mut self, uri: Uri) -> Result<Stream, ConnectError> {
        if uri.scheme() != Some(&Scheme::HTTPS) {
            let tcp = self.tcp.call(uri).await;
            let tcp = tcp.map_err(|error| ConnectError::Tcp(error.into()))?;
            return Ok(MaybeHttpsStream::Http(tcp));
        }
        let config = self.tls.config().await?;
        let mut https = HttpsConnector::from((self.tcp, config));
        // TCP has its limit, and a handshake has none: a silent peer would hold this task for ever.
        match timeout(self.handshake_timeout, https.call(uri)).await {
            Ok(opened) => opened.map_err(ConnectError::of_https),
            Err(_) => Err(ConnectError::HandshakeTimeout(self.handshake_timeout)),
        }
    }
}

/// A connection, with TLS or without.
type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Stream, ConnectError>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        // TCP waits in `call`; there is nothing to be ready for.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        self.clone().open(uri).boxed()
    }
}
