//! The circuit breaker: stops asking a model that only fails. Pure: time comes in.
//!
//! ```text
//!            failures in a row                time passes
//!  Closed ------------------------> Open ------------------> HalfOpen: one batch is let through
//!    ^                               ^                          |  |
//!    |                               +-- fails: twice as long --+  |
//!    +-------------------------- succeeds -------------------------+
//! ```
//!
//! Only batches count that gave no result at all and failed because of the model, not because of
//! what was in them.

use std::time::Duration;

use tokio::time::Instant;

/// A model that stays broken is tried once a minute.
const MAX_OPEN: Duration = Duration::from_secs(60);
/// Told while the one batch runs that decides.
const WHILE_TRYING: Duration = Duration::from_secs(1);

/// When the breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Failed batches in a row that open it.
    pub failures: u32,
    /// How long it is open the first time.
    pub open_for: Duration,
}

/// What came of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// At least one result.
    Worked,
    /// No result, and the model is to blame.
    Failed,
    /// No result, and the items are to blame: this says nothing about the model.
    Poisoned,
}

#[derive(Debug)]
pub(super) struct Breaker {
    config: BreakerConfig,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed { failed: u32 },
    Open { until: Instant, open_for: Duration },
    HalfOpen { is_trying: bool, open_for: Duration },
}

impl Breaker {
    pub(super) fn new(config: BreakerConfig) -> Self {
        Self {
            config,
            state: State::Closed { failed: 0 },
        }
    }

    /// Lets a call in, or says when to come back.
    pub(super) fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        self.pass(now);
        match self.state {
            State::Open { until, .. } => Err(until.saturating_duration_since(now)),
            State::HalfOpen {
                is_trying: true, ..
            } => Err(WHILE_TRYING),
            State::Closed { .. } | State::HalfOpen { .. } => Ok(()),
        }
    }

    /// Whether a batch may be taken now.
    pub(super) fn lets_run(&self) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { .. } => false,
            State::HalfOpen { is_trying, .. } => !is_trying,
        }
    }

    /// A batch was taken.
    pub(super) fn began(&mut self) {
        if let State::HalfOpen { is_trying, .. } = &mut self.state {
            *is_trying = true;
        }
    }

    /// A batch ended. Returns how long the breaker will be open if it opened now.
    pub(super) fn ended(&mut self, outcome: Outcome, now: Instant) -> Option<Duration> {
        match (outcome, self.state) {
            (Outcome::Worked, _) => {
                self.state = State::Closed { failed: 0 };
                None
            }
            (Outcome::Failed, State::Closed { failed }) => {
                let failed = failed + 1;
                self.state = State::Closed { failed };
                (failed >= self.config.failures).then(|| self.open(self.config.open_for, now))
            }
            (Outcome::Failed, State::HalfOpen { open_for, .. }) => {
                Some(self.open((2 * open_for).min(MAX_OPEN), now))
            }
            (Outcome::Poisoned, State::HalfOpen { open_for, .. }) => {
                self.state = State::HalfOpen {
                    is_trying: false,
                    open_for,
                };
                None
            }
            // What began before it opened says nothing new.
            (Outcome::Failed, State::Open { .. })
            | (Outcome::Poisoned, State::Closed { .. } | State::Open { .. }) => None,
        }
    }

    /// Whether everybody is refused for now.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        matches!(self.state, State::Open { until, .. } if until > now)
    }

    /// Whether the last that is known is that the model fails.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    fn open(&mut self, open_for: Duration, now: Instant) -> Duration {
        self.state = State::Open {
            until: now + open_for,
            open_for,
        };
        open_for
    }

    fn pass(&mut self, now: Instant) {
        if let State::Open { until, open_for } = self.state
            && until <= now
        {
            self.state = State::HalfOpen {
                is_trying: false,
                open_for,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker() -> Breaker {
        Breaker::new(BreakerConfig {
            failures: 3,
            open_for: 5 * SECOND,
        })
    }

    /// A breaker that opened now.
    fn open(now: Instant) -> Breaker {
        let mut breaker = breaker();
        let opened: Vec<_> = (0..3)
            .map(|_| breaker.ended(Outcome::Failed, now))
            .collect();
        assert_eq!(opened, [None, None, Some(5 * SECOND)]);
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_success_between_them_does_not() {
        let now = Instant::now();
        let mut breaker = breaker();
        for _ in 0..10 {
            for outcome in [Outcome::Failed, Outcome::Failed, Outcome::Worked] {
                assert_eq!(breaker.ended(outcome, now), None);
            }
        }
        assert!(breaker.lets_run() && breaker.admit(now).is_ok());
        let breaker = open(now);
        assert!(breaker.is_open(now) && !breaker.lets_run());
    }

    #[test]
    fn poisonous_batches_neither_open_nor_excuse() {
        let now = Instant::now();
        let mut breaker = breaker();
        for _ in 0..10 {
            breaker.ended(Outcome::Poisoned, now);
        }
        assert!(breaker.is_closed());
        breaker.ended(Outcome::Failed, now);
        breaker.ended(Outcome::Failed, now);
        breaker.ended(Outcome::Poisoned, now);
        assert!(breaker.ended(Outcome::Failed, now).is_some());
    }

    #[test]
    fn open_breaker_refuses_and_says_until_when() {
        let now = Instant::now();
        let mut breaker = open(now);
        assert_eq!(breaker.admit(now + SECOND), Err(4 * SECOND));
        assert!(breaker.admit(now + 5 * SECOND).is_ok());
        assert!(!breaker.is_open(now + 5 * SECOND));
        assert!(!breaker.is_closed(), "the model has to show it first");
    }

    #[test]
    fn one_batch_decides() {
        let now = Instant::now();
        let later = now + 5 * SECOND;
        let try_once = || {
            let mut breaker = open(now);
            assert!(breaker.admit(later).is_ok());
            assert!(breaker.lets_run());
            breaker.began();
            assert!(!breaker.lets_run());
            assert_eq!(breaker.admit(later), Err(WHILE_TRYING));
            breaker
        };
        let mut worked = try_once();
        worked.ended(Outcome::Worked, later);
        assert!(worked.is_closed());

        let mut poisoned = try_once();
        poisoned.ended(Outcome::Poisoned, later);
        assert!(poisoned.lets_run() && poisoned.admit(later).is_ok());

        let mut failed = try_once();
        let mut now = later;
        let mut open_for = Vec::new();
        for _ in 0..5 {
            let opened = failed.ended(Outcome::Failed, now).expect("it opens again");
            open_for.push(opened.as_secs());
            now += opened;
            assert!(failed.admit(now).is_ok());
            failed.began();
        }
        assert_eq!(open_for, [10, 20, 40, 60, 60]);
        failed.ended(Outcome::Worked, now);
        let again: Vec<_> = (0..3)
            .filter_map(|_| failed.ended(Outcome::Failed, now))
            .collect();
        assert_eq!(again, [5 * SECOND], "it is forgiven");
    }

    #[test]
    fn batches_that_began_before_it_opened_can_close_it() {
        let now = Instant::now();
        let mut breaker = open(now);
        assert_eq!(breaker.ended(Outcome::Failed, now), None);
        assert!(breaker.is_open(now));
        breaker.ended(Outcome::Worked, now);
        assert!(breaker.is_closed());
    }
}
