//! The result store: bounded by bytes. The only user of `moka` besides the key-value store.
//!
//! Entries never change and never grow stale: the key holds the model's digest, so another model
//! has other keys. They leave by eviction alone.

use brink_cache::Key;
use bytes::Bytes;
use moka::sync::Cache;

/// What an entry takes besides its vector: key, value and moka's bookkeeping (hash table slot,
/// two queue nodes, reference counts), estimated on the generous side, so that the bound holds.
const OVERHEAD: usize = 320;

/// A computed result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResult {
    /// `f32`, little-endian.
    pub output: Bytes,
    /// Tokens that the model read.
    pub tokens: u32,
    /// What computing it cost, in microseconds.
    pub cost_us: u32,
}

/// The store. Cheap to clone; clones share the entries.
#[derive(Clone, Debug)]
pub struct ResultStore(Cache<Key, StoredResult>);

impl ResultStore {
    /// An empty store of at most so many bytes, bookkeeping included.
    pub fn new(max_bytes: u64) -> Self {
        let cache = Cache::builder()
            .name("results")
            .max_capacity(max_bytes)
            .weigher(|_, result: &StoredResult| {
                u32::try_from(result.output.len() + OVERHEAD).unwrap_or(u32::MAX)
            })
            .build();
        Self(cache)
    }

    /// The result of that key.
    pub fn get(&self, key: &Key) -> Option<StoredResult> {
        self.0.get(key)
    }

    /// Keeps a result.
    pub fn insert(&self, key: Key, result: StoredResult) {
        self.0.insert(key, result);
    }

    /// Bytes kept. Follows inserts and evictions after a moment.
    pub fn bytes(&self) -> u64 {
        self.0.weighted_size()
    }
}

#[cfg(test)]
mod tests {
    use brink_cache::key::ItemBytes;
    use brink_cache::{KeyPrefix, ModelDigest, Scope};

    use super::*;

    fn key(text: &str) -> Key {
        let prefix = KeyPrefix::new(brink_cache::key::PrefixParts {
            scope: &Scope::Public,
            model: "m",
            digest: &ModelDigest([1; 32]),
            task: brink_cache::key::Task::Embed,
            parameters: "{}",
        });
        prefix.key(ItemBytes::Text(text))
    }

    #[test]
    fn store_stays_within_its_bytes() {
        let store = ResultStore::new(100_000);
        for number in 0..1_000 {
            let result = StoredResult {
                output: Bytes::from(vec![0; 1_536]),
                tokens: 1,
                cost_us: 1,
            };
            store.insert(key(&number.to_string()), result);
        }
        store.0.run_pending_tasks();
        assert!(store.bytes() <= 100_000);
        assert!(store.0.entry_count() > 40);
    }

    #[test]
    fn store_of_no_bytes_keeps_nothing() {
        let store = ResultStore::new(0);
        let result = StoredResult {
            output: Bytes::from_static(b"1234"),
            tokens: 1,
            cost_us: 1,
        };
        store.insert(key("a"), result);
        store.0.run_pending_tasks();
        assert_eq!(store.get(&key("a")), None);
    }
}
