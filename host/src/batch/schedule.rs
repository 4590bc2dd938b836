//! Who is let in, and who is told to come back later. Pure: time comes in.
//!
//! A call is admitted if the queue has room for it, and if by the measured pace its last item is
//! answered before its deadline. What it has to wait for is not the whole queue but, as it is
//! fair, what is ahead of it: its tenant's own items that are no less urgent, and of every other
//! tenant at most as much. While the model is idle, everybody is admitted: an estimate that is
//! wrong could otherwise never be corrected, and what is computed too late is kept by the service
//! for the next try.
//!
//! **Retry-After** is the sum of two times, by the measured pace:
//! - until enough of what waits has been worked off that this call would be admitted;
//! - what the tenant's share of the model takes for the calls that were told to come back before
//!   ([`promises`]). So those who come back do so one after another, at the pace of the model, and
//!   not all at once.

use std::time::Duration;

use tokio::time::Instant;

use super::breaker::{Breaker, Outcome};
use super::config::BatchLimits;
use super::cost::CostModel;
use super::pool::Submission;
use super::queue::{Claim, Full, Load, Queue, Taken, Ticket};
use super::shape::Shape;

mod promises;

use promises::Promises;

/// Told while nothing was measured.
const UNKNOWN: Duration = Duration::from_secs(1);
/// The longest time told: a minute from now everything may be different.
const MAX_RETRY: Duration = Duration::from_secs(60);

/// A queue, what runs, and whom was told what.
#[derive(Debug)]
pub(super) struct Schedule<T> {
    pub(super) queue: Queue<T>,
    batch: Load,
    /// When each run will end, by the costs.
    running: Vec<Instant>,
    promises: Promises,
    breaker: Breaker,
}

/// Why a call is not admitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Refused {
    pub(super) reason: Reason,
    pub(super) retry_after: Duration,
}

/// What stands against a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reason {
    Full(Full),
    /// Its last item would be answered only after so much time.
    TooLate(Duration),
    /// The model only fails.
    Broken,
}

/// A call that was let in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admitted {
    /// When its last item will be answered. `None` if that is not known or does not matter, because
    /// the model was idle: its items are then run even if by the costs they are late.
    expected: Option<Instant>,
}

impl<T> Schedule<T> {
    pub(super) fn new(limits: BatchLimits, costs: CostModel) -> Self {
        let batch = Load {
            items: limits.max_batch_items,
            tokens: limits.max_batch_tokens,
            bytes: usize::MAX,
        };
        Self {
            breaker: Breaker::new(limits.breaker),
            queue: Queue::new(limits, costs),
            batch,
            running: Vec::new(),
            promises: Promises::default(),
        }
    }

    /// Lets a call in or refuses it, as a whole.
    pub(super) fn admit(
        &mut self,
        submission: &Submission,
        load: Load,
        sessions: usize,
    ) -> Result<Admitted, Refused> {
        let broken = |retry_after| Refused {
            reason: Reason::Broken,
            retry_after,
        };
        self.breaker.admit(submission.now).map_err(broken)?;
        let sessions = sessions.max(1);
        let needed = self.needed(submission, load, sessions);
        if let Err(full) = self.queue.check_room(&submission.tenant, load) {
            // So much of what waits must go.
            let wait = needed.map(|needed| needed.mul_f64(full.excess));
            let retry_after = self.retry_after(wait, submission, load, sessions);
            let reason = Reason::Full(full);
            return Err(Refused {
                reason,
                retry_after,
            });
        }
        let is_idle = self.queue.is_empty() && self.running.len() < sessions;
        let Some(needed) = needed.filter(|_| !is_idle) else {
            return Ok(Admitted { expected: None });
        };
        let left = submission
            .deadline
            .saturating_duration_since(submission.now);
        let at_worst = needed.mul_f64(self.queue.slip());
        if at_worst > left {
            let retry_after = self.retry_after(Some(at_worst - left), submission, load, sessions);
            let reason = Reason::TooLate(needed);
            return Err(Refused {
                reason,
                retry_after,
            });
        }
        let expected = Some(submission.now + needed);
        Ok(Admitted { expected })
    }

