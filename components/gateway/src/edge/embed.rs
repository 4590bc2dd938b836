//! `POST /v1/embeddings` through `wasi:http`, step by step. The rules are in [`crate::hit`].

use std::collections::VecDeque;
use std::rc::Rc;

use brink_cache::Key;
use brink_protocol::{EmbedAnswer, Fault, FaultCode};
use spin_sdk::wasip3;

use super::{Edge, SystemClock};
use crate::embeddings::{Answer, Fetched, Stored};
use crate::error::ApiError;
use crate::hit::{LookUp, Missing, Pending, Settled};
use crate::reply::Reply;

pub(super) async fn answer(edge: Rc<Edge>, pending: Pending, id: &str) -> Result<Reply, ApiError> {
    let answer = match attempt(&edge, pending, id).await? {
        Attempt::Answered(answer) => answer,
        Attempt::ModelChanged(missing) => {
            let catalog = edge.newest_catalog().await?;
            let pending = missing.replan(&catalog, &edge.prefixes, &SystemClock)?;
            match attempt(&edge, pending, id).await? {
                Attempt::Answered(answer) => answer,
                // Twice within one request: let the client come back when the roll is over.
                Attempt::ModelChanged(_) => return Err(ApiError::model_changing()),
            }
        }
    };
    store_afterwards(edge, answer.store);
    Ok(answer.reply)
}

enum Attempt {
    Answered(Answer),
    /// The keys are bound to a model that the host no longer serves.
    ModelChanged(Box<Missing>),
}

async fn attempt(edge: &Edge, pending: Pending, id: &str) -> Result<Attempt, ApiError> {
    let keys = pending.keys().map(|key| key.to_hex());
    let mut fetched = Prefetched(edge.store.get_all(keys).await.into());
    let missing = match pending.settle(&mut fetched, &SystemClock)? {
        Settled::Answered(reply) => {
            return Ok(Attempt::Answered(Answer {
                reply,
                store: Vec::new(),
            }));
        }
        Settled::Missing(missing) => missing,
    };
    match compute(edge, &missing, id).await? {
        Some(computed) => {
            let lifetimes = edge.settings.lifetimes;
            let answer = missing.complete(computed, lifetimes, &SystemClock)?;
            Ok(Attempt::Answered(answer))
        }
        None => Ok(Attempt::ModelChanged(missing)),
    }
}

/// Entries that were fetched before, in the order in which they will be asked for.
struct Prefetched(VecDeque<Fetched>);

impl LookUp for Prefetched {
    fn get(&mut self, _key: &Key) -> Fetched {
        self.0.pop_front().unwrap_or(Fetched::Failed)
    }
}

/// What the host computes; `None` if it no longer serves the model.
async fn compute(
    edge: &Edge,
    missing: &Missing,
    id: &str,
) -> Result<Option<EmbedAnswer>, ApiError> {
    let call = missing.upstream_call(id, edge.settings.upstream_timeout);
    match edge.fetch_embeddings(&call).await? {
        Ok(answer) => Ok(Some(answer)),
        Err(Fault {
            code: FaultCode::ModelChanged,
            ..
        }) => Ok(None),
        Err(fault) => {
            let index = fault.item.and_then(|item| missing.input_index(item));
            Err(ApiError::from_fault(fault, index))
        }
    }
}

/// Stores new entries once the answer is on its way: some stores take milliseconds for each.
fn store_afterwards(edge: Rc<Edge>, entries: Vec<Stored>) {
    if entries.is_empty() {
        return;
    }
    wasip3::spawn(async move {
        for entry in entries {
            edge.store.set(entry.key.to_hex(), entry.bytes).await;
        }
    });
}
