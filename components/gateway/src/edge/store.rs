//! The Spin key-value store, with failures turned into "not cached".

use brink_cache::Key;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use spin_sdk::key_value::Store;

use super::bindings::wasi::keyvalue::atomics;
use super::bindings::wasi::keyvalue::store::{self as synchronous, Bucket};
use crate::hit::LookUp;
use crate::items::{Fetched, MAX_ANSWER_BYTES};

/// The store that the manifest grants.
const LABEL: &str = "default";

/// Look-ups under way at once in one request. A remote store answers them in parallel; more
/// would only queue up in its connection.
const PARALLEL_LOOK_UPS: usize = 16;

/// The default store, or its absence: without it every request is a miss, and still answered.
pub(super) struct EdgeStore {
    store: Option<Store>,
    /// The same once more, for what only the synchronous interface has.
    counters: Option<Bucket>,
}

impl EdgeStore {
    pub(super) async fn open() -> Self {
        let store = Store::open_default().await;
        let store = store
            .inspect_err(|error| eprintln!("the key-value store does not open: {error}"))
            .ok();
        Self {
            store,
            counters: synchronous::open(LABEL).ok(),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.store.is_some()
    }

    /// What the store has under each key, in order. What would be more than an answer may have is left out: it
    /// is asked of the host then, whose answer is refused by its size.
    pub(super) async fn get_all(&self, keys: impl IntoIterator<Item = String>) -> Vec<Fetched> {
        let mut room = MAX_ANSWER_BYTES;
        stream::iter(keys)
            .map(|key| self.get(key))
            .buffered(PARALLEL_LOOK_UPS)
            .map(|fetched| {
                let size = match &fetched {
                    Fetched::Bytes(bytes) => bytes.len(),
                    _ => 0,
                };
                match room.checked_sub(size) {
                    Some(left) => {
                        room = left;
                        fetched
                    }
                    None => Fetched::Failed,
                }
            })
            .collect()
            .await
    }

    pub(super) async fn get(&self, key: String) -> Fetched {
        let Some(store) = &self.store else {
            return Fetched::Failed;
        };
        match store.get(key).await {
            Ok(Some(bytes)) => Fetched::Bytes(Bytes::from(bytes)),
            Ok(None) => Fetched::Absent,
            Err(error) => {
                eprintln!("the key-value store failed to get: {error}");
                Fetched::Failed
            }
        }
    }

    /// Stores one value. A failure is logged and nothing more: the client has its answer.
    pub(super) async fn set(&self, key: String, value: Vec<u8>) {
        if let Some(store) = &self.store
            && let Err(error) = store.set(key, value).await
        {
            eprintln!("the key-value store failed to set: {error}");
        }
    }
}

impl EdgeStore {
    /// Adds one to a counter, and gives its new value; `None` if the store does not count.
    pub(super) fn count(&self, key: &str) -> Option<i64> {
        let bucket = self.counters.as_ref()?;
        atomics::increment(bucket, key, 1)
            .inspect_err(|error| eprintln!("the key-value store failed to count: {error:?}"))
            .ok()
    }

    /// Removes one value. A failure is logged and nothing more.
    pub(super) async fn delete(&self, key: String) {
        if let Some(store) = &self.store
            && let Err(error) = store.delete(key).await
        {
            eprintln!("the key-value store failed to delete: {error}");
        }
    }
}

/// The same store through the synchronous interface: for the door in which nothing may wait.
pub(super) struct FastStore(Bucket);

impl FastStore {
    pub(super) fn open() -> Option<Self> {
        synchronous::open(LABEL).ok().map(Self)
    }

    /// What the store has under a key of another kind than results.
    pub(super) fn get_named(&self, name: &str) -> Fetched {
        match self.0.get(name) {
            Ok(Some(bytes)) => Fetched::Bytes(bytes.into()),
            Ok(None) => Fetched::Absent,
            Err(_) => Fetched::Failed,
        }
    }
}

impl FastStore {
    /// Stores one value; false if the store does not take it.
    pub(super) fn set_named(&self, name: &str, value: &[u8]) -> bool {
        self.0.set(name, value).is_ok()
    }
}

impl LookUp for &FastStore {
    fn get(&mut self, key: &Key) -> Fetched {
        self.get_named(&key.to_hex())
    }
}
