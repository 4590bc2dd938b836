//! Limits as header fields: `RateLimit` and `RateLimit-Policy` as in
//! draft-ietf-httpapi-ratelimit-headers-10, and `Retry-After` (RFC 9110 §10.2.3).
//!
//! The fields are Lists (RFC 9651 §3.1): a response that tells of several limits joins their
//! members with ", ". They are hints. A client that heeds them is refused less often.

use super::bucket::{Quota, Remaining, Wait};

/// Largest integer of a structured field (RFC 9651 §3.3.1).
const MAX_INTEGER: u64 = 999_999_999_999_999;

/// A member of `RateLimit-Policy`: `"default";q=100;w=60`.
///
/// `q` is what a full bucket lets through, `w` the seconds in which an empty one is filled.
/// `policy` is a name of ours: visible ASCII without quotes and backslashes.
pub fn rate_limit_policy(policy: &'static str, quota: Quota) -> String {
    let capacity = quota.capacity.get().min(MAX_INTEGER);
    let window = seconds(quota.fill_ms()).max(1);
    format!("\"{policy}\";q={capacity};w={window}")
}

/// A member of `RateLimit`: `"default";r=50;t=30`.
///
/// `r` is what is left, `t` the seconds until the bucket is full. `policy` is as in
/// [`rate_limit_policy`].
pub fn rate_limit(policy: &'static str, remaining: Remaining) -> String {
    let tokens = remaining.tokens.min(MAX_INTEGER);
    let reset = seconds(remaining.full_after_ms);
    format!("\"{policy}\";r={tokens};t={reset}")
}

impl Wait {
    /// The value of `Retry-After`: whole seconds, 1 at least and rounded up, so that no client
    /// comes back too early. `None` if waiting does not help.
    pub fn retry_after_seconds(self) -> Option<u64> {
        self.ms.map(|ms| seconds(ms).max(1))
    }
}

fn seconds(ms: u64) -> u64 {
    ms.div_ceil(1_000).min(MAX_INTEGER)
}

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU32, NonZeroU64};

    use sfv::{List, Parser};

    use super::super::{Rate, TokenBucket};
    use super::*;

    #[test]
    fn limits_are_told_as_the_draft_shows_them() {
        let number = |value| NonZeroU64::new(value).unwrap();
        let quota = Quota {
            capacity: number(100),
            refill: number(100),
            window_ms: number(60_000),
        };
        let mut bucket = TokenBucket::full(quota, 0);
        let left = bucket.take(0, 50).unwrap();
        assert_eq!(
            rate_limit_policy("default", quota),
            "\"default\";q=100;w=60"
        );
        assert_eq!(rate_limit("default", left), "\"default\";r=50;t=30");
    }

    #[test]
    fn times_are_rounded_up() {
        let number = |value| NonZeroU32::new(value).unwrap();
        let rate = Rate {
            per_second: number(1_000),
            burst: number(10),
        };
        let policy = rate_limit_policy("requests", rate.quota());
        assert_eq!(policy, "\"requests\";q=10;w=1");
        let check = |ms, expected| {
            assert_eq!(Wait { ms }.retry_after_seconds(), expected, "{ms:?}");
        };
        check(Some(0), Some(1));
        check(Some(1), Some(1));
        check(Some(1_000), Some(1));
        check(Some(1_001), Some(2));
        check(None, None);
    }

    #[test]
    fn largest_numbers_are_still_structured_fields() {
        let most = NonZeroU64::MAX;
        let quota = Quota {
            capacity: most,
            refill: NonZeroU64::MIN,
            window_ms: most,
        };
        let left = Remaining {
            tokens: u64::MAX,
            full_after_ms: u64::MAX,
        };
        for value in [rate_limit_policy("a", quota), rate_limit("b", left)] {
            assert!(Parser::new(&value).parse::<List>().is_ok(), "{value}");
        }
    }
}
