//! Token buckets: is there enough left for this request?
//!
//! A bucket holds tokens up to its capacity and is refilled evenly. What is taken between any two
//! moments is at most the capacity and what was refilled in between, whatever clocks do.
//!
//! All numbers are whole. The level is kept in tokens times milliseconds of the window, so that a
//! refill of one millisecond is exact, and no share of a token is lost or made by rounding.

use std::num::NonZeroU64;

/// The measures of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Most tokens in it; also what a full one lets through at once.
    pub capacity: NonZeroU64,
    /// Tokens that come in during a window, evenly.
    pub refill: NonZeroU64,
    /// Length of the window, in milliseconds.
    pub window_ms: NonZeroU64,
}

/// A bucket and what is in it.
///
/// Times are milliseconds of one clock, which should be monotonic. If it is set back, nothing is
/// refilled until it has caught up: else a clock that jumps to and fro would fill the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    quota: Quota,
    /// Tokens times `window_ms`; below zero after [`spend`](Self::spend) took more than there was.
    level: i128,
    /// The latest time that was seen.
    latest_ms: u64,
}

/// What is left in a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// Whole tokens.
    pub tokens: u64,
    /// Milliseconds until the bucket is full if nothing more is taken, rounded up.
    pub full_after_ms: u64,
}

/// There is not enough in the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the limit is reached")]
pub struct Wait {
    /// Milliseconds until there is if nothing more is taken, rounded up; `None` if that never
    /// happens, because the cost is above the capacity.
    pub ms: Option<u64>,
}

impl Quota {
    /// Milliseconds in which an empty bucket is filled, rounded up.
    pub fn fill_ms(self) -> u64 {
        self.ms_for(self.scaled(self.capacity.get()))
    }

    /// Tokens in the unit of levels. Saturates far beyond any limit.
    fn scaled(self, tokens: u64) -> i128 {
        i128::from(tokens).saturating_mul(i128::from(self.window_ms.get()))
    }

    /// Milliseconds until this much has come in, rounded up.
    fn ms_for(self, scaled: i128) -> u64 {
        let refill = u128::from(self.refill.get());
        let missing = scaled.max(0).unsigned_abs();
        u64::try_from(missing.div_ceil(refill)).unwrap_or(u64::MAX)
    }
}

impl TokenBucket {
    /// A full bucket.
    pub fn full(quota: Quota, now_ms: u64) -> Self {
        Self {
            quota,
            level: quota.scaled(quota.capacity.get()),
            latest_ms: now_ms,
        }
    }

    /// The bucket that [`state`](Self::state) left behind, with the measures that hold now. What is
    /// no state, and so never was a bucket's, gives a full one: a store that loses buckets must not
    /// lock anybody out.
    ///
    /// A store may be written by edges whose clocks differ. A time that lies further ahead of
    /// `now_ms` than the bucket takes to fill cannot be waited for, and counts as now.
    pub fn resume(quota: Quota, state: &[u8], now_ms: u64) -> Self {
        let full = Self::full(quota, now_ms);
        let Some((level, latest)) = state.split_first_chunk::<16>() else {
            return full;
        };
        let Ok(latest) = latest.try_into().map(u64::from_le_bytes) else {
            return full;
        };
        let most_ahead = now_ms.saturating_add(quota.fill_ms());
        Self {
            // Measures may have been made smaller meanwhile.
            level: i128::from_le_bytes(*level).min(full.level),
            latest_ms: if latest > most_ahead { now_ms } else { latest },
            ..full
        }
    }

    /// What [`resume`](Self::resume) goes on from: level and latest time, little-endian.
    pub fn state(&self) -> [u8; 24] {
        let mut state = [0; 24];
        state[..16].copy_from_slice(&self.level.to_le_bytes());
        state[16..].copy_from_slice(&self.latest_ms.to_le_bytes());
        state
    }

    /// Its measures.
    pub fn quota(&self) -> Quota {
        self.quota
    }

