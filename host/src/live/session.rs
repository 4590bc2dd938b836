//! One socket, from its opening to its end: reads requests, lets them be answered, and writes what waits.
//!
//! ```text
//!  Socket -- messages --> command -- Ask --> a task per request --> Sender
//!    ^                                                                 |
//!    '----- frames, when the last write has ended ----- Receiver <-----'
//! ```
//!
//! One task reads and writes; each request has a task of its own, which ends when the request is cancelled or the
//! session is dropped. So a request that keeps a processor busy holds up no other, and a client that leaves frees
//! all that was done for it.
//!
//! Not here: how a request is answered (`ask`), what waits (`outbox`), and who may open a socket (`door`).

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::ask::{Asking, Caller, refusal_frame};
use super::command::{Ask, Command, read};
use super::config::LiveConfig;
use super::ending::End;
use super::frame::{self, Frame};
use super::merge::{Key, Piece, Take};
use super::metrics::{Ended, LiveMetrics, RequestOutcome};
use super::outbox::{Receiver, Sender, outbox};
use super::paced;
use super::pulse::{Due, Pulse};
use super::socket::{Fault, Gone, Outgoing, Received, Socket};
use crate::generate::PacedAt;
use crate::server::{Answer, Refusal};

/// How long the client may take to answer that we close. Longer than any way around the world, and shorter than what
/// somebody who waits for a shutdown notices.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// Messages that mean nothing, after which a client is not listened to any more. A client with a mistake learns of it by
/// the first; one that goes on is none of ours.
const MAX_MISTAKES: u32 = 16;

/// When sessions end for the host's sake.
#[derive(Clone, Debug)]
pub(super) struct Stop {
    /// No further requests: what is under way may end.
    pub(super) drain: CancellationToken,
    /// No more time.
    pub(super) cut: CancellationToken,
}

/// What a session is made of, besides its socket.
pub(super) struct Parts<A> {
    pub(super) answering: A,
    pub(super) caller: Arc<Caller>,
    pub(super) config: Arc<LiveConfig>,
    pub(super) metrics: LiveMetrics,
}

/// One socket.
pub(super) struct Session<S, A> {
    socket: S,
    context: Parts<A>,
    sender: Sender,
    outbox: Receiver,
    tasks: JoinSet<RequestOutcome>,
    running: Vec<Running>,
    last_request: u64,
    pulse: Pulse,
    /// Text waits for this.
    gap_ends: Option<Instant>,
    /// Set when no further request is taken: why.
    draining: Option<Ended>,
    mistakes: u32,
    /// What the last message of text was of: the next one of the same needs no id.
    last_text: Option<(u64, u32)>,
}

/// A request that is being answered.
struct Running {
    task: Id,
    abort: AbortHandle,
    id: Arc<str>,
    request: u64,
}

enum Event {
    Received(Received),
    Flushed,
    Filled,
    Time,
    Finished(Result<(Id, RequestOutcome), JoinError>),
    TooSlow,
    Drain,
    Cut,
}

impl<S: Socket, A: Answer> Session<S, A> {
    pub(super) fn new(socket: S, context: Parts<A>) -> Self {
        let (sender, outbox) = outbox(context.config.outbox);
        Self {
            socket,
            pulse: Pulse::new(Instant::now(), &context.config),
            context,
            sender,
            outbox,
            tasks: JoinSet::new(),
            running: Vec::new(),
            last_request: 0,
            gap_ends: None,
            draining: None,
            mistakes: 0,
            last_text: None,
        }
    }

    /// Serves the socket to its end.
    pub(super) async fn run(mut self, stop: Stop) -> Ended {
        let end = self.serve(&stop).await;
        for _ in self.running.drain(..) {
            self.context.metrics.request(RequestOutcome::Cancelled);
        }
        self.tasks.abort_all();
        if let Some((code, reason)) = end.close
            && self
                .socket
                .start_send(Outgoing::Close(code, reason))
                .is_ok()
        {
            tokio::select! {
                _ = tokio::time::timeout(CLOSE_TIMEOUT, goodbye(&mut self.socket)) => {}
                () = stop.cut.cancelled() => {}
            }
        }
        end.ended
    }

