//! A closed-loop load generator: so many connections, each with one request at a time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What one request looks like.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The method.
    pub(crate) method: Method,
    /// The path.
    pub(crate) path: &'static str,
    /// The body; empty for GET.
    pub(crate) body: Bytes,
}

impl Call {
    /// A JSON POST.
    pub(crate) fn post(path: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            method: Method::POST,
            path,
            body: body.into(),
        }
    }
}

/// What a load did.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// Every request's duration, sorted.
    pub(crate) durations: Vec<Duration>,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
}

impl Outcome {
    /// A quantile of the durations, in microseconds.
    pub(crate) fn quantile_us(&self, q: f64) -> f64 {
        let last = self.durations.len().saturating_sub(1);
        let index = (last as f64 * q).round() as usize;
        self.durations
            .get(index)
            .map_or(f64::NAN, |d| d.as_secs_f64() * 1e6)
    }

    /// Requests per second.
    pub(crate) fn per_second(&self) -> f64 {
        self.durations.len() as f64 / self.elapsed.as_secs_f64()
    }
}

/// One keep-alive connection.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Connection {
    /// Connects with TCP_NODELAY.
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self {
            sender,
            host: address.to_string(),
        })
    }

    /// Sends a request and reads its whole answer; anything but a 2xx is an error.
    pub(crate) async fn send(&mut self, call: &Call) -> Result<Bytes> {
        let request = Request::builder()
            .method(call.method.clone())
            .uri(call.path)
            .header("host", &self.host)
            .header("content-type", "application/json")
            .body(Full::new(call.body.clone()))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        ensure!(
            status.is_success(),
            "{status}: {}",
            String::from_utf8_lossy(&body)
        );
        Ok(body)
    }
}

/// Sends `calls` round robin over `connections` connections, `total` requests in all.
pub(crate) async fn run(
    address: SocketAddr,
    connections: usize,
    total: usize,
    calls: Arc<Vec<Call>>,
) -> Result<Outcome> {
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        open.push(Connection::open(address).await.context("connecting")?);
    }
    let next = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let mut clients = JoinSet::new();
    for mut connection in open {
        let (next, calls) = (next.clone(), calls.clone());
        clients.spawn(async move {
            let mut durations = Vec::with_capacity(total / connections + 1);
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= total {
                    return anyhow::Ok(durations);
                }
                let sent = Instant::now();
                connection.send(&calls[index % calls.len()]).await?;
                durations.push(sent.elapsed());
            }
        });
    }
    let mut durations = Vec::with_capacity(total);
    while let Some(client) = clients.join_next().await {
        durations.extend(client??);
    }
    let elapsed = start.elapsed();
    durations.sort_unstable();
    Ok(Outcome { durations, elapsed })
}
