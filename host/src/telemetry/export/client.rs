//! The exporter's HTTP client: the connections and the trust of [`crate::connect`], and limits.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry_http::{HttpClient, HttpError};
use tokio::time::timeout;

use crate::connect::{Connector, Roots, Tls};

/// Most bytes of an answer that are read. It says how many spans were refused, and why, in a few words.
const MAX_ANSWER: usize = 64 << 10;
/// One request is under way at a time.
const MAX_IDLE: usize = 1;

/// Sends whole requests and reads whole answers.
pub(super) struct Client {
    inner: legacy::Client<Connector, Full<Bytes>>,
    timeout: Duration,
}

impl Client {
    /// Each request has so much time.
    pub(super) fn new(timeout: Duration) -> Self {
        let inner = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(MAX_IDLE)
            .build(Connector::new(timeout, Tls::new(Roots::System)));
        Self { inner, timeout }
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let response = self.inner.request(request.map(Full::new)).await?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await?;
        Ok(Response::from_parts(parts, body.to_bytes()))
    }
}

/// As `async_trait` writes it.
impl HttpClient for Client {
    fn send_bytes<'client, 'future>(
        &'client self,
        request: Request<Bytes>,
    ) -> BoxFuture<'future, Result<Response<Bytes>, HttpError>>
    where
        'client: 'future,
        Self: 'future,
    {
        timeout(self.timeout, self.send(request))
            .map(|answered| answered?)
            .boxed()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}
