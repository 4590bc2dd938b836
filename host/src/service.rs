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

use brink_protocol::{Catalog, Fault, FaultCode, InferReply, InferRequest};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::inference::Device;
use crate::results::collapse::{Collapse, CollapseLimits};
use crate::results::store::ResultStore;
use crate::results::{CacheItems, ResultsConfig};

mod active;
mod call;
mod config;
mod error;
mod follow;
mod lead;
mod model;
mod plan;
mod share;

pub use config::{ServiceConfig, ServiceConfigError};
pub use error::InferError;
pub use model::{Model, OpenError};

use active::ActiveCalls;
use call::Call;
use lead::Answer;
use share::{Admitted, Shares};

/// Answers calls for one or more models. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct InferService(Arc<Inner>);

/// What all calls share. Calls and leading tasks hold it, so the models live until the last ends.
#[derive(Debug)]
struct Inner {
    models: Vec<Arc<Model>>,
    store: ResultStore,
    flights: Collapse<Answer>,
    /// One permit per core: more reading of inputs at once would only take turns.
    reading: Semaphore,
    calls: ActiveCalls,
    shares: Shares,
    items: CacheItems,
    results: ResultsConfig,
    config: ServiceConfig,
}

/// Two models have one name, so clients could not choose.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("two models are named {0}")]
pub struct DuplicateModel(String);

/// Where a model runs, and whether it can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelStatus {
    /// The model's name.
    pub name: String,
    /// The device that really runs it.
    pub device: Device,
    /// Whether a session works.
    pub ready: bool,
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
        if let Some(twice) = models.iter().find(|model| !names.insert(&model.info.name)) {
            return Err(DuplicateModel(twice.info.name.clone()));
        }
        let limits = CollapseLimits {
            max_leader_age: results.max_leader_age,
            max_flights: results.max_flights,
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self(Arc::new(Inner {
            models: models.into_iter().map(Arc::new).collect(),
            store: ResultStore::new(results.max_bytes),
            flights: Collapse::new(limits),
            reading: Semaphore::new(cores),
            calls: ActiveCalls::default(),
            shares: Shares::new(config.max_tenants),
            items,
            results,
            config,
        })))
    }

    /// Which models there are.
    pub fn catalog(&self) -> Catalog {
        let models = self.0.models.iter();
        Catalog {
            models: models.map(|model| model.info.clone()).collect(),
        }
    }

    /// Where each model runs, and whether it can.
    pub fn status(&self) -> Vec<ModelStatus> {
        let models = self.0.models.iter();
        let status = models.map(|model| ModelStatus {
            name: model.info.name.clone(),
            device: model.device,
            ready: model.pool.is_ready(),
        });
        status.collect()
    }

    /// Whether calls are accepted and every model can run.
    pub fn is_ready(&self) -> bool {
        let models = &self.0.models;
        !self.0.calls.is_closed() && models.iter().all(|model| model.pool.is_ready())
    }

    /// The results of a call's inputs, all or a fault. Results of other inputs of a call that
    /// fails are kept all the same.
    pub async fn infer(&self, request: InferRequest) -> InferReply {
        let arrived = Instant::now();
        let _active = self.0.calls.enter().ok_or_else(draining)?;
        request.validate()?;
        let model = self.model(&request)?;
        let share = request.share.as_ref();
        let admitted = share.map(|share| self.0.shares.admit(share)).transpose()?;
        let taken = admitted.as_ref().map(Admitted::taken);
        let call = Call::new(Arc::clone(&self.0), model, request, arrived).charged_to(taken);
        let mut answer = Arc::new(call).answer().await?;
        answer.model_time = admitted.as_ref().and_then(Admitted::model_time);
        Ok(answer)
    }

    /// Refuses new calls, and returns when those accepted are answered or the deadline passes.
    pub async fn shutdown(&self, deadline: Instant) {
        self.0.calls.close();
        // Late or not, the sessions are closed next.
        let _ = tokio::time::timeout_at(deadline, self.0.calls.idle()).await;
        for model in &self.0.models {
            model.pool.drain(deadline).await;
        }
    }

    fn model(&self, request: &InferRequest) -> Result<Arc<Model>, Fault> {
        let models = &self.0.models;
        let named = models.iter().find(|model| model.info.name == request.model);
        let model = named.ok_or_else(|| {
            // The name comes from the client and may be of any size: it is not repeated.
            let known: Vec<_> = models
                .iter()
                .map(|model| model.info.name.as_str())
                .collect();
            let message = format!("no such model; there is {}", known.join(", "));
            call_fault(FaultCode::UnknownModel, message)
        })?;
        if model.info.digest != request.digest {
            let message = format!(
                "model {} has digest {}, not the one asked for",
                model.info.name, model.info.digest
            );
            return Err(call_fault(FaultCode::ModelChanged, message));
        }
        Ok(Arc::clone(model))
    }
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
