//! How often a tenant may ask, and how that is told.
//!
//! The bucket lies in the edges' store, so that all instances, and all edges with one store, count
//! together. Reading it and writing it back are two steps: of requests that are decided at the very same
//! moment, all but one may go uncounted. A store that does not answer lets requests
//! pass: it must not become what a tenant's service hangs on.

use std::num::NonZeroU64;

use brink_cache::tenant::{Quota, Remaining, TokenBucket, rate_limit, rate_limit_policy};
use brink_protocol::ModelTime;

use crate::error::ApiError;
use crate::in_force::Caller;
use crate::items::Fetched;
use crate::reply::Reply;

/// What a client may still ask for, by the draft of the `RateLimit` header fields.
pub(crate) const RATE_LIMIT: &str = "ratelimit";
/// What it may ask for at all.
pub(crate) const RATE_LIMIT_POLICY: &str = "ratelimit-policy";

/// The names of the policies in both fields.
const REQUESTS: &str = "requests";
const MODEL_TIME: &str = "model-ms";

/// Whether a request may pass.
#[derive(Debug)]
pub struct Admission {
    quota: Quota,
    remaining: Remaining,
    refusal: Option<ApiError>,
    state: [u8; 24],
}

impl Admission {
    /// Takes a request out of the caller's bucket; `None` if it is not limited. `stored` is what the
    /// store has under [`bucket_key`](brink_cache::tenant::bucket_key), `now_ms` the milliseconds
    /// since the Unix epoch.
    pub fn decide(caller: &Caller, stored: &Fetched, now_ms: u64) -> Option<Self> {
        let quota = caller.limits.request_quota()?;
        let mut bucket = match stored {
            Fetched::Bytes(state) => TokenBucket::resume(quota, state, now_ms),
            Fetched::Absent | Fetched::NotAsked | Fetched::Failed => {
                TokenBucket::full(quota, now_ms)
            }
        };
        let taken = bucket.take(now_ms, 1);
        Some(Self {
            quota,
            remaining: bucket.remaining(now_ms),
            refusal: taken
                .err()
                .map(|wait| ApiError::too_many_requests(&caller.name, caller.limits, wait)),
            state: bucket.state(),
        })
    }

    /// What is to be stored in the bucket's place.
    pub fn state(&self) -> [u8; 24] {
        self.state
    }

    /// 429 for a request that may not pass.
    ///
    /// # Errors
    /// The bucket is empty.
    pub fn check(&self) -> Result<(), ApiError> {
        self.refusal.clone().map_or(Ok(()), Err)
    }

    /// The same as header fields, for answers that are no [`Reply`].
    pub fn fields(&self) -> [(&'static str, String); 2] {
        [
            (RATE_LIMIT_POLICY, rate_limit_policy(REQUESTS, self.quota)),
            (RATE_LIMIT, rate_limit(REQUESTS, self.remaining)),
        ]
    }

    /// Tells the client where it stands.
    pub fn tell(&self, reply: Reply) -> Reply {
        tell(reply, REQUESTS, self.quota, self.remaining)
    }
}

/// Tells the client what is left of its model time.
pub(crate) fn tell_model_time(reply: Reply, per_minute_ms: NonZeroU64, left: ModelTime) -> Reply {
    let quota = Quota {
        capacity: per_minute_ms,
        refill: per_minute_ms,
        window_ms: const { NonZeroU64::new(60_000).expect("not zero") },
    };
    let remaining = Remaining {
        tokens: left.left_ms,
        full_after_ms: left.full_after_ms,
    };
    tell(reply, MODEL_TIME, quota, remaining)
}

fn tell(reply: Reply, policy: &'static str, quota: Quota, remaining: Remaining) -> Reply {
    reply
        .join(RATE_LIMIT_POLICY, &rate_limit_policy(policy, quota))
        .join(RATE_LIMIT, &rate_limit(policy, remaining))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use brink_cache::tenant::{Rate, TenantLimits};
    use bytes::Bytes;
    use http::StatusCode;

    use super::*;

    fn caller(limited: bool) -> Caller {
        let number = |value| NonZeroU32::new(value).unwrap();
        let rate = Rate {
            per_second: number(1),
            burst: number(2),
        };
        Caller {
            name: "acme".into(),
            limits: TenantLimits {
                requests_per_second: limited.then_some(rate),
                ..TenantLimits::default()
            },
        }
    }

    #[test]
    fn burst_passes_then_comes_429_with_the_time_to_wait() {
        let mut stored = Fetched::Absent;
        let mut ask = |now_ms| {
            let admission = Admission::decide(&caller(true), &stored, now_ms).unwrap();
            stored = Fetched::Bytes(Bytes::copy_from_slice(&admission.state()));
            admission
        };
        let first = ask(5_000);
        assert_eq!(first.check(), Ok(()));
        let told = first.tell(Reply::empty(StatusCode::OK));
        assert_eq!(told.header(RATE_LIMIT_POLICY), Some("\"requests\";q=2;w=2"));
        assert_eq!(told.header(RATE_LIMIT), Some("\"requests\";r=1;t=1"));
        assert_eq!(ask(5_000).check(), Ok(()));
        let error = ask(5_400).check().unwrap_err();
        assert_eq!(error.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(error.retry_after_ms, Some(600));
        assert!(error.message.contains("acme"), "{}", error.message);
        assert_eq!(ask(6_000).check(), Ok(()));
    }

    #[test]
    fn who_is_not_limited_has_no_bucket() {
        assert!(Admission::decide(&caller(false), &Fetched::Absent, 0).is_none());
    }

    #[test]
    fn store_that_fails_lets_requests_pass() {
        for _ in 0..10 {
            let admission = Admission::decide(&caller(true), &Fetched::Failed, 0).unwrap();
            assert_eq!(admission.check(), Ok(()));
        }
    }

    #[test]
    fn both_limits_stand_in_one_field() {
        let admission = Admission::decide(&caller(true), &Fetched::Absent, 0).unwrap();
        let left = ModelTime {
            left_ms: 10,
            full_after_ms: 59_000,
        };
        let told = tell_model_time(
            Reply::empty(StatusCode::OK),
            NonZeroU64::new(1_000).unwrap(),
            left,
        );
        let told = admission.tell(told);
        assert_eq!(
            told.header(RATE_LIMIT),
            Some("\"model-ms\";r=10;t=59, \"requests\";r=1;t=1")
        );
        assert_eq!(
            told.header(RATE_LIMIT_POLICY),
            Some("\"model-ms\";q=1000;w=60, \"requests\";q=2;w=2")
        );
    }
}