    /// Takes `cost` tokens if there are that many.
    ///
    /// # Errors
    /// There are fewer; nothing is taken then.
    pub fn take(&mut self, now_ms: u64, cost: u64) -> Result<Remaining, Wait> {
        self.refill(now_ms);
        if cost > self.quota.capacity.get() {
            return Err(Wait { ms: None });
        }
        let missing = self.quota.scaled(cost).saturating_sub(self.level);
        if missing > 0 {
            let behind = self.latest_ms.saturating_sub(now_ms);
            let ms = self.quota.ms_for(missing).saturating_add(behind);
            return Err(Wait { ms: Some(ms) });
        }
        Ok(self.spend(now_ms, cost))
    }

    /// Takes `cost` tokens that are already used up, such as model time: it is known only
    /// afterwards. There may be fewer; later requests then wait until the debt is paid.
    ///
    /// Who takes one token before the work and spends the rest after it exceeds the limit by what
    /// was begun at the same time, and never by more.
    pub fn spend(&mut self, now_ms: u64, cost: u64) -> Remaining {
        self.refill(now_ms);
        self.level = self.level.saturating_sub(self.quota.scaled(cost));
        self.remaining(now_ms)
    }

    /// What is in the bucket.
    pub fn remaining(&self, now_ms: u64) -> Remaining {
        let level = self.level_at(now_ms);
        let whole = level.max(0) / i128::from(self.quota.window_ms.get());
        let full = self.quota.scaled(self.quota.capacity.get());
        let missing = full.saturating_sub(level);
        let behind = match missing {
            0 => 0,
            _ => self.latest_ms.saturating_sub(now_ms),
        };
        Remaining {
            tokens: u64::try_from(whole).unwrap_or(u64::MAX),
            full_after_ms: self.quota.ms_for(missing).saturating_add(behind),
        }
    }

    fn refill(&mut self, now_ms: u64) {
        self.level = self.level_at(now_ms);
        self.latest_ms = self.latest_ms.max(now_ms);
    }