    /// Adds an item of a call that was admitted.
    pub(super) fn push(&mut self, item: T, claim: Claim<'_>, admitted: Admitted) -> Ticket {
        let is_estimated = admitted.expected.is_some();
        let run = self.queue.time(Shape::of(1, claim.size));
        let run = run.filter(|_| is_estimated).unwrap_or_default();
        let claim = Claim {
            start_by: claim.deadline.checked_sub(run).unwrap_or(claim.deadline),
            expected: admitted.expected,
            ..claim
        };
        self.queue.push(item, claim)
    }

    /// The next batch, and the items that are too late.
    pub(super) fn take(&mut self, now: Instant) -> Taken<T> {
        if self.breaker.lets_run() {
            self.queue.take(now)
        } else {
            Taken {
                batch: Vec::new(),
                expired: self.queue.take_expired(now),
            }
        }
    }

    /// When [`Schedule::take`] has something to say again if nothing else happens.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        if self.breaker.lets_run() {
            self.queue.next_deadline()
        } else {
            self.queue.next_expiry()
        }
    }

    /// A batch begins to run. Returns when it will end.
    pub(super) fn began(&mut self, shape: Shape, now: Instant) -> Instant {
        self.breaker.began();
        let time = self.queue.time(shape);
        let ends = now + time.unwrap_or_default();
        self.running.push(ends);
        ends
    }

    /// The batch that was to end then ended. Returns how long nobody will be admitted, if the model
    /// was given up now.
    pub(super) fn ended(
        &mut self,
        expected: Instant,
        outcome: Outcome,
        now: Instant,
    ) -> Option<Duration> {
        let position = self.running.iter().position(|ends| *ends == expected);
        if let Some(position) = position {
            self.running.swap_remove(position);
        }
        self.breaker.ended(outcome, now)
    }

    /// Whether everybody is refused because the model only fails.
    pub(super) fn is_broken(&self, now: Instant) -> bool {
        self.breaker.is_open(now)
    }

    /// Whether the model has shown that it works, or has not been asked yet.
    pub(super) fn is_trusted(&self) -> bool {
        self.breaker.is_closed()
    }

    /// How long it takes until the last of these items is answered.
    fn needed(&self, submission: &Submission, load: Load, sessions: usize) -> Option<Duration> {
        let Submission {
            tenant,
            urgency,
            now,
            ..
        } = submission;
        let costs = self.queue.costs();
        let ahead = self.queue.ahead(tenant, *urgency, load);
        // Its batch is filled with whatever else waits.
        let own = self.usual(load);
        let batch = (self.queue.load() + own).at_most(self.batch);
        let work = (ahead + own).at_least(batch);
        let share = |time: Duration| time.div_f64(sessions as f64);
        // Sessions share the work, but not a batch.
        let time = share(costs.time_for(work)?).max(costs.time_for(batch)?);
        let running = self.running.iter();
        let busy: Duration = running
            .map(|ends| ends.saturating_duration_since(*now))
            .sum();
        Some(share(busy) + time)
    }

    /// A call that fits into one batch as if its items were like those that wait. If their sizes
    /// decided, short ones would always find room first while much is asked for, and long ones
    /// never.
    fn usual(&self, load: Load) -> Load {
        let waiting = self.queue.load();
        if waiting.items == 0 || !load.is_within(self.batch) {
            return load;
        }
        let tokens = load.items * waiting.tokens / waiting.items;
        Load { tokens, ..load }
    }

    fn retry_after(
        &mut self,
        wait: Option<Duration>,
        submission: &Submission,
        load: Load,
        sessions: usize,
    ) -> Duration {
        let backlog = self.queue.load() + load;
        let (Some(wait), Some(time)) = (wait, self.queue.costs().time_for(backlog)) else {
            return UNKNOWN;
        };
        let others = self.queue.tenants_beside(&submission.tenant);
        let share = sessions as f64 / (others + 1) as f64;
        let pace = share * backlog.tokens as f64 / time.as_secs_f64().max(1e-9);
        let promised = self.promises.promise(submission, load.tokens, pace);
        (wait + promised).min(MAX_RETRY)
    }
}

#[cfg(test)]
mod tests;
