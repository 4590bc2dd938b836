//! A request for results of items through `wasi:http`, step by step. The rules are in [`crate::hit`].

use std::collections::VecDeque;
use std::rc::Rc;

use brink_cache::Key;
use spin_sdk::wasip3;

use super::texts::{self, Live};
use super::{Edge, SystemClock};
use crate::error::ApiError;
use crate::hit::{Clock, Concluded, LookUp, Missing, Pending, Settled};
use crate::items::{Fetched, Refresh, Stored};
use crate::reply::Reply;

/// Most results that an instance computes anew at once; more stay stale until asked for again.
pub(super) const MAX_REFRESHING: usize = 4096;

/// An answer, or its head and the body that follows.
pub(super) enum Told {
    /// All of it.
    Whole(Reply),
    /// The head, and a body that is written while it is sent.
    Live(Reply, Live),
}

pub(super) async fn answer(edge: Rc<Edge>, pending: Pending, id: &str) -> Result<Told, ApiError> {
    let missing = match attempt(&edge, pending, id).await? {
        Attempt::Answered(reply) => return Ok(reply),
        Attempt::ModelChanged(missing) => missing,
    };
    let catalog = edge.newest_catalog().await?;
    let pending = missing.replan(&catalog, &edge.prefixes, &SystemClock)?;
    match attempt(&edge, pending, id).await? {
        Attempt::Answered(reply) => Ok(reply),
        // Twice within one request: let the client come back when the roll is over.
        Attempt::ModelChanged(_) => Err(ApiError::model_changing()),
    }
}

pub(super) enum Attempt {
    Answered(Told),
    /// The keys are bound to a model that the host no longer serves.
    ModelChanged(Box<Missing>),
}

async fn attempt(edge: &Rc<Edge>, pending: Pending, id: &str) -> Result<Attempt, ApiError> {
    let keys = pending.keys().map(|key| key.to_hex());
    let mut fetched = Prefetched(edge.store.get_all(keys).await.into());
    let missing = match pending.settle(&mut fetched, &SystemClock)? {
        Settled::Answered(reply) => return Ok(Attempt::Answered(Told::Whole(reply))),
        Settled::Stale(reply, stale) => {
            edge.refresh_afterwards(stale.refresh(id, edge.settings.upstream_timeout));
            return Ok(Attempt::Answered(Told::Whole(reply)));
        }
        Settled::Missing(missing) if missing.is_of_texts() => {
            return texts::attempt(edge, missing, id).await;
        }
        Settled::Missing(missing) => missing,
    };
    let call = missing.upstream_call(id, edge.settings.upstream_timeout);
    let told = edge.fetch_results(&call).await;
    // The answer may need the room of its inputs.
    drop(call);
    Ok(match missing.conclude(told, &SystemClock) {
        Concluded::Answered(answer, store) => {
            store_afterwards(edge.clone(), store);
            Attempt::Answered(Told::Whole(answer?))
        }
        Concluded::ModelChanged(missing) => Attempt::ModelChanged(missing),
    })
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

/// Stores new entries once the answer is on its way: some stores take milliseconds for each.
pub(super) fn store_afterwards(edge: Rc<Edge>, entries: Vec<Stored>) {
    if entries.is_empty() {
        return;
    }
    wasip3::spawn(async move { edge.store_all(entries).await });
}
