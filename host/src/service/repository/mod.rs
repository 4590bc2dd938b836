//! The models that are served: loaded, switched, unloaded and brought back while requests go on.
//!
//! ```text
//!  call --acquire(name, digest)--> in memory?  the model
//!                                  cold?       loaded first, by one task however many wait
//!  load(name)    a new version is read, loaded and warmed beside the old one, then put in its place
//!  unload(name)  it is served no more
//! ```
//!
//! The list of models is replaced as a whole; a call that holds a model keeps it until it ends, so
//! nothing is taken from under it. A model that cannot be loaded changes nothing. Loads run one after
//! another: memory is measured by them, and CUDA sessions opened at once fail. While one runs, calls to other
//! models go on, and models are listed and unloaded; a load that hangs is given up (see [`loading`]).

mod change;
mod config;
mod described;
mod folders;
mod loader;
mod loading;
mod metrics;
mod room;
mod slot;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use brink_cache::ModelDigest;
use brink_protocol::{Catalog, Fault, FaultCode};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

pub use change::{ChangeError, Loaded};
pub use config::{RepositoryConfig, Versions};
pub use loader::{FolderLoader, Loader};
pub use metrics::RepositoryMetrics;

use super::error::InferError;
use super::model::Model;
use super::{ModelState, ModelStatus, call_fault};
use loading::UnderWay;
use slot::Slot;

/// How often models are looked at that might have been idle for long enough.
const HOUSE_KEEPING: Duration = Duration::from_secs(1);

/// The models that are served. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct Repository(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Of several versions of a model, the one that is served by default comes first. Replaced as a
    /// whole, under `changing`.
    slots: ArcSwap<Vec<Arc<Slot>>>,
    /// `None` where models were given and not loaded.
    loader: Option<Box<dyn Loader>>,
    config: RepositoryConfig,
    metrics: RepositoryMetrics,
    /// Held while a model is loaded, for as long as that takes. Taken before `changing`.
    loading: tokio::sync::Mutex<()>,
    /// Held while the list is changed, or what is in memory: microseconds.
    changing: Mutex<()>,
    /// What threads of loads are at.
    under_way: Arc<UnderWay>,
}

impl Inner {
    /// Nothing is left half done under this lock.
    fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go what is counted of models that are not served. Under `loading`: what is being loaded is
    /// counted before it is in the list.
    fn forget_unserved(&self) {
        let slots = self.slots.load();
        let is_served = |name: &str| slots.iter().any(|slot| slot.info.name == name);
        if let Some(loader) = &self.loader {
            loader.forget_all_but(&is_served);
        }
    }
}

impl Repository {
    /// These models, which stay in memory.
    pub fn of(models: Vec<Model>) -> Self {
        let slots = models.into_iter().map(|model| Slot::new(model, None, 0));
        Self(Arc::new(Inner {
            slots: ArcSwap::from_pointee(slots.map(Arc::new).collect()),
            loader: None,
            config: RepositoryConfig::default(),
            metrics: RepositoryMetrics::default(),
            loading: tokio::sync::Mutex::default(),
            changing: Mutex::default(),
            under_way: Arc::default(),
        }))
    }

    /// Which models there are, in memory or not, and which of them cannot run.
    pub fn catalog(&self) -> Catalog {
        let slots = self.0.slots.load();
        let places = (0..).zip(slots.iter());
        let broken = places.filter(|(_, slot)| state(slot) == ModelState::Broken);
        Catalog {
            broken: broken.map(|(place, _)| place).collect(),
            models: slots.iter().map(|slot| slot.info.clone()).collect(),
        }
    }

    /// Where each model runs, and whether it can.
    pub fn status(&self) -> Vec<ModelStatus> {
        let slots = self.0.slots.load();
        slots.iter().map(|slot| status(slot)).collect()
    }

