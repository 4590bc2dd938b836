//! Accepting connections and speaking HTTP on them, within limits, until told to drain.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::BoxError;
use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body::Body as HttpBody;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::socket;

/// Limits of connections, the same for every listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Most open connections; further ones wait in the system's backlog.
    pub max_connections: usize,
    /// Longest time in which a request's head must have arrived; a head that began gets 408. It
    /// also ends idle keep-alive connections of HTTP/1, without an answer.
    pub header_timeout: Duration,
    /// Longest time in which a client takes no byte of what is sent to it; then its connection is closed.
    pub write_timeout: Duration,
    /// Most bytes of a request's head.
    pub max_header_bytes: usize,
    /// Most requests in flight on one HTTP/2 connection.
    pub max_h2_streams: u32,
    /// How long open requests may take once draining began.
    pub drain_timeout: Duration,
}

/// How long to let the system recover when it has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// The body of a request: a connection's, or one of this process, such as that of a request that came as a
/// message of a WebSocket. Answers take any, so that none of them is boxed on the way of a hit.
pub trait RequestBody:
    HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static
{
}

impl<B> RequestBody for B where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static
{
}

/// Answers one request. A failure is a response, never an error of the connection.
pub trait Answer: Clone + Send + Sync + 'static {
    /// The answer to a request from `client`.
    fn answer<B: RequestBody>(
        &self,
        request: Request<B>,
        client: SocketAddr,
    ) -> impl Future<Output = Response<Body>> + Send;
}

/// Serves until `drain` is cancelled, then lets open requests end.
///
/// Connections that the system accepted before that are served too: from the client's point of view
/// their requests were accepted. Returns how many connections were cut off at the drain timeout.
pub async fn serve(
    listener: TcpListener,
    limits: ConnectionLimits,
    answer: impl Answer,
    drain: CancellationToken,
) -> usize {
    let server = Server {
        limits,
        answer,
        slots: Arc::new(Semaphore::new(limits.max_connections)),
        graceful: GracefulShutdown::new(),
    };
    while let Some(slot) = server.free_slot(&drain).await {
        tokio::select! {
            biased;
            () = drain.cancelled() => break,
            accepted = listener.accept() => server.open(accepted, slot).await,
        }
    }
    while let Some(Ok(accepted)) = listener.accept().now_or_never() {
        let Ok(slot) = server.slots.clone().try_acquire_owned() else {
            break;
        };
        server.open(Ok(accepted), slot).await;
    }
    drop(listener);
    let Server {
        graceful, slots, ..
    } = server;
    let ended = tokio::time::timeout(limits.drain_timeout, graceful.shutdown()).await;
    match ended {
        Ok(()) => 0,
        Err(_) => limits.max_connections - slots.available_permits(),
    }
}

struct Server<A> {
    limits: ConnectionLimits,
    answer: A,
    slots: Arc<Semaphore>,
    graceful: GracefulShutdown,
}

impl<A: Answer> Server<A> {
    /// A place for one more connection; `None` when draining began first.
    async fn free_slot(&self, drain: &CancellationToken) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            biased;
            () = drain.cancelled() => None,
            slot = self.slots.clone().acquire_owned() => slot.ok(),
        }
    }

    async fn open(
        &self,
        accepted: std::io::Result<(TcpStream, SocketAddr)>,
        slot: OwnedSemaphorePermit,
    ) {
        match accepted {
            Ok((stream, client)) => {
                let (limits, answer, watcher) =
                    (self.limits, self.answer.clone(), self.graceful.watcher());
                tokio::spawn(async move {
                    converse(stream, client, limits, answer, watcher).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(
    stream: TcpStream,
    client: SocketAddr,
    limits: ConnectionLimits,
    answer: impl Answer,
    watcher: Watcher,
) {
    // Without this, head and body of a small answer wait for the client's delayed ACK: 40 ms.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY is not available");
    }
    let (lent, lender) = socket::lend(stream, limits.write_timeout);
    let progress = Arc::clone(&lender.progress);
    let service = service_fn(move |request| {
        progress.request_arrived();
        let answer = answer.clone();
        async move { Ok::<_, Infallible>(answer.answer(request, client).await) }
    });
    let builder = http_builder(limits);
    // What becomes of a connection that changes to another protocol is the matter of who answered so.
    let connection = builder.serve_connection_with_upgrades(lent, service);
    let ended = tokio::select! {
        ended = watcher.watch(connection.into_owned()) => ended,
        () = lender.stays_silent(limits.header_timeout) => Err(HeadTimedOut.into()),
    };
    if let Err(error) = ended {
        // Clients that leave or never finish their head are everyday.
        tracing::debug!(%client, error = %error, "a connection ended early");
        if is_head_timeout(&*error) {
            lender.refuse_unfinished_head().await;
        }
    }
}

/// Not even the HTTP version could be told in time.
#[derive(Debug, thiserror::Error)]
#[error("no request began in time")]
struct HeadTimedOut;

/// hyper names the time-out of a head without a source; that of HTTP/2 pings has one.
fn is_head_timeout(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    let timed_out = |error: &hyper::Error| error.is_timeout() && error.source().is_none();
    error.is::<HeadTimedOut>() || error.downcast_ref().is_some_and(timed_out)
}

fn http_builder(limits: ConnectionLimits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.max_header_bytes)
        // Not `max_headers`: with it, even with its default of 100, hyper allocates 6 KB for each request.
        .pipeline_flush(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(limits.max_h2_streams)
        .keep_alive_interval(limits.header_timeout)
        .keep_alive_timeout(limits.header_timeout);
    builder
}