    fn level_at(&self, now_ms: u64) -> i128 {
        let elapsed = now_ms.saturating_sub(self.latest_ms);
        let refill = i128::from(self.quota.refill.get());
        let gained = refill.saturating_mul(i128::from(elapsed));
        let full = self.quota.scaled(self.quota.capacity.get());
        self.level.saturating_add(gained).min(full)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quota(capacity: u64, refill: u64, window_ms: u64) -> Quota {
        let number = |value| NonZeroU64::new(value).unwrap();
        Quota {
            capacity: number(capacity),
            refill: number(refill),
            window_ms: number(window_ms),
        }
    }

    #[test]
    fn burst_passes_and_then_the_rate() {
        let mut bucket = TokenBucket::full(quota(10, 5, 1_000), 0);
        let passed = (0..=10_000).filter(|now| bucket.take(*now, 1).is_ok());
        assert_eq!(passed.count(), 10 + 50);
    }

    #[test]
    fn what_is_left_is_told() {
        let mut bucket = TokenBucket::full(quota(3, 2, 1_000), 0);
        let left = |tokens, full_after_ms| Remaining {
            tokens,
            full_after_ms,
        };
        assert_eq!(bucket.remaining(0), left(3, 0));
        assert_eq!(bucket.take(0, 1), Ok(left(2, 500)));
        assert_eq!(bucket.take(250, 1), Ok(left(1, 750)));
        assert_eq!(bucket.take(250, 2), Err(Wait { ms: Some(250) }));
        assert_eq!(bucket.take(250, 4), Err(Wait { ms: None }));
        assert_eq!(bucket.take(499, 2), Err(Wait { ms: Some(1) }));
        assert_eq!(bucket.take(500, 2), Ok(left(0, 1_500)));
        assert_eq!(bucket.remaining(9_000), left(3, 0));
    }

    #[test]
    fn debt_is_paid_before_anything_passes() {
        let mut bucket = TokenBucket::full(quota(1_000, 1_000, 60_000), 0);
        assert!(bucket.take(0, 1).is_ok());
        let left = bucket.spend(0, 1_999);
        assert_eq!((left.tokens, left.full_after_ms), (0, 120_000));
        assert_eq!(bucket.take(0, 1), Err(Wait { ms: Some(60_060) }));
        assert!(bucket.take(60_060, 1).is_ok());
    }

    #[test]
    fn clock_that_is_set_back_fills_nothing() {
        let mut bucket = TokenBucket::full(quota(1, 1, 1_000), 5_000);
        assert!(bucket.take(5_000, 1).is_ok());
        assert_eq!(bucket.take(0, 1), Err(Wait { ms: Some(6_000) }));
        assert_eq!(bucket.take(5_000, 1), Err(Wait { ms: Some(1_000) }));
        assert!(bucket.take(6_000, 1).is_ok());
    }

    #[test]
    fn bucket_goes_on_where_it_was_left() {
        let quota = quota(2, 1, 1_000);
        let mut bucket = TokenBucket::full(quota, 5_000);
        bucket.spend(5_000, 3);
        assert_eq!(TokenBucket::resume(quota, &bucket.state(), 5_000), bucket);
        let mut resumed = TokenBucket::resume(quota, &bucket.state(), 6_000);
        assert_eq!(resumed.take(6_000, 1), Err(Wait { ms: Some(1_000) }));
        for state in [&b""[..], &[1; 23], &[1; 25]] {
            let full = TokenBucket::full(quota, 7);
            assert_eq!(TokenBucket::resume(quota, state, 7), full);
        }
    }

    #[test]
    fn edge_with_a_clock_far_ahead_locks_nobody_out() {
        let quota = quota(1, 1, 1_000);
        let mut bucket = TokenBucket::full(quota, 1_000_000_000);
        assert!(bucket.take(1_000_000_000, 1).is_ok());
        let mut resumed = TokenBucket::resume(quota, &bucket.state(), 5_000);
        assert_eq!(resumed.take(5_000, 1), Err(Wait { ms: Some(1_000) }));
        assert!(resumed.take(6_000, 1).is_ok());
    }

    #[test]
    fn largest_numbers_do_not_overflow() {
        let mut bucket = TokenBucket::full(quota(u64::MAX, u64::MAX, u64::MAX), 0);
        for now in [0, u64::MAX, 0] {
            bucket = TokenBucket::resume(bucket.quota(), &bucket.state(), now);
            let _ = bucket.take(now, u64::MAX);
            bucket.spend(now, u64::MAX);
            bucket.remaining(now);
        }
    }

    proptest! {
        /// Between any two calls no more passes than the capacity and the refill of the time in
        /// which the clock was ahead of everything before.
        #[test]
        fn no_more_passes_than_is_allowed(
            capacity in 1u64..20, refill in 1u64..20, window in 1u64..2_000,
            calls in prop::collection::vec((0u64..5_000, 0u64..25), 1..40),
        ) {
            let mut bucket = TokenBucket::full(quota(capacity, refill, window), calls[0].0);
            let (mut latest, mut passed) = (0, Vec::new());
            for (now, cost) in calls {
                latest = now.max(latest);
                let cost = bucket.take(now, cost).map_or(0, |_| cost);
                passed.push((latest, cost));
            }
            for (index, (from, _)) in passed.iter().enumerate() {
                let mut sum = 0;
                for (until, cost) in &passed[index..] {
                    sum += cost;
                    prop_assert!(sum * window <= capacity * window + refill * (until - from));
                }
            }
        }

        /// Who waits as long as is asked gets what was wanted, and no sooner.
        #[test]
        fn waiting_helps(
            capacity in 1u64..20, refill in 1u64..20, window in 1u64..2_000,
            spent in 0u64..100, start in 0u64..100, now in 0u64..100, cost in 1u64..25,
        ) {
            let mut bucket = TokenBucket::full(quota(capacity, refill, window), start);
            bucket.spend(start, spent);
            match bucket.take(now, cost) {
                Err(Wait { ms: None }) => prop_assert!(cost > capacity),
                Err(Wait { ms: Some(ms) }) => {
                    prop_assert!(bucket.take(now + ms - 1, cost).is_err());
                    prop_assert!(bucket.take(now + ms, cost).is_ok());
                }
                Ok(left) => {
                    let full = bucket.remaining(now + left.full_after_ms);
                    prop_assert_eq!(full, Remaining { tokens: capacity, full_after_ms: 0 });
                }
            }
        }
    }
}