    /// Whether a model can run, or be loaded when somebody asks: one that fails takes no host from those
    /// that ask for another.
    pub fn is_ready(&self) -> bool {
        let slots = self.0.slots.load();
        slots.iter().any(|slot| state(slot) != ModelState::Broken)
    }

    /// The model of that name whose digest the caller expects, loaded if it is cold.
    pub(super) async fn acquire(
        &self,
        name: &str,
        digest: &ModelDigest,
        deadline: Instant,
    ) -> Result<Arc<Model>, Fault> {
        let slot = self.find(name, digest)?;
        if let Some(model) = slot.take() {
            return Ok(model);
        }
        // In a task of its own: whoever asked may go away, and the others wait for the same.
        let _waiting = slot.wait();
        let repository = self.clone();
        let loading = tokio::spawn(async move { repository.bring_back(&slot).await });
        match timeout_at(deadline, loading).await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(_)) => Err(InferError::Lost.into_fault(None)),
            Err(_) => Err(InferError::DeadlineExceeded.into_fault(None)),
        }
    }

    fn find(&self, name: &str, digest: &ModelDigest) -> Result<Arc<Slot>, Fault> {
        let slots = self.0.slots.load();
        let mut named = slots
            .iter()
            .filter(|slot| slot.info.name == name)
            .peekable();
        if named.peek().is_none() {
            // The name comes from the client and may be of any size: it is not repeated.
            let known: Vec<_> = slots.iter().map(|slot| slot.info.name.as_str()).collect();
            let message = format!("no such model; there is {}", known.join(", "));
            return Err(call_fault(FaultCode::UnknownModel, message));
        }
        let found = named.find(|slot| slot.info.digest == *digest).cloned();
        found.ok_or_else(|| {
            let message = format!("model {name} has another digest than the one asked for");
            call_fault(FaultCode::ModelChanged, message)
        })
    }

    /// Unloads what nobody used for long, until `stop`.
    pub async fn keep_house(self, stop: CancellationToken) {
        let Some(after) = self.0.config.idle_unload_after else {
            return;
        };
        let mut ticks = tokio::time::interval(HOUSE_KEEPING.min(after));
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => self.unload_idle(after),
            }
        }
    }

    fn unload_idle(&self, after: Duration) {
        let _changing = self.0.change();
        for slot in self.0.slots.load().iter() {
            let idle = slot.used().is_some_and(|it| !it.is_held) && slot.idle_for() >= after;
            if idle && slot.files.is_some() {
                self.let_go(slot);
            }
        }
    }

    /// Lets a model leave memory; it stays in the list.
    fn let_go(&self, slot: &Slot) {
        slot.unload();
        self.0.metrics.unloaded(&slot.info);
        tracing::info!(
            model = slot.info.name,
            version = slot.info.version,
            "a model left memory"
        );
    }

    /// Waits for what was accepted, in every model.
    pub(super) async fn drain(&self, deadline: Instant) {
        // So that none is loaded after the look at those that are there.
        let _loading = timeout_at(deadline, self.0.loading.lock()).await;
        for slot in self.0.slots.load().iter() {
            if let Some(model) = slot.peek() {
                model.pool.drain(deadline).await;
            }
        }
    }
}

fn status(slot: &Slot) -> ModelStatus {
    let model = slot.peek();
    ModelStatus {
        name: slot.info.name.clone(),
        version: slot.info.version.clone(),
        digest: slot.info.digest,
        task: slot.info.task(),
        device: model.as_ref().map(|model| model.device),
        state: state(slot),
        memory_bytes: model.is_some().then(|| slot.memory()),
        idle: slot.idle_for(),
    }
}

fn state(slot: &Slot) -> ModelState {
    match slot.peek() {
        None if slot.failed(Instant::now()).is_some() => ModelState::Broken,
        None => ModelState::Cold,
        Some(model) if model.pool.is_ready() => ModelState::Ready,
        Some(_) => ModelState::Broken,
    }
}

#[cfg(test)]
mod tests;
