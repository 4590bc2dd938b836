//! Sessions over a socket of the test's own, in paused time.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use axum::body::Body;
use brink_protocol::refusal::ErrorForm;
use futures_util::stream;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;

use super::*;
use crate::live::merge::OutboxLimits;
use crate::server::RequestBody;

mod ends;
mod requests;

/// A client: what it says, what it was sent, and whether it reads.
#[derive(Clone, Default)]
struct Wire(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    said: VecDeque<Received>,
    /// Not yet taken by the client.
    buffered: Vec<Outgoing>,
    taken: Vec<Outgoing>,
    reads: bool,
    written: u64,
    waker: Option<Waker>,
}

impl Wire {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        let waker = self.lock().waker.take();
        waker.into_iter().for_each(Waker::wake);
        self.0.changed.notify_waiters();
    }

    fn says(&self, received: Received) {
        self.lock().said.push_back(received);
        self.wake();
    }

    fn asks(&self, message: &str) {
        self.says(Received::Text(Bytes::from(message.to_owned())));
    }

    fn reads(&self, reads: bool) {
        self.lock().reads = reads;
        self.wake();
    }

    /// The client's messages so far, once there are so many.
    async fn messages(&self, count: usize) -> Vec<String> {
        loop {
            let changed = self.0.changed.notified();
            let texts: Vec<String> = self.lock().taken.iter().filter_map(text_of).collect();
            if texts.len() >= count {
                return texts;
            }
            changed.await;
        }
    }

    fn close_code(&self) -> Option<u16> {
        let state = self.lock();
        let mut all = state.taken.iter().chain(&state.buffered);
        all.find_map(|frame| match frame {
            Outgoing::Close(code, _) => Some(*code),
            _ => None,
        })
    }
}

fn text_of(frame: &Outgoing) -> Option<String> {
    match frame {
        Outgoing::Text(text) => Some(text.clone()),
        _ => None,
    }
}

impl Socket for Wire {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        let mut state = self.lock();
        if let Some(said) = state.said.pop_front() {
            return Poll::Ready(said);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn start_send(&mut self, frame: Outgoing) -> Result<(), Gone> {
        self.lock().buffered.push(frame);
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        let mut state = self.lock();
        if !state.reads {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let buffered = std::mem::take(&mut state.buffered);
        state.written += buffered.len() as u64;
        // A client that is told to close says so too.
        if buffered
            .iter()
            .any(|frame| matches!(frame, Outgoing::Close(..)))
        {
            state.said.push_back(Received::Closed);
        }
        state.taken.extend(buffered);
        drop(state);
        self.0.changed.notify_waiters();
        Poll::Ready(Ok(()))
    }

    fn written(&self) -> u64 {
        self.lock().written
    }
}

/// Whoever answers requests.
#[derive(Clone, Default)]
struct Answers {
    /// Lets one piece of `/stream` go.
    pieces: Arc<Gate>,
    /// Requests that are being answered.
    open: Arc<()>,
}

struct Gate(Semaphore);

impl Default for Gate {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

impl Answer for Answers {
    async fn answer<B: RequestBody>(&self, request: Request<B>, _: SocketAddr) -> Response<Body> {
        let open = self.open.clone();
        let path = request.uri().path().to_owned();
        match path.as_str() {
            "/echo" => {
                let body = request.into_body().collect().await;
                let body = body.unwrap_or_else(|_| panic!("a body of ours")).to_bytes();
                Response::new(Body::from(body))
            }
            "/never" => std::future::pending().await,
            "/panic" => panic!("as the test wants"),
            "/stream" => self.stream(open),
            _ => Refusal {
                status: StatusCode::NOT_FOUND,
                code: "unknown_route",
                message: "no".to_owned(),
                retry_after: Some(Duration::from_secs(2)),
            }
            .into_response(ErrorForm::OpenAi),
        }
    }
}

impl Answers {
    fn stream(&self, open: Arc<()>) -> Response<Body> {
        let pieces = self.pieces.clone();
        let events = stream::unfold((pieces, open), |(pieces, open)| async move {
            pieces.0.acquire().await.ok()?.forget();
            let chunk = "data: {\"choices\":[{\"delta\":{\"content\":\" word\"}}]}\n\n";
            Some((Ok::<_, Infallible>(Bytes::from(chunk)), (pieces, open)))
        });
        let mut response = Response::new(Body::from_stream(events));
        let kind = http::HeaderValue::from_static("text/event-stream");
        response.headers_mut().insert("content-type", kind);
        response
    }

    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.open) <= 2
    }
}

/// A session under test.
struct Fixture {
    wire: Wire,
    answers: Answers,
    stop: Stop,
    metrics: LiveMetrics,
    session: JoinHandle<Ended>,
}

fn config() -> LiveConfig {
    LiveConfig {
        max_requests_per_socket: 2,
        outbox: OutboxLimits {
            budget: 4096,
            gap: Duration::ZERO,
        },
        ..LiveConfig::default()
    }
}

fn begin(config: LiveConfig) -> Fixture {
    let wire = Wire::default();
    wire.reads(true);
    let answers = Answers::default();
    let stop = Stop {
        drain: CancellationToken::new(),
        cut: CancellationToken::new(),
    };
    let metrics = LiveMetrics::default();
    let parts = Parts {
        answering: answers.clone(),
        caller: Arc::new(Caller {
            address: (Ipv4Addr::LOCALHOST, 4000).into(),
            headers: HeaderMap::new(),
        }),
        config: Arc::new(config),
        metrics: metrics.clone(),
    };
    let session = Session::new(wire.clone(), parts).run(stop.clone());
    Fixture {
        wire,
        answers,
        stop,
        metrics,
        session: tokio::spawn(session),
    }
}
