//! Stops asking a door that keeps failing: a call that runs into its deadline holds a thread
//! that serves.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// Failures in a row after which the door is left alone.
const MAX_FAILURES: u32 = 3;
/// First time for which it is left alone; doubled by each further failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Counts failures in a row. The counters are independent of all other memory, so every
/// ordering may be relaxed.
pub(super) struct Breaker {
    start: Instant,
    failures: AtomicU32,
    /// Milliseconds after `start` until which the door is left alone; zero for never.
    closed_until: AtomicU64,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            failures: AtomicU32::new(0),
            closed_until: AtomicU64::new(0),
        }
    }
}

impl Breaker {
    /// Whether the door is to be left alone. Reads the clock only after a failure.
    pub(super) fn is_closed(&self) -> bool {
        let until = self.closed_until.load(Ordering::Relaxed);
        until > 0 && self.now() < until
    }

    pub(super) fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.closed_until.store(0, Ordering::Relaxed);
        }
    }

    /// Counts a failure, and tells for how long the door is left alone now.
    pub(super) fn failed(&self) -> Option<Duration> {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        let further = failures.checked_sub(MAX_FAILURES)?;
        let pause = FIRST_PAUSE
            .saturating_mul(1u32.checked_shl(further).unwrap_or(u32::MAX))
            .min(LONGEST_PAUSE);
        let until = self.now() + milliseconds(pause);
        self.closed_until.store(until, Ordering::Relaxed);
        Some(pause)
    }

    fn now(&self) -> u64 {
        milliseconds(self.start.elapsed())
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failing_door_is_left_alone_for_longer_and_longer() {
        let breaker = Breaker::default();
        for _ in 1..MAX_FAILURES {
            assert_eq!(breaker.failed(), None);
            assert!(!breaker.is_closed());
        }
        assert_eq!(breaker.failed(), Some(FIRST_PAUSE));
        assert!(breaker.is_closed());
        tokio::time::advance(FIRST_PAUSE).await;
        assert!(!breaker.is_closed());
        assert_eq!(breaker.failed(), Some(2 * FIRST_PAUSE));
        for _ in 0..100 {
            breaker.failed();
        }
        assert_eq!(breaker.failed(), Some(LONGEST_PAUSE));
    }

    #[tokio::test(start_paused = true)]
    async fn one_success_forgives_all_failures() {
        let breaker = Breaker::default();
        for _ in 0..5 {
            breaker.failed();
        }
        breaker.succeeded();
        assert!(!breaker.is_closed());
        assert_eq!(breaker.failed(), None);
    }
}
