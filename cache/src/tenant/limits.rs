//! How much a tenant may ask for. What is absent is not limited.

use std::num::{NonZeroU32, NonZeroU64};

use serde::{Deserialize, Serialize};

use super::bucket::Quota;

const SECOND_MS: NonZeroU64 = NonZeroU64::new(1_000).expect("not zero");
const MICROSECONDS: NonZeroU64 = NonZeroU64::new(1_000).expect("not zero");
const MINUTE_MS: NonZeroU64 = NonZeroU64::new(60_000).expect("not zero");

/// The limits of one tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantLimits {
    /// How often it may ask.
    pub requests_per_second: Option<Rate>,
    /// How many of its requests may be in flight at a time.
    pub max_concurrent: Option<NonZeroU32>,
    /// How long models may work for it in a minute, in milliseconds of one device. Answers from
    /// the cache take none.
    pub model_ms_per_minute: Option<NonZeroU64>,
}

/// A number of requests per second, and how many may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Requests per second in the long run.
    pub per_second: NonZeroU32,
    /// Requests that may come at once after a time of silence.
    pub burst: NonZeroU32,
}

impl Rate {
    /// The bucket's measures. Each request costs 1.
    pub fn quota(self) -> Quota {
        Quota {
            capacity: self.burst.into(),
            refill: self.per_second.into(),
            window_ms: SECOND_MS,
        }
    }
}

impl TenantLimits {
    /// The measures of the bucket of requests, if they are limited.
    pub fn request_quota(&self) -> Option<Quota> {
        self.requests_per_second.map(Rate::quota)
    }

    /// The measures of the bucket of model time, if that is limited.
    pub fn model_time_quota(&self) -> Option<Quota> {
        self.model_ms_per_minute.map(model_time_quota)
    }
}

/// The measures of a bucket of so many milliseconds of model time per minute. Its tokens are
/// microseconds, for small models. What a request costs is known afterwards, see
/// [`TokenBucket::spend`].
///
/// [`TokenBucket::spend`]: super::TokenBucket::spend
pub fn model_time_quota(per_minute_ms: NonZeroU64) -> Quota {
    let microseconds = per_minute_ms.saturating_mul(MICROSECONDS);
    Quota {
        capacity: microseconds,
        refill: microseconds,
        window_ms: MINUTE_MS,
    }
}
