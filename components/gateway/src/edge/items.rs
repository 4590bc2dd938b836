//! A request for results of items through `wasi:http`, step by step. The rules are in [`crate::hit`].

use std::collections::VecDeque;
use std::rc::Rc;

use brink_cache::Key;
use brink_protocol::{Fault, FaultCode, InferAnswer};
use spin_sdk::wasip3;

use super::{Edge, SystemClock};
use crate::error::ApiError;
use crate::hit::{Clock, LookUp, Missing, Pending, Settled};
use crate::items::{Answer, Fetched, Refresh, Stored};
use crate::reply::Reply;

/// Most results that an instance computes anew at once; more stay stale until asked for again.
pub(super) const MAX_REFRESHING: usize = 4096;

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

async fn attempt(edge: &Rc<Edge>, pending: Pending, id: &str) -> Result<Attempt, ApiError> {
    let keys = pending.keys().map(|key| key.to_hex());
    let mut fetched = Prefetched(edge.store.get_all(keys).await.into());
    let missing = match pending.settle(&mut fetched, &SystemClock)? {
        Settled::Answered(reply) => {
            return Ok(Attempt::Answered(Answer {
                reply,
                store: Vec::new(),
            }));
        }
        Settled::Stale(reply, stale) => {
            edge.refresh_afterwards(stale.refresh(id, edge.settings.upstream_timeout));
            return Ok(Attempt::Answered(Answer {
                reply,
                store: Vec::new(),
            }));
        }
        Settled::Missing(missing) => missing,
    };
    match compute(edge, &missing, id).await {
        Ok(Some(computed)) => {
            let answer = missing.complete(computed, &SystemClock)?;
            Ok(Attempt::Answered(answer))
        }
        Ok(None) => Ok(Attempt::ModelChanged(missing)),
        Err(error) => match missing.complete_stale(&error, &SystemClock) {
            Some(reply) => Ok(Attempt::Answered(Answer {
                reply,
                store: Vec::new(),
            })),
            None => Err(error),
        },
    }
}

impl Edge {
    /// Computes stale results anew once the answer is on its way. Of requests for the same results in
    /// this instance, the first one does it; between instances, the host's results and its
    /// collapsing see to it that a result is computed once.
    fn refresh_afterwards(self: &Rc<Self>, mut refresh: Refresh) {
        let mut under_way = self.refreshing.borrow_mut();
        refresh.retain(|key| !under_way.contains(key));
        let keys = refresh.keys().to_vec();
        if keys.is_empty() || under_way.len() + keys.len() > MAX_REFRESHING {
            return;
        }
        under_way.extend(&keys);
        drop(under_way);
        let edge = self.clone();
        wasip3::spawn(async move {
            match edge.fetch_results(&refresh.call).await {
                Ok(Ok(answer)) => match refresh.complete(&answer, SystemClock.now()) {
                    Ok(entries) => edge.store_all(entries).await,
                    Err(error) => eprintln!("a refresh failed: {}", error.message),
                },
                // The stale result stays until it expires, and the next request tries again.
                Ok(Err(fault)) => eprintln!("a refresh failed: {fault}"),
                Err(error) => eprintln!("a refresh failed: {}", error.message),
            }
            let mut under_way = edge.refreshing.borrow_mut();
            keys.iter().for_each(|key| {
                under_way.remove(key);
            });
        });
    }

    pub(super) async fn store_all(&self, entries: Vec<Stored>) {
        for entry in entries {
            self.store.set(entry.key.to_hex(), entry.bytes).await;
        }
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
    edge: &Rc<Edge>,
    missing: &Missing,
    id: &str,
) -> Result<Option<InferAnswer>, ApiError> {
    let call = missing.upstream_call(id, edge.settings.upstream_timeout);
    match edge.fetch_results(&call).await? {
        Ok(answer) => Ok(Some(answer)),
        Err(Fault {
            code: FaultCode::ModelChanged,
            ..
        }) => Ok(None),
        Err(fault) => {
            let negative = fault
                .item
                .and_then(|item| missing.negative(item, &fault, &SystemClock));
            store_afterwards(edge.clone(), negative.into_iter().collect());
            Err(missing.error(fault))
        }
    }
}

/// Stores new entries once the answer is on its way: some stores take milliseconds for each.
fn store_afterwards(edge: Rc<Edge>, entries: Vec<Stored>) {
    if entries.is_empty() {
        return;
    }
    wasip3::spawn(async move { edge.store_all(entries).await });
}
