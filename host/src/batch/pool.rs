//! The door to a model's sessions: admission, waiting, shutdown.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::config::BatchLimits;
use super::cost::CostModel;
use super::driver::{self, SessionOptions};
use super::metrics::ModelMetrics;
use super::queue::{Bound, Claim, Full, Load, Ticket};
use super::schedule::{Admitted, Reason, Refused, Schedule};
use crate::inference::{Backend, BackendError, Output, Payload};
use crate::telemetry::{Trace, record_refused};

/// One computed item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inferred {
    /// The result.
    pub output: Output,
    /// What the model read, in the units of [`Payload::size`].
    pub size: u32,
    /// The item's share of the run, by padded tokens: all items of a run are padded alike.
    pub cost: Duration,
    /// When the item left the queue.
    pub started: Instant,
    /// How long the whole run took.
    pub ran: Duration,
}

/// Why an item was not computed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BatchError {
    /// A bound of the queue is reached.
    #[error("{} already", waiting_inputs(.full))]
    QueueFull {
        /// Which one, and what waits.
        full: Full,
        /// When there will be room, by the measured pace.
        retry_after: Duration,
    },
    /// The model has too much to do to answer before the deadline.
    #[error("the model would take {needed:?} to answer, which is past the deadline")]
    TooLate {
        /// When it would have answered, with what is ahead.
        needed: Duration,
        /// When it can answer in the same time, by the measured pace.
        retry_after: Duration,
    },
    /// The model only fails, and is left alone for a while.
    #[error("the model failed on everything lately and is left alone for a while")]
    BreakerOpen {
        /// When it is tried again.
        retry_after: Duration,
    },
    /// The host is stopping.
    #[error("the host is shutting down")]
    Draining,
    /// The item's deadline came first.
    #[error("the deadline passed before the model was free")]
    DeadlineExceeded,
    /// The model fails on this item.
    #[error("the model failed on this input")]
    Backend(#[source] BackendError),
    /// The session's thread ended.
    #[error("the model's session ended")]
    SessionLost,
}

fn waiting_inputs(full: &Full) -> String {
    let Full { bound, waiting, .. } = full;
    let whose = match bound {
        Bound::Model => "",
        Bound::Tenant => " of this tenant",
    };
    format!("{waiting} inputs{whose} are waiting for the model")
}

/// What the items of a call have in common.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Who asks. The model's time is shared fairly between tenants.
    pub tenant: Arc<str>,
    /// How urgent they are among the tenant's items, as in RFC 9218: 0 the most, 7 the least.
    pub urgency: u8,
    /// When they are submitted.
    pub now: Instant,
    /// When their results are of no use any more.
    pub deadline: Instant,
}

impl BatchError {
    /// Why an item left the queue without a run; `None` if it never was there, or was run.
    fn without_run(&self) -> Option<&'static str> {
        match self {
            Self::Draining => Some("draining"),
            Self::DeadlineExceeded => Some("deadline"),
            Self::SessionLost => Some("session-lost"),
            Self::QueueFull { .. }
            | Self::TooLate { .. }
            | Self::BreakerOpen { .. }
            | Self::Backend(_) => None,
        }
    }
}

/// Settings of a pool that are not the queue's.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// The queue's limits.
    pub limits: BatchLimits,
    /// What runs cost, from [`fit`](super::fit); [`CostModel::new`] where nothing was measured.
    pub costs: CostModel,
    /// Idle time after which a session gives memory back.
    pub idle_shrink_after: Duration,
    /// Whether a session takes and prepares its next batch while one runs. For devices that would
    /// wait for the processor otherwise; on a processor it fixes batches too early.
    pub prefetch: bool,
    /// By how much the sessions' threads give way to others, as `nice` counts.
    pub niceness: u8,
    /// What to count into.
    pub metrics: ModelMetrics,
}

/// A model's sessions and the queue before them. Dropping it ends the threads; what waits then
/// fails.
#[derive(Debug)]
pub struct BatchPool {
    shared: Arc<Shared>,
}

