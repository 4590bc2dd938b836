//! Who was told to come back, so that not all come back at once.
//!
//! For each tenant: the tokens of the calls that were refused and have not had the time to come
//! back and be computed. They drain at the pace at which the model works for the tenant.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::MAX_RETRY;
use crate::batch::pool::Submission;

/// Most tenants that are remembered, some 100 bytes each. Beyond it the others are told times as if
/// nobody had been told anything before.
const MAX_TENANTS: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Promises {
    tenants: HashMap<Arc<str>, Promised>,
}

#[derive(Clone, Copy, Debug)]
struct Promised {
    tokens: f64,
    at: Instant,
}

impl Promises {
    /// How long the tenant's earlier promises take at a pace in tokens per second. Promises so many
    /// tokens more.
    pub(super) fn promise(
        &mut self,
        submission: &Submission,
        tokens: usize,
        pace: f64,
    ) -> Duration {
        let Submission { tenant, now, .. } = submission;
        if !self.tenants.contains_key(tenant) && !self.make_room(*now, pace) {
            return Duration::ZERO;
        }
        let nothing = Promised {
            tokens: 0.0,
            at: *now,
        };
        let promised = self.tenants.entry(Arc::clone(tenant)).or_insert(nothing);
        let before = promised.left(*now, pace);
        // What lies beyond the longest time that is told need not be remembered.
        let most = pace * MAX_RETRY.as_secs_f64();
        *promised = Promised {
            tokens: (before + tokens as f64).min(most),
            at: *now,
        };
        Duration::try_from_secs_f64(before / pace).unwrap_or(MAX_RETRY)
    }

    /// Whether one more tenant can be remembered.
    fn make_room(&mut self, now: Instant, pace: f64) -> bool {
        if self.tenants.len() >= MAX_TENANTS {
            self.tenants
                .retain(|_, promised| promised.left(now, pace) > 0.0);
        }
        self.tenants.len() < MAX_TENANTS
    }
}

impl Promised {
    fn left(self, now: Instant, pace: f64) -> f64 {
        let passed = now.saturating_duration_since(self.at);
        (self.tokens - pace * passed.as_secs_f64()).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submission(tenant: &str, now: Instant) -> Submission {
        Submission {
            tenant: tenant.into(),
            urgency: 3,
            now,
            deadline: now + Duration::from_secs(1),
        }
    }

    #[test]
    fn each_is_told_a_time_after_those_before_it() {
        let now = Instant::now();
        let mut promises = Promises::default();
        let mut promise = |tenant: &str, after: Duration| {
            promises.promise(&submission(tenant, now + after), 100, 1_000.0)
        };
        let told = [0, 1, 2].map(|_| promise("a", Duration::ZERO).as_millis());
        assert_eq!(told, [0, 100, 200]);
        assert_eq!(promise("b", Duration::ZERO), Duration::ZERO);
        let later = Duration::from_millis(250);
        assert_eq!(promise("a", later).as_millis(), 50, "most are back by now");
        assert_eq!(promise("a", Duration::from_secs(9)), Duration::ZERO);
        for _ in 0..1_000 {
            promise("a", Duration::from_secs(9));
        }
        assert_eq!(promise("a", Duration::from_secs(9)), MAX_RETRY);
    }

    #[test]
    fn tenants_are_bounded_and_those_whose_time_came_are_forgotten() {
        let now = Instant::now();
        let mut promises = Promises::default();
        for number in 0..2 * MAX_TENANTS {
            promises.promise(&submission(&number.to_string(), now), 100, 1_000.0);
        }
        assert_eq!(promises.tenants.len(), MAX_TENANTS);
        let later = now + Duration::from_secs(1);
        promises.promise(&submission("late", later), 100, 1_000.0);
        assert_eq!(promises.tenants.len(), 1);
    }
}
