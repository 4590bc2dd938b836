//! A closed-loop load generator: so many connections, each with one request at a time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
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
    /// The body's media type.
    pub(crate) content_type: &'static str,
}

impl Call {
    /// A JSON POST.
    pub(crate) fn post(path: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            content_type: "application/json",
            ..Self::post_bytes(path, body)
        }
    }

    /// A POST of any bytes.
    pub(crate) fn post_bytes(path: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            method: Method::POST,
            path,
            body: body.into(),
            content_type: "application/octet-stream",
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
        let (parts, body) = self.exchange(call).await?.into_parts();
        ensure!(
            parts.status.is_success(),
            "{}: {}",
            parts.status,
            String::from_utf8_lossy(&body)
        );
        Ok(body)
    }

    /// Sends a request and reads its whole answer, whatever it says.
    pub(crate) async fn exchange(&mut self, call: &Call) -> Result<Response<Bytes>> {
        let (parts, body) = self.begin(call, &[]).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Response::from_parts(parts, body))
    }

    /// Sends a request with further header fields and reads the head of its answer. The body has to be read to its end
    /// before the next request.
    pub(crate) async fn begin(
        &mut self,
        call: &Call,
        fields: &[(&str, &str)],
    ) -> Result<Response<Incoming>> {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(call.path)
            .header("host", &self.host)
            .header("content-type", call.content_type);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        self.sender.ready().await?;
        let request = request.body(Full::new(call.body.clone()))?;
        Ok(self.sender.send_request(request).await?)
    }
}

/// A server and how it is loaded.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Connections, each with one request at a time.
    pub(crate) connections: usize,
    /// Sent round robin.
    pub(crate) calls: Arc<[Call]>,
    /// Requests per second; `None` sends as fast as answers come. The runtime's timer wakes
    /// senders once a millisecond, so what is due in one of them comes in a burst.
    pub(crate) rate: Option<f64>,
}

impl Load {
    /// Sends `total` requests in all.
    pub(crate) async fn run(&self, total: usize) -> Result<Outcome> {
        let mut open = Vec::with_capacity(self.connections);
        for _ in 0..self.connections {
            open.push(Connection::open(self.address).await.context("connecting")?);
        }
        let next = Arc::new(AtomicUsize::new(0));
        let start = Instant::now();
        let mut clients = JoinSet::new();
        for connection in open {
            let (load, next) = (self.clone(), next.clone());
            clients.spawn(async move { load.client(connection, &next, start, total).await });
        }
        let mut durations = Vec::with_capacity(total);
        while let Some(client) = clients.join_next().await {
            durations.extend(client??);
        }
        let elapsed = start.elapsed();
        durations.sort_unstable();
        Ok(Outcome { durations, elapsed })
    }

    async fn client(
        &self,
        mut connection: Connection,
        next: &AtomicUsize,
        start: Instant,
        total: usize,
    ) -> Result<Vec<Duration>> {
        let mut durations = Vec::with_capacity(total / self.connections + 1);
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= total {
                return Ok(durations);
            }
            if let Some(rate) = self.rate {
                let due = Duration::from_secs_f64(index as f64 / rate);
                tokio::time::sleep_until(start + due).await;
            }
            let sent = Instant::now();
            connection
                .send(&self.calls[index % self.calls.len()])
                .await?;
            durations.push(sent.elapsed());
        }
    }
}
