//! What tenants may take of the host: calls in flight and model time, counted over all edges.
//!
//! The edge says with each call what its tenant may take. Requests per second are counted at the
//! edge, which also sees those that its cache answers.

use std::collections::HashMap;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use brink_cache::tenant::limits::model_time_quota;
use brink_cache::tenant::{Quota, TokenBucket, Wait};
use brink_protocol::{Fault, FaultCode, ModelTime, TenantShare};
use tokio::time::Instant;

/// When to come back where a call of the tenant's own has to end first.
const SOON_MS: u32 = 1_000;

/// All tenants with limits that called lately.
#[derive(Debug)]
pub(super) struct Shares {
    /// The beginning of the buckets' time.
    since: Instant,
    /// Most tenants in the table.
    max_tenants: usize,
    /// Locked for a look-up only; what a tenant took is behind a lock of its own.
    tenants: Mutex<HashMap<String, Arc<Taken>>>,
}

/// What one tenant took.
#[derive(Debug)]
pub(super) struct Taken {
    since: Instant,
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    in_flight: u32,
    model_time: Option<TokenBucket>,
}

/// A call in flight. Dropping it makes room for the next.
#[derive(Debug)]
pub(super) struct Admitted(Arc<Taken>);

impl Shares {
    pub(super) fn new(max_tenants: usize) -> Self {
        Self {
            since: Instant::now(),
            max_tenants,
            tenants: Mutex::default(),
        }
    }

    /// Lets a call in, or says why not.
    pub(super) fn admit(&self, share: &TenantShare) -> Result<Admitted, Fault> {
        let taken = self.of(&share.tenant)?;
        let mut counts = taken.counts();
        let quota = share.model_ms_per_minute.map(model_time_quota);
        let now = taken.now();
        counts.measure(quota, now);
        if let Some(most) = share.max_concurrent
            && counts.in_flight >= most.get()
        {
            return Err(too_many(share, most));
        }
        if let (Some(bucket), Some(most)) = (&mut counts.model_time, share.model_ms_per_minute) {
            // The rest of what it costs is known, and spent, afterwards.
            bucket
                .take(now, 1)
                .map_err(|wait| spent(share, most, wait))?;
        }
        counts.in_flight += 1;
        drop(counts);
        Ok(Admitted(taken))
    }

    /// The tenant's counts. The table forgets those who are as if they had never called.
    fn of(&self, tenant: &str) -> Result<Arc<Taken>, Fault> {
        let mut tenants = lock(&self.tenants);
        if let Some(taken) = tenants.get(tenant) {
            return Ok(taken.clone());
        }
        if tenants.len() >= self.max_tenants {
            // What still runs for a tenant will be spent.
            tenants.retain(|_, taken| Arc::strong_count(taken) > 1 || !taken.is_as_new());
        }
        if tenants.len() >= self.max_tenants {
            return Err(too_many_tenants(self.max_tenants));
        }
        let taken = Arc::new(Taken {
            since: self.since,
            counts: Mutex::new(Counts {
                in_flight: 0,
                model_time: None,
            }),
        });
        tenants.insert(tenant.to_owned(), taken.clone());
        Ok(taken)
    }
}

impl Counts {
    /// Goes on with the measures that hold now; what was taken under others counts.
    fn measure(&mut self, quota: Option<Quota>, now: u64) {
        let known = self.model_time.as_ref().map(TokenBucket::quota);
        if known == quota {
            return;
        }
        self.model_time = quota.map(|quota| match &self.model_time {
            Some(bucket) => TokenBucket::resume(quota, &bucket.state(), now),
            None => TokenBucket::full(quota, now),
        });
    }
}

impl Taken {
    /// Model time that a run took.
    pub(super) fn spend(&self, cost: Duration) {
        let microseconds = u64::try_from(cost.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = &mut self.counts().model_time {
            bucket.spend(self.now(), microseconds);
        }
    }

    fn is_as_new(&self) -> bool {
        let counts = self.counts();
        let is_full = |bucket: &TokenBucket| bucket.remaining(self.now()).full_after_ms == 0;
        counts.in_flight == 0 && counts.model_time.as_ref().is_none_or(is_full)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        lock(&self.counts)
    }
}

impl Admitted {
    /// Who spends the model time of this call. It may run on when the call has ended.
    pub(super) fn taken(&self) -> Arc<Taken> {
        self.0.clone()
    }

