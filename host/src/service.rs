//! The host's order of things: stored results, then computations under way, then the model.
//!
//! ```text
//!  infer(call) --> plan: one key per distinct input
//!                    |-- in the store?        answered (hit)
//!                    |-- being computed?      wait for it (collapsed)
//!                    \-- otherwise: lead      tokenise -> queue -> model -> store -> all waiters
//! ```
//!
//! Leading runs in a task of its own, so a client that goes away cancels nothing that others
//! wait for. Not here: HTTP (see [`crate::api`]) and the forming of batches (see
//! [`crate::batch`]).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use brink_cache::ModelDigest;
use brink_cache::key::Task;
use brink_protocol::{
    Catalog, Fault, FaultCode, InferReply, InferRequest, TokenizeReply, TokenizeRequest,
};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::inference::Device;
use crate::results::collapse::{Collapse, CollapseLimits};
use crate::results::store::ResultStore;
use crate::results::{CacheItems, ResultsConfig};
use crate::telemetry::Trace;

mod active;
mod answer_size;
mod call;
mod config;
mod error;
mod follow;
mod generate;
mod kept;
mod lead;
mod model;
mod plan;
mod repository;
mod room;
mod share;
mod texts;

pub use config::{ServiceConfig, ServiceConfigError};
pub use error::InferError;
pub use generate::GenerateStream;
pub use kept::KeptLimits;
pub use model::{GenerateOptions, Model, OpenError, Pool};
pub use repository::{
    ChangeError, FolderLoader, Loaded, Loader, Repository, RepositoryConfig, RepositoryMetrics,
    Versions,
};

use active::ActiveCalls;
use call::Call;
use kept::KeptTexts;
use lead::Answer;
use room::Room;
use share::{Admitted, Shares};
use texts::Texts;

/// Answers calls for one or more models. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct InferService(Arc<Inner>);

/// What all calls share. Calls and leading tasks hold it, so the models live until the last ends.
#[derive(Debug)]
struct Inner {
    repository: Repository,
    store: ResultStore,
    flights: Collapse<Answer>,
    /// One permit per core: more reading of inputs at once would only take turns.
    reading: Arc<Semaphore>,
    /// For inputs that are read and wait for a place in a queue.
    room: Room,
    calls: ActiveCalls,
    shares: Shares,
    texts: Texts,
    kept: KeptTexts,
    items: CacheItems,
    results: ResultsConfig,
    config: ServiceConfig,
}

/// Two models have one name and version, so clients could not choose.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("two models are named {0}")]
pub struct DuplicateModel(String);

/// Where a model runs, and whether it can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelStatus {
    /// The model's name.
    pub name: String,
    /// Which of several.
    pub version: String,
    /// What it is, byte for byte.
    pub digest: ModelDigest,
    /// What it does.
    pub task: Task,
    /// The device that really runs it; `None` while it is not in memory.
    pub device: Option<Device>,
    /// Whether it can run.
    pub state: ModelState,
    /// What the process grew by when it was loaded, at least its weights and what it took before; `None`
    /// while it is not in memory.
    pub memory_bytes: Option<u64>,
    /// How long nobody has asked for it.
    pub idle: Duration,
}

/// Whether a model can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelState {
    /// A session works.
    Ready,
    /// It is not in memory, and is loaded when somebody asks.
    Cold,
    /// No session works.
    Broken,
}

impl InferService {
    /// A service for these models.
    pub fn new(
        models: Vec<Model>,
        results: ResultsConfig,
        config: ServiceConfig,
        items: CacheItems,
    ) -> Result<Self, DuplicateModel> {
        let mut names = HashSet::new();
        let mut twice = models.iter().map(|model| &model.info.name);
        if let Some(twice) = twice.find(|name| !names.insert(*name)) {
            return Err(DuplicateModel(twice.clone()));
        }
        Ok(Self::of(Repository::of(models), results, config, items))
    }

