//! The hash index of documents that operators write.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::BuildHasherDefault;

/// A map whose hasher has fixed keys, so that these rules need no source of randomness. It may
/// have: what is in it comes from operators, and no client can fill it with collisions.
pub(crate) type Index<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;
