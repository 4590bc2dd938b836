//! Waits for work and takes it from the queue.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Batch, shape};
use crate::batch::pool::{BatchError, Job, Shared, State};

/// What a session does next.
pub(super) enum Work {
    Run(Batch),
    /// It was idle for long: its memory is to be given back.
    Shrink,
    /// The pool is closed and nothing waits.
    End,
}

/// The taking end of a session.
pub(super) struct Feed {
    shared: Arc<Shared>,
    idle_shrink_after: Duration,
    /// Whether memory was given back since the last batch.
    is_shrunk: bool,
}

/// When a session can run something.
#[derive(Clone, Copy, Debug)]
pub(super) enum Free {
    Now,
    /// It runs something until then. A full batch may be taken at once, others from `take_from`:
    /// until then they may become better.
    Later {
        starts: Instant,
        take_from: Instant,
    },
}

impl Feed {
    pub(super) fn new(shared: Arc<Shared>, idle_shrink_after: Duration) -> Self {
        Self {
            shared,
            idle_shrink_after,
            is_shrunk: true,
        }
    }

    /// Waits for work of a session that is free.
    pub(super) fn next(&mut self) -> Work {
        self.next_when(|| Free::Now)
    }

    /// Waits for work of a session that may be busy. What `free` says may change whenever the pool
    /// is told that something changed.
    pub(super) fn next_when(&mut self, free: impl Fn() -> Free) -> Work {
        let idle_since = Instant::now();
        let shrink_at = (!self.is_shrunk).then(|| idle_since + self.idle_shrink_after);
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        loop {
            let now = Instant::now();
            let free = free();
            let (batch, expired) = self.take(&mut state, now, free);
            if batch.is_some() || !expired.is_empty() {
                drop(state);
                self.refuse(expired);
                if let Some(batch) = batch {
                    self.is_shrunk = false;
                    return Work::Run(batch);
                }
                state = shared.lock();
                continue;
            }
            if state.closed && state.schedule.queue.is_empty() {
                return Work::End;
            }
            if shrink_at.is_some_and(|at| at <= now) && matches!(free, Free::Now) {
                self.is_shrunk = true;
                return Work::Shrink;
            }
            let due = state.schedule.next_deadline().map(|at| free.not_before(at));
            let wake = due
                .into_iter()
                .chain(shrink_at.map(|at| free.not_before(at)));
            let time = wake.min().map(|at| at.saturating_duration_since(now));
            state = wait(&shared, state, time);
        }
    }

    /// The batch that is due now, if one is, and what is too late.
    fn take(&self, state: &mut State, now: Instant, free: Free) -> (Option<Batch>, Vec<Job>) {
        // What is taken ahead of its time must be in time when its run begins.
        let starts = match free {
            Free::Now => now,
            Free::Later { starts, take_from } => {
                if take_from > now && !state.schedule.queue.holds_full_batch() {
                    return (None, Vec::new());
                }
                starts.max(now)
            }
        };
        let taken = state.schedule.take(starts);
        if taken.is_empty() {
            return (None, Vec::new());
        }
        self.shared.publish(state);
        let batch = (!taken.batch.is_empty()).then(|| Batch {
            ends: state.schedule.began(shape(&taken.batch), starts),
            jobs: taken.batch,
            prepared: None,
        });
        (batch, taken.expired)
    }

    fn refuse(&self, late: Vec<Job>) {
        for job in late {
            self.shared.metrics.refused("expired");
            job.finish(Err(BatchError::DeadlineExceeded));
        }
    }
}

impl Free {
    /// A time, put off until something may be taken.
    fn not_before(self, at: Instant) -> Instant {
        match self {
            Self::Now => at,
            Self::Later { take_from, .. } => at.max(take_from),
        }
    }
}

/// Waits for a change of the state, for at most that time.
fn wait<'s>(
    shared: &'s Shared,
    state: MutexGuard<'s, State>,
    time: Option<Duration>,
) -> MutexGuard<'s, State> {
    let changed = &shared.changed;
    match time {
        None => changed.wait(state).unwrap_or_else(PoisonError::into_inner),
        Some(time) => {
            let waited = changed.wait_timeout(state, time);
            waited.unwrap_or_else(PoisonError::into_inner).0
        }
    }
}