    /// A service for the models of a repository.
    pub fn of(
        repository: Repository,
        results: ResultsConfig,
        config: ServiceConfig,
        items: CacheItems,
    ) -> Self {
        let limits = CollapseLimits {
            max_leader_age: results.max_leader_age,
            max_flights: results.max_flights,
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Inner {
            repository,
            store: ResultStore::new(results.max_bytes),
            flights: Collapse::new(limits),
            reading: Arc::new(Semaphore::new(cores)),
            room: Room::new(config.max_decoded_bytes),
            calls: ActiveCalls::default(),
            shares: Shares::new(config.max_tenants),
            texts: Texts::default(),
            kept: KeptTexts::new(config.kept),
            items,
            results,
            config,
        }))
    }

    /// The models.
    pub fn repository(&self) -> &Repository {
        &self.0.repository
    }

    /// Which models there are.
    pub fn catalog(&self) -> Catalog {
        self.0.repository.catalog()
    }

    /// Where each model runs, and whether it can.
    pub fn status(&self) -> Vec<ModelStatus> {
        self.0.repository.status()
    }

    /// Whether calls are accepted and a model can run.
    pub fn is_ready(&self) -> bool {
        !self.0.calls.is_closed() && self.0.repository.is_ready()
    }

    /// The results of a call's inputs, all or a fault. Results of other inputs of a call that
    /// fails are kept all the same.
    pub async fn infer(&self, request: InferRequest) -> InferReply {
        self.infer_under(request, None).await
    }

    /// [`infer`](Self::infer), whose work in queue and model belongs to a trace.
    pub async fn infer_under(&self, request: InferRequest, trace: Option<Trace>) -> InferReply {
        let arrived = Instant::now();
        let _active = self.0.calls.enter().ok_or_else(draining)?;
        request.validate()?;
        // First, so that a tenant beyond its limits brings no model into memory.
        let share = request.share.as_ref();
        let admitted = share.map(|share| self.0.shares.admit(share)).transpose()?;
        let deadline = self.0.deadline(&request, arrived);
        let repository = &self.0.repository;
        let model = repository.acquire(&request.model, &request.digest, deadline);
        let model = model.await?;
        check_task(&model, &request)?;
        let taken = admitted.as_ref().map(Admitted::taken);
        let call = Call::new(Arc::clone(&self.0), model, request, arrived)
            .charged_to(taken)
            .traced_in(trace);
        let mut answer = Arc::new(call).answer().await?;
        answer.model_time = admitted.as_ref().and_then(Admitted::model_time);
        Ok(answer)
    }

    /// What the tokenizer of a model makes of texts. Nothing is stored, and no model runs.
    pub async fn tokenize(&self, request: TokenizeRequest) -> TokenizeReply {
        let _active = self.0.calls.enter().ok_or_else(draining)?;
        request.validate()?;
        let deadline = Instant::now() + self.0.config.max_timeout;
        let repository = &self.0.repository;
        let info = repository.catalog().find(&request.model).cloned();
        let digest = info.map_or(ModelDigest([0; 32]), |info| info.digest);
        let model = repository
            .acquire(&request.model, &digest, deadline)
            .await?;
        let service = Arc::clone(&self.0);
        let permit = Arc::clone(&service.reading).acquire_owned().await;
        let read = move || {
            // Given back when the work is done, also if the caller is gone.
            let _permit = permit;
            let tokenizer = model.reader.tokenizer().ok_or_else(|| {
                let message = format!("the model {} reads no text", model.info.name);
                call_fault(FaultCode::BadRequest, message)
            })?;
            let texts = request.texts.iter().enumerate();
            let tokens = texts.map(|(index, text)| {
                let tokens = tokenizer.tokens(text, request.add_special_tokens);
                let item = u32::try_from(index).ok();
                tokens.map_err(|error| InferError::from(error).into_fault(item))
            });
            tokens.collect()
        };
        let read = tokio::task::spawn_blocking(read).await;
        read.unwrap_or_else(|_| Err(InferError::Lost.into_fault(None)))
    }

    /// Refuses new calls, and returns when those accepted are answered or the deadline passes.
    pub async fn shutdown(&self, deadline: Instant) {
        self.0.calls.close();
        // Late or not, the sessions are closed next.
        let _ = tokio::time::timeout_at(deadline, self.0.calls.idle()).await;
        self.0.repository.drain(deadline).await;
    }
}

impl Inner {
    /// When a call that came then must be answered.
    fn deadline(&self, request: &InferRequest, arrived: Instant) -> Instant {
        let timeout = Duration::from_millis(request.timeout_ms.into());
        arrived + timeout.min(self.config.max_timeout)
    }
}

/// The task is a part of the keys, so it must be the model's.
fn check_task(model: &Model, request: &InferRequest) -> Result<(), Fault> {
    let (has, asked) = (model.info.task(), request.task);
    if asked == Task::Generate {
        let message = "a model that writes is asked by the call for texts, not by that for results";
        return Err(call_fault(FaultCode::BadRequest, message.to_owned()));
    }
    if has == asked {
        return Ok(());
    }
    let message = format!(
        "the task is {}; that of model {} is {}",
        asked.name(),
        model.info.name,
        has.name()
    );
    Err(call_fault(FaultCode::BadRequest, message))
}

fn draining() -> Fault {
    InferError::from(crate::batch::BatchError::Draining).into_fault(None)
}

/// A fault of the call as a whole.
fn call_fault(code: FaultCode, message: String) -> Fault {
    Fault {
        code,
        message,
        item: None,
        retry_after_ms: None,
    }
}

#[cfg(test)]
mod tests;
