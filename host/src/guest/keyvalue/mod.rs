//! Key-value stores as components see them.
//!
//! ```text
//!  spin:key-value@3.0.0  ---\
//!                            +--> Bucket (limits) --> dyn KeyValue (memory, or a test's own)
//!  wasi:keyvalue/store   ---/
//! ```
//!
//! A store is synchronous: the ones here are in memory, and the host also asks
//! them from a place where nothing may suspend. A store that has to wait for a
//! network needs another trait.

mod memory;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

pub use memory::MemoryStore;

/// Longest key in bytes, as Spin documents it.
pub const MAX_KEY_BYTES: usize = 256;

/// Largest value in bytes, as Spin documents it (1 MB).
pub const MAX_VALUE_BYTES: usize = 1_000_000;

/// Why a store did not do what was asked. The component sees the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyValueError {
    /// The key is longer than [`MAX_KEY_BYTES`].
    #[error("the key has {bytes} bytes; at most {MAX_KEY_BYTES} are allowed")]
    KeyTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The value is larger than [`MAX_VALUE_BYTES`].
    #[error("the value has {bytes} bytes; at most {MAX_VALUE_BYTES} are allowed")]
    ValueTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The value under the key is no counter.
    #[error("the value under the key is no counter")]
    NoCounter,
    /// The store itself failed.
    #[error("the key-value store failed: {0}")]
    Store(String),
}

/// One key-value store. Values are [`Bytes`], so that a look-up copies nothing.
pub trait KeyValue: Send + Sync + 'static {
    /// The value of `key`, if there is one.
    fn get(&self, key: &str) -> Result<Option<Bytes>, KeyValueError>;
    /// Sets `key`, replacing an earlier value.
    fn set(&self, key: &str, value: Bytes) -> Result<(), KeyValueError>;
    /// Removes `key`; it is no error if it is not there.
    fn delete(&self, key: &str) -> Result<(), KeyValueError>;
    /// Whether `key` has a value.
    fn exists(&self, key: &str) -> Result<bool, KeyValueError>;
    /// Adds to a counter, which is zero where there is none, and gives its new value; all at once,
    /// whoever else does the same.
    fn increment(&self, key: &str, delta: i64) -> Result<i64, KeyValueError>;
    /// All keys, in no order.
    fn keys(&self) -> Result<Vec<String>, KeyValueError>;
}

/// The stores of an application by their labels. Each label is a namespace and a
/// budget of its own, so one component's entries never evict those of another
/// that uses another label.
#[derive(Clone, Default)]
pub struct Stores(BTreeMap<String, Bucket>);

impl Stores {
    /// No stores.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `store` under `label`, replacing an earlier one.
    #[must_use]
    pub fn with(mut self, label: impl Into<String>, store: Arc<dyn KeyValue>) -> Self {
        self.0.insert(label.into(), Bucket(store));
        self
    }

    /// The store with this label.
    pub fn get(&self, label: &str) -> Option<&Bucket> {
        self.0.get(label)
    }
}

/// A store with Spin's limits in front: what a component holds when it has opened one.
#[derive(Clone)]
pub struct Bucket(Arc<dyn KeyValue>);

impl Bucket {
    /// See [`KeyValue::get`].
    pub fn get(&self, key: &str) -> Result<Option<Bytes>, KeyValueError> {
        check_key(key)?;
        self.0.get(key)
    }

    /// See [`KeyValue::set`].
    pub fn set(&self, key: &str, value: Bytes) -> Result<(), KeyValueError> {
        check_key(key)?;
        if value.len() > MAX_VALUE_BYTES {
            let bytes = value.len();
            return Err(KeyValueError::ValueTooLarge { bytes });
        }
        self.0.set(key, value)
    }

    /// See [`KeyValue::delete`].
    pub fn delete(&self, key: &str) -> Result<(), KeyValueError> {
        check_key(key)?;
        self.0.delete(key)
    }

    /// See [`KeyValue::exists`].
    pub fn exists(&self, key: &str) -> Result<bool, KeyValueError> {
        check_key(key)?;
        self.0.exists(key)
    }

    /// See [`KeyValue::increment`].
    pub fn increment(&self, key: &str, delta: i64) -> Result<i64, KeyValueError> {
        check_key(key)?;
        self.0.increment(key, delta)
    }

    /// See [`KeyValue::keys`].
    pub fn keys(&self) -> Result<Vec<String>, KeyValueError> {
        self.0.keys()
    }
}

/// A compare-and-swap under way. It is not served: under Spin it does not work on every store, so no component
/// that is to run there can use it, and nobody ever holds one of these.
pub enum Swap {}

fn check_key(key: &str) -> Result<(), KeyValueError> {
    if key.len() > MAX_KEY_BYTES {
        return Err(KeyValueError::KeyTooLong { bytes: key.len() });
    }
    Ok(())
}