    async fn serve(&mut self, stop: &Stop) -> End {
        let mut timer = std::pin::pin!(sleep_until(self.next_time()));
        loop {
            if self.write().is_err() {
                return End::silent(Ended::Gone);
            }
            if let Some(end) = self.drained() {
                return end;
            }
            let next = self.next_time();
            if timer.deadline() != next {
                timer.as_mut().reset(next);
            }
            let writing = self.pulse.is_writing();
            let event = tokio::select! {
                biased;
                () = stop.cut.cancelled() => Event::Cut,
                _ = self.outbox.too_slow() => Event::TooSlow,
                event = poll_fn(|cx| poll_socket(&mut self.socket, writing, cx)) => event,
                Some(finished) = self.tasks.join_next_with_id() => Event::Finished(finished),
                () = self.outbox.filled(), if !writing && self.gap_ends.is_none() => Event::Filled,
                () = stop.drain.cancelled(), if self.draining.is_none() => Event::Drain,
                () = timer.as_mut() => Event::Time,
            };
            if let Err(end) = self.on(event) {
                return end;
            }
        }
    }

    fn next_time(&self) -> Instant {
        let next = self.pulse.next(&self.context.config);
        self.gap_ends.map_or(next, |gap| gap.min(next))
    }

    fn on(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::Received(received) => return self.received(received),
            Event::Flushed => self.pulse.flushed(),
            Event::Filled => {}
            Event::Time => return self.time_passed(Instant::now()),
            Event::Finished(finished) => return self.finished(finished),
            Event::TooSlow => return Err(End::SLOW),
            Event::Drain => self.draining = Some(Ended::Drain),
            Event::Cut => return Err(End::silent(Ended::Cut)),
        }
        Ok(())
    }

    /// Begins to send what waits, unless something is being sent: that is what merges.
    fn write(&mut self) -> Result<(), Gone> {
        if self.pulse.is_writing() {
            return Ok(());
        }
        let now = Instant::now();
        self.gap_ends = None;
        match self.outbox.take(now) {
            Take::Nothing => {}
            Take::NotBefore(at) => self.gap_ends = Some(at),
            Take::Pieces(pieces) => {
                self.context.metrics.texts(self.outbox.pushed());
                for piece in pieces {
                    self.send(piece)?;
                }
                self.pulse.writes(now, self.socket.written());
            }
        }
        Ok(())
    }

    fn send(&mut self, piece: Piece) -> Result<(), Gone> {
        let (frame, is_text) = match piece {
            Piece::Text { key, text, .. } => (self.text(&key, &text), true),
            Piece::Frame { frame, .. } => (frame, false),
        };
        self.context.metrics.sent(frame.len(), is_text);
        self.socket.start_send(Outgoing::Text(frame))
    }

    fn text(&mut self, key: &Key, text: &str) -> String {
        let of = Some((key.request, key.choice));
        if std::mem::replace(&mut self.last_text, of) == of {
            frame::more_text(text)
        } else {
            frame::text(&key.id, key.choice, text)
        }
    }

    /// The end, once nothing is under way any more.
    fn drained(&self) -> Option<End> {
        let ended = self.draining?;
        let is_idle = self.running.is_empty() && !self.pulse.is_writing() && self.outbox.is_empty();
        is_idle.then(|| End::going_away(ended))
    }

    fn time_passed(&mut self, now: Instant) -> Result<(), End> {
        let written = self.socket.written();
        while let Some(due) = self.pulse.due(now, written, &self.context.config) {
            match due {
                Due::HalfOpen => return Err(End::silent(Ended::HalfOpen)),
                Due::Stalled => return Err(End::SLOW),
                Due::Old => self.draining = self.draining.or(Some(Ended::Lifetime)),
                Due::Ping => {
                    let pinged = self.socket.start_send(Outgoing::Ping);
                    pinged.map_err(|Gone| End::silent(Ended::Gone))?;
                    self.pulse.writes(now, written);
                }
            }
        }
        Ok(())
    }

    fn received(&mut self, received: Received) -> Result<(), End> {
        self.pulse.heard(Instant::now());
        match received {
            Received::Text(message) => self.message(&message),
            Received::Binary => Err(End::BINARY),
            Received::Alive => Ok(()),
            Received::Closed => Err(End::silent(Ended::Client)),
            Received::Failed(Fault::Gone) => Err(End::silent(Ended::Gone)),
            Received::Failed(Fault::TooBig) => Err(End::TOO_BIG),
            Received::Failed(Fault::NotUtf8) => Err(End::NOT_UTF8),
            Received::Failed(Fault::Protocol) => Err(End::PROTOCOL),
        }
    }

    fn message(&mut self, message: &Bytes) -> Result<(), End> {
        match read(message) {
            Ok(Command::Cancel(id)) => self.cancel(&id),
            Ok(Command::Ask(id, ask)) => self.ask(id, ask),
            Ok(Command::Paced(id, pace)) => self.pace(id, pace),
            Err(mistake) => self.mistake(mistake.id.as_deref(), mistake.message),
        }
    }

    /// Tells a client that its message means nothing.
    fn mistake(&mut self, id: Option<&str>, message: String) -> Result<(), End> {
        self.mistakes += 1;
        if self.mistakes > MAX_MISTAKES {
            return Err(End::POLICY);
        }
        // A running request of this id goes on, and its client must not take it for ended.
        let id = id.filter(|id| self.running(id).is_none());
        self.refuse(id, invalid(message))
    }

    fn refuse(&mut self, id: Option<&str>, refusal: Refusal) -> Result<(), End> {
        self.context.metrics.request(RequestOutcome::Refused);
        let put = self.outbox.frame(refusal_frame(id, &refusal));
        put.map_err(|_| End::SLOW)
    }

    fn running(&self, id: &str) -> Option<usize> {
        self.running.iter().position(|running| &*running.id == id)
    }

    fn cancel(&mut self, id: &str) -> Result<(), End> {
        // What is not there has ended meanwhile.
        let Some(place) = self.running(id) else {
            return Ok(());
        };
        let running = self.running.swap_remove(place);
        running.abort.abort();
        self.outbox.close(running.request, true);
        self.context.metrics.request(RequestOutcome::Cancelled);
        let done = Frame::of(id, 40).json("done", "{\"finish_reason\":\"cancelled\"}");
        self.outbox.frame(done.end()).map_err(|_| End::SLOW)
    }

    /// A place for one more request.
    fn admit(&mut self, id: &Arc<str>) -> Result<Option<Key>, End> {
        let max = self.context.config.max_requests_per_socket;
        if self.running(id).is_some() {
            let message = "a request with this id is under way".to_owned();
            self.mistake(None, message)?;
            return Ok(None);
        }
        if self.draining.is_some() {
            self.refuse(Some(id), draining())?;
            return Ok(None);
        }
        if self.running.len() >= max {
            self.refuse(Some(id), too_many(max))?;
            return Ok(None);
        }
        self.last_request += 1;
        let request = self.last_request;
        self.outbox.open(request);
        Ok(Some(Key {
            request,
            id: id.clone(),
            choice: 0,
        }))
    }

    fn ask(&mut self, id: Arc<str>, ask: Ask) -> Result<(), End> {
        let Some(key) = self.admit(&id)? else {
            return Ok(());
        };
        let asking = Asking {
            answering: self.context.answering.clone(),
            caller: self.context.caller.clone(),
            sender: self.sender.clone(),
            key: key.clone(),
            max_answer_bytes: self.context.config.max_answer_bytes,
        };
        self.spawn(key, asking.run(ask));
        Ok(())
    }

    fn pace(&mut self, id: Arc<str>, pace: PacedAt) -> Result<(), End> {
        if !self.context.config.paced_source {
            let message = "the paced source is for benchmarks (live.paced_source)".to_owned();
            return self.mistake(Some(&id), message);
        }
        let Some(key) = self.admit(&id)? else {
            return Ok(());
        };
        let (sender, own) = (self.sender.clone(), key.clone());
        self.spawn(key, async move {
            let done = Frame::of(&own.id, 16).json("done", "{}").end();
            let paced = paced::produce(pace, &sender, &own).await;
            if paced.is_ok() && sender.frame(own.request, done).await.is_ok() {
                RequestOutcome::Streamed
            } else {
                RequestOutcome::Slow
            }
        });
        Ok(())
    }

    fn spawn(&mut self, key: Key, task: impl Future<Output = RequestOutcome> + Send + 'static) {
        let abort = self.tasks.spawn(task);
        self.running.push(Running {
            task: abort.id(),
            abort,
            id: key.id,
            request: key.request,
        });
    }

    fn finished(&mut self, finished: Result<(Id, RequestOutcome), JoinError>) -> Result<(), End> {
        let (task, outcome) = match finished {
            Ok((task, outcome)) => (task, Some(outcome)),
            Err(error) => (error.id(), None),
        };
        let place = self.running.iter().position(|running| running.task == task);
        // A request that was cancelled is not there any more.
        let Some(place) = place else {
            return Ok(());
        };
        let running = self.running.swap_remove(place);
        self.outbox.close(running.request, false);
        match outcome {
            Some(outcome) => self.context.metrics.request(outcome),
            None => self.refuse(Some(&running.id), failed())?,
        }
        Ok(())
    }
}

