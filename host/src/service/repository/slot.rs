//! One version of one model: in memory, or to be loaded when somebody asks.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use brink_protocol::ModelInfo;
use tokio::time::Instant;

use crate::inference::ModelFiles;
use crate::service::model::Model;

/// A model that is served, whether it is in memory or not.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) info: ModelInfo,
    /// Where it came from; `None` if it cannot be loaded again.
    pub(super) files: Option<ModelFiles>,
    /// The model, while it is in memory. Calls hold it as long as they need it.
    model: ArcSwapOption<Model>,
    since: Instant,
    /// Milliseconds after `since`.
    last_used: AtomicU64,
    /// Bytes that loading it took: the most that was measured, at least its weights.
    memory: AtomicU64,
    /// Calls that wait for it to be loaded.
    awaited: AtomicUsize,
    failure: Mutex<Option<Failure>>,
}

/// Why a model could not be loaded, and until when that is taken for granted.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) reason: String,
    /// Whether it is of no use to come back: the operator has to change something.
    pub(super) is_final: bool,
    pub(super) retry_at: Instant,
}

/// A call that waits for a model.
pub(super) struct Waiting(Arc<Slot>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.awaited.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a model takes, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) memory: u64,
    pub(super) last_used: u64,
    /// Whether a call holds it.
    pub(super) is_held: bool,
}

impl Slot {
    pub(super) fn new(model: Model, files: Option<ModelFiles>, memory: u64) -> Self {
        Self {
            info: model.info.clone(),
            files,
            model: ArcSwapOption::from_pointee(model),
            since: Instant::now(),
            last_used: AtomicU64::new(0),
            memory: AtomicU64::new(memory),
            awaited: AtomicUsize::new(0),
            failure: Mutex::default(),
        }
    }

    /// The model, if it is in memory. Counts as a use.
    pub(super) fn take(&self) -> Option<Arc<Model>> {
        self.last_used.store(self.now(), Ordering::Relaxed);
        self.model.load_full()
    }

    /// Counts a call that waits for the model, for as long as the guard lives.
    pub(super) fn wait(self: &Arc<Self>) -> Waiting {
        self.awaited.fetch_add(1, Ordering::Relaxed);
        Waiting(Arc::clone(self))
    }

    pub(super) fn is_awaited(&self) -> bool {
        self.awaited.load(Ordering::Relaxed) > 0
    }

    /// The model, if it is in memory. Counts as no use.
    pub(super) fn peek(&self) -> Option<Arc<Model>> {
        self.model.load_full()
    }

    pub(super) fn put(&self, model: Model, memory: u64) -> Arc<Model> {
        let model = Arc::new(model);
        self.model.store(Some(Arc::clone(&model)));
        self.memory.store(memory, Ordering::Relaxed);
        *self.failure() = None;
        model
    }

    /// Lets it leave memory once the calls that hold it end.
    pub(super) fn unload(&self) -> Option<Arc<Model>> {
        self.model.swap(None)
    }

    pub(super) fn fail(&self, failure: Failure) {
        *self.failure() = Some(failure);
    }

    /// Why it is not to be loaded now.
    pub(super) fn failed(&self, now: Instant) -> Option<Failure> {
        let failure = self.failure();
        failure.clone().filter(|failure| failure.retry_at > now)
    }

    /// How it is used; `None` if it is not in memory.
    pub(super) fn used(&self) -> Option<Use> {
        let model = self.model.load_full()?;
        Some(Use {
            memory: self.memory(),
            last_used: self.last_used.load(Ordering::Relaxed),
            // One is the slot's and one is ours.
            is_held: Arc::strong_count(&model) > 2,
        })
    }

    pub(super) fn idle_for(&self) -> Duration {
        let last = self.last_used.load(Ordering::Relaxed);
        Duration::from_millis(self.now().saturating_sub(last))
    }

    pub(super) fn memory(&self) -> u64 {
        self.memory.load(Ordering::Relaxed)
    }

    /// What loading it is expected to take: what it took, or at least its weights.
    pub(super) fn expected_memory(&self) -> u64 {
        let weights = self.files.as_ref().map_or(0, |files| files.model_bytes);
        self.memory().max(weights)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Nothing is left half done under this lock.
    fn failure(&self) -> MutexGuard<'_, Option<Failure>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