    /// What is left of the model time, if it is limited.
    pub(super) fn model_time(&self) -> Option<ModelTime> {
        let counts = self.0.counts();
        let left = counts.model_time.as_ref()?.remaining(self.0.now());
        Some(ModelTime {
            left_ms: left.tokens / 1_000,
            full_after_ms: left.full_after_ms,
        })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.counts().in_flight -= 1;
    }
}

/// Nothing is left half done under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn too_many(share: &TenantShare, most: NonZeroU32) -> Fault {
    let tenant = &share.tenant;
    Fault {
        code: FaultCode::TooManyInFlight,
        message: format!(
            "tenant {tenant} has {most} requests in flight that a model works for, the most it may have \
             (max_concurrent)"
        ),
        item: None,
        retry_after_ms: Some(SOON_MS),
    }
}

fn spent(share: &TenantShare, most: NonZeroU64, wait: Wait) -> Fault {
    let tenant = &share.tenant;
    Fault {
        code: FaultCode::ModelTimeSpent,
        message: format!(
            "tenant {tenant} has used up its model time of {most} ms per minute (model_ms_per_minute)"
        ),
        item: None,
        retry_after_ms: wait.ms.map(|ms| u32::try_from(ms).unwrap_or(u32::MAX)),
    }
}

fn too_many_tenants(most: usize) -> Fault {
    Fault {
        code: FaultCode::Overloaded,
        message: format!(
            "{most} tenants with limits are being counted, the most that service.max_tenants allows"
        ),
        item: None,
        retry_after_ms: Some(SOON_MS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(tenant: &str, concurrent: u32, model_ms: u64) -> TenantShare {
        TenantShare {
            tenant: tenant.to_owned(),
            max_concurrent: NonZeroU32::new(concurrent),
            model_ms_per_minute: NonZeroU64::new(model_ms),
        }
    }

    fn code(refused: Result<Admitted, Fault>) -> FaultCode {
        refused.expect_err("a refusal").code
    }

    #[tokio::test(start_paused = true)]
    async fn calls_in_flight_are_limited_for_each_tenant() {
        let shares = Shares::new(10);
        let first = shares.admit(&share("a", 2, 0)).expect("room");
        let second = shares.admit(&share("a", 2, 0)).expect("room");
        let refused = shares.admit(&share("a", 2, 0));
        assert_eq!(code(refused), FaultCode::TooManyInFlight);
        assert!(shares.admit(&share("b", 2, 0)).is_ok());
        drop(first);
        assert!(shares.admit(&share("a", 2, 0)).is_ok());
        drop(second);
    }

    #[tokio::test(start_paused = true)]
    async fn spent_model_time_is_waited_for() {
        let shares = Shares::new(10);
        let call = shares.admit(&share("a", 0, 1_000)).expect("time is left");
        call.taken().spend(Duration::from_millis(1_500));
        let left = call.model_time().expect("it is limited");
        assert_eq!((left.left_ms, left.full_after_ms), (0, 90_001));
        let fault = shares
            .admit(&share("a", 0, 1_000))
            .expect_err("nothing is left");
        assert_eq!(fault.code, FaultCode::ModelTimeSpent);
        let wait = fault.retry_after_ms.expect("a time to come back");
        tokio::time::advance(Duration::from_millis(u64::from(wait) - 1)).await;
        assert!(shares.admit(&share("a", 0, 1_000)).is_err());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(shares.admit(&share("a", 0, 1_000)).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn changed_limits_keep_what_was_taken() {
        let shares = Shares::new(10);
        let call = shares.admit(&share("a", 0, 60_000)).expect("time is left");
        call.taken().spend(Duration::from_secs(60));
        assert!(shares.admit(&share("a", 0, 120_000)).is_err());
        assert!(shares.admit(&share("a", 0, 0)).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn table_of_tenants_is_bounded_and_forgets_the_idle() {
        let shares = Shares::new(2);
        let held = shares.admit(&share("a", 1, 0)).expect("room");
        let call = shares.admit(&share("b", 1, 1_000)).expect("room");
        call.taken().spend(Duration::from_millis(500));
        drop(call);
        assert_eq!(code(shares.admit(&share("c", 1, 0))), FaultCode::Overloaded);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(shares.admit(&share("c", 1, 0)).is_ok());
        assert!(shares.admit(&share("a", 1, 0)).is_err());
        drop(held);
    }
}