/// What callers and session threads share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    /// Signalled when items come or the state changes. Session threads wait on it.
    pub(super) changed: Condvar,
    /// Threads that run.
    pub(super) alive: watch::Sender<usize>,
    pub(super) metrics: ModelMetrics,
}

/// Held for microseconds: no run, no reply to a waiting task happens under the lock.
#[derive(Debug)]
pub(super) struct State {
    pub(super) schedule: Schedule<Job>,
    /// Nothing is admitted any more; threads end when the queue is empty.
    pub(super) closed: bool,
}

/// An item on its way. Dropping it tells the waiting task that the session is lost.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) payload: Payload,
    /// What it costs: the payload's size, or that of its bucket.
    pub(super) size: usize,
    pub(super) arrived: Instant,
    /// Where waiting and running belong, if that is recorded.
    pub(super) trace: Option<Trace>,
    pub(super) reply: oneshot::Sender<Result<Inferred, BatchError>>,
}

impl BatchPool {
    /// Starts a session for each backend.
    pub fn start(backends: Vec<Box<dyn Backend>>, options: PoolOptions) -> io::Result<Self> {
        options.metrics.costs_are(&options.costs);
        let pool = Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    schedule: Schedule::new(options.limits, options.costs),
                    closed: false,
                }),
                changed: Condvar::new(),
                alive: watch::Sender::new(0),
                metrics: options.metrics,
            }),
        };
        let session = SessionOptions {
            idle_shrink_after: options.idle_shrink_after,
            prefetch: options.prefetch,
            niceness: options.niceness,
        };
        for backend in backends {
            driver::start(&pool.shared, backend, session)?;
        }
        Ok(pool)
    }

    /// Queues the items of a call, all or none.
    pub fn submit(
        &self,
        items: Vec<Payload>,
        submission: Submission,
    ) -> Result<Vec<Pending>, BatchError> {
        self.submit_under(None, items, submission)
    }

    /// [`submit`](Self::submit), for a call that may be recorded.
    pub fn submit_under(
        &self,
        trace: Option<&Trace>,
        items: Vec<Payload>,
        submission: Submission,
    ) -> Result<Vec<Pending>, BatchError> {
        let trace = trace.filter(|trace| trace.is_sampled());
        let mut state = self.shared.lock();
        if state.closed {
            return Err(BatchError::Draining);
        }
        let sessions = *self.shared.alive.borrow();
        let load = load(&items, state.schedule.queue.limits());
        let admitted = state.schedule.admit(&submission, load, sessions);
        let admitted = admitted.map_err(|refused| self.refuse(refused))?;
        let pending = items
            .into_iter()
            .map(|payload| self.push(&mut state, payload, (&submission, admitted, trace)));
        let pending = pending.collect();
        self.shared.publish(&state);
        drop(state);
        self.shared.changed.notify_all();
        Ok(pending)
    }

    fn push(
        &self,
        state: &mut State,
        payload: Payload,
        (submission, admitted, trace): (&Submission, Admitted, Option<&Trace>),
    ) -> Pending {
        let (reply, receiver) = oneshot::channel();
        let claim = Claim {
            tenant: &submission.tenant,
            urgency: submission.urgency,
            size: state.schedule.queue.limits().size(payload.size()),
            bytes: payload.bytes(),
            arrived: submission.now,
            deadline: submission.deadline,
            start_by: submission.deadline,
            expected: None,
        };
        let job = Job {
            size: claim.size,
            payload,
            arrived: submission.now,
            trace: trace.cloned(),
            reply,
        };
        Pending {
            receiver,
            ticket: Some(state.schedule.push(job, claim, admitted)),
            shared: Arc::clone(&self.shared),
        }
    }

    fn refuse(&self, refused: Refused) -> BatchError {
        let Refused {
            reason,
            retry_after,
        } = refused;
        self.shared.metrics.refused(match reason {
            Reason::Full(Full {
                bound: Bound::Model,
                ..
            }) => "queue-full",
            Reason::Full(_) => "tenant-full",
            Reason::TooLate(_) => "too-late",
            Reason::Broken => "breaker-open",
        });
        match reason {
            Reason::Full(full) => BatchError::QueueFull { full, retry_after },
            Reason::TooLate(needed) => BatchError::TooLate {
                needed,
                retry_after,
            },
            Reason::Broken => BatchError::BreakerOpen { retry_after },
        }
    }

    /// Whether a session runs and its model has not been given up. A model that is due to be tried
    /// again counts as ready: somebody has to ask for something.
    pub fn is_ready(&self) -> bool {
        let state = self.shared.lock();
        let is_broken = state.schedule.is_broken(Instant::now());
        !is_broken && !state.closed && *self.shared.alive.borrow() > 0
    }

    /// Admits nothing more and returns when everything that waits has been computed, or at the
    /// deadline; what waits then fails.
    pub async fn drain(&self, deadline: Instant) {
        self.shared.close();
        let mut alive = self.shared.alive.subscribe();
        let ended = alive.wait_for(|alive| *alive == 0);
        // Either way there is nothing more to wait for.
        let _ = tokio::time::timeout_at(deadline, ended).await;
        self.shared.fail_waiting(&BatchError::Draining);
    }
}