/// Both directions at once: a client that does not read may still say something.
fn poll_socket(socket: &mut impl Socket, writing: bool, cx: &mut Context<'_>) -> Poll<Event> {
    if writing && let Poll::Ready(flushed) = socket.poll_flush(cx) {
        let gone = |Gone| Event::Received(Received::Failed(Fault::Gone));
        return Poll::Ready(flushed.map_or_else(gone, |()| Event::Flushed));
    }
    socket.poll_receive(cx).map(Event::Received)
}

/// Until the client has heard that we close, and said so.
async fn goodbye(socket: &mut impl Socket) {
    let mut flushed = false;
    poll_fn(|cx| {
        if !flushed {
            match socket.poll_flush(cx) {
                Poll::Ready(Ok(())) => flushed = true,
                Poll::Ready(Err(Gone)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
        }
        loop {
            match socket.poll_receive(cx) {
                Poll::Ready(Received::Closed | Received::Failed(_)) => return Poll::Ready(()),
                Poll::Ready(_) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
}

fn invalid(message: String) -> Refusal {
    Refusal {
        status: StatusCode::BAD_REQUEST,
        code: "invalid_message",
        message,
        retry_after: None,
    }
}

fn too_many(max: usize) -> Refusal {
    Refusal {
        status: StatusCode::TOO_MANY_REQUESTS,
        code: "too_many_requests",
        message: format!(
            "{max} requests are under way on this socket (live.max_requests_per_socket)"
        ),
        retry_after: Some(Duration::from_secs(1)),
    }
}

fn draining() -> Refusal {
    Refusal {
        status: StatusCode::SERVICE_UNAVAILABLE,
        code: "draining",
        message: "this socket is about to close; open another".to_owned(),
        retry_after: Some(Duration::from_secs(1)),
    }
}

fn failed() -> Refusal {
    Refusal {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        code: "internal_error",
        message: "the request failed inside the host".to_owned(),
        retry_after: None,
    }
}

#[cfg(test)]
mod tests;
