//! Warm instances of one component, and the limits that all components share.
//!
//! An instance is `idle` in the pool, or belongs to exactly one [`Lease`]; a lease
//! ends by giving the instance back, or by being dropped, which drops the instance
//! (a trap, a time-out, a client that left). The permit that bounds the instances
//! is part of the lease, so it cannot be lost or returned twice.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use wasmtime::Store;
use wasmtime_wasi_http::p3::bindings::{Service, ServicePre};

use super::{
    config::GuestConfig,
    door::{Door, DoorCode},
    error::GuestError,
    outbound::Network,
    state::{ComponentContext, GuestState},
    stats::{PoolStats, add, subtract},
};

/// What the pools of one application share.
pub(super) struct Shared {
    pub(super) config: GuestConfig,
    pub(super) network: Arc<Network>,
    /// One permit per running instance, background work included.
    instances: Arc<Semaphore>,
    /// One permit per guest that finishes work after its response.
    pub(super) background: Arc<Semaphore>,
    /// Background work is spawned when a body is dropped, which may happen anywhere.
    pub(super) runtime: Handle,
}

impl Shared {
    pub(super) fn new(config: GuestConfig, network: Arc<Network>, runtime: Handle) -> Self {
        Self {
            instances: Arc::new(Semaphore::new(config.max_instances)),
            background: Arc::new(Semaphore::new(config.max_background)),
            config,
            network,
            runtime,
        }
    }

    /// Waits until no instance runs any more; `false` if some still did at `deadline`.
    pub(super) async fn quiesce(&self, deadline: Instant) -> bool {
        let all = u32::try_from(self.config.max_instances).unwrap_or(u32::MAX);
        tokio::time::timeout_at(deadline, self.instances.acquire_many(all))
            .await
            .is_ok()
    }
}

/// One instance with its state.
pub(super) struct Warm {
    pub(super) store: Store<GuestState>,
    pub(super) service: Service,
    uses: u32,
}

struct Idle {
    warm: Warm,
    since: Instant,
}

/// Warm instances of one component.
pub(super) struct Pool {
    pub(super) context: Arc<ComponentContext>,
    pub(super) shared: Arc<Shared>,
    pub(super) stats: Arc<PoolStats>,
    /// The component's synchronous door, if it has one.
    pub(super) door: Option<Arc<Door>>,
    service: ServicePre<GuestState>,
    /// The most recently used last: it is taken first, so that the others can expire.
    /// The lock guards pushes and pops only; instances are made and dropped outside it.
    idle: Mutex<Vec<Idle>>,
}

impl Pool {
    pub(super) fn new(
        context: Arc<ComponentContext>,
        shared: Arc<Shared>,
        service: ServicePre<GuestState>,
        door: Option<DoorCode>,
        stats: Arc<PoolStats>,
    ) -> Self {
        let door = door.map(|code| {
            let config = &shared.config;
            Arc::new(Door::new(code, context.clone(), stats.clone(), config))
        });
        Self {
            context,
            shared,
            stats,
            door,
            service,
            idle: Mutex::default(),
        }
    }

    /// The right to run one instance, or `Busy` at once.
    pub(super) fn lease(self: &Arc<Self>) -> Result<Lease, GuestError> {
        let Ok(permit) = self.shared.instances.clone().try_acquire_owned() else {
            add(&self.stats.refused);
            let max_instances = self.shared.config.max_instances;
            return Err(GuestError::Busy { max_instances });
        };
        add(&self.stats.requests);
        add(&self.stats.busy);
        Ok(Lease {
            warm: None,
            finished: false,
            pool: self.clone(),
            _permit: permit,
        })
    }

    /// Drops instances that waited for longer than the idle time-out.
    pub(super) fn expire_idle(&self, now: Instant) {
        let timeout = self.shared.config.idle_timeout;
        let expired: Vec<_> = {
            let mut idle = self.idle();
            // The oldest stand first.
            let count = idle.partition_point(|idle| now.duration_since(idle.since) >= timeout);
            idle.drain(..count).collect()
        };
        subtract(&self.stats.idle, expired.len());
    }

    pub(super) fn component(&self) -> String {
        self.context.id.to_string()
    }

    async fn instantiate(&self) -> wasmtime::Result<Warm> {
        let network = self.shared.network.clone();
        let mut store = GuestState::store(self.service.engine(), self.context.clone(), network)?;
        let service = self.service.instantiate_async(&mut store).await?;
        add(&self.stats.created);
        Ok(Warm {
            store,
            service,
            uses: 0,
        })
    }

    fn take_idle(&self) -> Option<Warm> {
        let idle = self.idle().pop()?;
        subtract(&self.stats.idle, 1);
        Some(idle.warm)
    }

    fn put_idle(&self, warm: Warm) {
        let since = Instant::now();
        let mut idle = self.idle();
        if idle.len() < self.shared.config.max_idle {
            idle.push(Idle { warm, since });
            add(&self.stats.idle);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        // Pushing and popping leave the list whole even if something panics in between.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pool {
    /// The gauge goes on when another pool takes this one's place.
    fn drop(&mut self) {
        let idle = self.idle().len();
        subtract(&self.stats.idle, idle);
    }
}

/// The right to run one instance. Fields are dropped in this order: the instance is
/// gone before its permit is free.
pub(super) struct Lease {
    warm: Option<Warm>,
    finished: bool,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    /// A warm instance, or a new one.
    pub(super) async fn instance(&mut self) -> Result<&mut Warm, GuestError> {
        let mut warm = match self.pool.take_idle() {
            Some(warm) => warm,
            None => {
                let made = self.pool.instantiate().await;
                made.map_err(|source| GuestError::Instantiate {
                    component: self.pool.component(),
                    source: source.into(),
                })?
            }
        };
        warm.uses += 1;
        Ok(self.warm.insert(warm))
    }

    /// Ends the lease with an instance that may answer more requests.
    pub(super) fn give_back(mut self) {
        self.finished = true;
        let max_uses = self.pool.shared.config.max_uses;
        if let Some(warm) = self.warm.take().filter(|warm| warm.uses < max_uses) {
            self.pool.put_idle(warm);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        subtract(&self.pool.stats.busy, 1);
        if !self.finished {
            add(&self.pool.stats.discarded);
        }
    }
}

/// How often idle instances are looked at, for a given idle time-out.
pub(super) fn sweep_interval(idle_timeout: Duration) -> Duration {
    (idle_timeout / 2).max(Duration::from_millis(10))
}
