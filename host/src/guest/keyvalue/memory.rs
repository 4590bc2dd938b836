//! A store in memory, bounded by bytes.

use bytes::Bytes;
use moka::ops::compute::Op;
use moka::sync::Cache;

use super::{KeyValue, KeyValueError};

/// What an entry costs besides its key and value: moka's node, two counted
/// pointers and its place in the frequency sketch, estimated on the generous side.
const ENTRY_OVERHEAD_BYTES: usize = 128;

/// A store in memory. When its budget is used up, entries that are asked for
/// rarely are evicted: a component has to expect that anyway, since Spin's stores
/// may lose entries too.
pub struct MemoryStore(Cache<Box<str>, Bytes>);

impl MemoryStore {
    /// A store that holds at most about `max_bytes` of keys, values and overhead.
    pub fn new(max_bytes: u64) -> Self {
        let cache = Cache::<Box<str>, Bytes>::builder()
            .max_capacity(max_bytes)
            .weigher(|key, value| weight(key, value))
            .build();
        Self(cache)
    }

    /// How much of the budget is used, in bytes.
    pub fn used_bytes(&self) -> u64 {
        self.0.run_pending_tasks();
        self.0.weighted_size()
    }
}

impl KeyValue for MemoryStore {
    fn get(&self, key: &str) -> Result<Option<Bytes>, KeyValueError> {
        Ok(self.0.get(key))
    }

    fn set(&self, key: &str, value: Bytes) -> Result<(), KeyValueError> {
        self.0.insert(key.into(), value);
        Ok(())
    }

    fn delete(&self, key: &str) -> Result<(), KeyValueError> {
        self.0.invalidate(key);
        Ok(())
    }

    fn exists(&self, key: &str) -> Result<bool, KeyValueError> {
        Ok(self.0.contains_key(key))
    }

    /// Counters are eight bytes, little-endian; beyond the ends of their range they stay there.
    fn increment(&self, key: &str, delta: i64) -> Result<i64, KeyValueError> {
        let entry = self.0.entry(key.into()).and_try_compute_with(|known| {
            let value = match known {
                None => 0,
                Some(entry) => counter(entry.value()).ok_or(KeyValueError::NoCounter)?,
            };
            let value = value.saturating_add(delta).to_le_bytes();
            Ok(Op::Put(Bytes::copy_from_slice(&value)))
        })?;
        let value = entry.into_entry().and_then(|entry| counter(entry.value()));
        value.ok_or(KeyValueError::NoCounter)
    }

    fn keys(&self) -> Result<Vec<String>, KeyValueError> {
        Ok(self.0.iter().map(|(key, _)| key.to_string()).collect())
    }
}

fn counter(value: &[u8]) -> Option<i64> {
    value.try_into().ok().map(i64::from_le_bytes)
}

fn weight(key: &str, value: &Bytes) -> u32 {
    let bytes = key.len() + value.len() + ENTRY_OVERHEAD_BYTES;
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_counts_keys_values_and_overhead() {
        let store = MemoryStore::new(10_000);
        store.set("key", Bytes::from_static(b"value")).unwrap();
        let expected = 3 + 5 + ENTRY_OVERHEAD_BYTES as u64;
        assert_eq!(store.used_bytes(), expected);
        for index in 0..1_000 {
            store
                .set(&format!("{index}"), Bytes::from(vec![0; 100]))
                .unwrap();
        }
        assert!(store.used_bytes() <= 10_000);
    }

    #[test]
    fn counters_count_exactly_from_many_threads() {
        let store = MemoryStore::new(10_000);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        store.increment("n", 1).unwrap();
                    }
                });
            }
        });
        assert_eq!(store.increment("n", -4_000), Ok(0));
        store.set("text", Bytes::from_static(b"no number")).unwrap();
        assert_eq!(store.increment("text", 1), Err(KeyValueError::NoCounter));
    }

    #[test]
    fn entries_are_found_until_they_are_deleted() {
        let store = MemoryStore::new(10_000);
        store.set("a", Bytes::from_static(b"1")).unwrap();
        assert_eq!(store.get("a").unwrap().as_deref(), Some(b"1".as_slice()));
        assert_eq!(store.exists("a"), Ok(true));
        assert_eq!(store.keys().unwrap(), ["a"]);
        store.delete("a").unwrap();
        assert_eq!(store.exists("a"), Ok(false));
    }
}