impl Drop for BatchPool {
    fn drop(&mut self) {
        self.shared.close();
        self.shared.fail_waiting(&BatchError::Draining);
    }
}

fn load(items: &[Payload], limits: &BatchLimits) -> Load {
    let sizes = items.iter().map(|payload| limits.size(payload.size()));
    Load {
        items: items.len(),
        tokens: sizes.sum(),
        bytes: items.iter().map(Payload::bytes).sum(),
    }
}

impl Shared {
    /// A panic under the lock would be a defect of the queue; what it holds is still the best
    /// there is, and waiting tasks must get an answer.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells session threads that something changed. The lock is taken so that none of them is
    /// between looking and waiting.
    pub(super) fn wake(&self) {
        drop(self.lock());
        self.changed.notify_all();
    }

    pub(super) fn publish(&self, state: &State) {
        self.metrics.queue_is(state.schedule.queue.load());
        self.metrics.breaker_is_open(!state.schedule.is_trusted());
    }

    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.schedule.queue.stop_waiting();
        drop(state);
        self.changed.notify_all();
    }

    /// Fails what waits.
    pub(super) fn fail_waiting(&self, error: &BatchError) {
        let mut state = self.lock();
        let jobs = state.schedule.queue.clear();
        self.publish(&state);
        drop(state);
        for job in jobs {
            job.finish(Err(error.clone()));
        }
    }

    /// Takes an item out. `false` if it is in the queue no more.
    fn abandon(&self, ticket: Ticket) -> bool {
        let mut state = self.lock();
        let job = state.schedule.queue.remove(ticket);
        self.publish(&state);
        drop(state);
        job.is_some()
    }
}

impl Job {
    /// Answers the waiting task. It may be gone, which is no error.
    pub(super) fn finish(self, result: Result<Inferred, BatchError>) {
        if let (Some(trace), Err(error)) = (&self.trace, &result)
            && let Some(reason) = error.without_run()
        {
            record_refused(trace, self.arrived, reason);
        }
        let _ = self.reply.send(result);
    }
}

/// An item that waits for its result. Dropping it abandons the item: it leaves the queue at once
/// and is not computed, unless its run has begun.
#[derive(Debug)]
pub struct Pending {
    receiver: oneshot::Receiver<Result<Inferred, BatchError>>,
    /// `None` once there is a result.
    ticket: Option<Ticket>,
    shared: Arc<Shared>,
}

impl Pending {
    /// The result. To be asked for once.
    pub async fn outcome(&mut self) -> Result<Inferred, BatchError> {
        let outcome = (&mut self.receiver).await;
        self.ticket = None;
        outcome.unwrap_or(Err(BatchError::SessionLost))
    }

    /// Takes the item back. Returns it if that is too late, because its run has begun.
    pub fn cancel(mut self) -> Option<Self> {
        let ticket = self.ticket.take()?;
        (!self.shared.abandon(ticket)).then_some(self)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.shared.abandon(ticket);
        }
    }
}
