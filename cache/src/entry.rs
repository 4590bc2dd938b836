//! Stored results: what the bytes in a key-value store mean.
//!
//! ```text
//!  "BRK"  version  postcard(meta)  body
//!   3 B     1 B      varies        meta.body_len bytes, to the end
//! ```
//!
//! A new version may be added; every version that was ever released still decodes (see
//! `tests/fixtures`). Anything else is an error, which callers treat as a miss.

use std::time::Duration;

use bytes::{Buf, Bytes};
use serde::{Deserialize, Serialize};

use crate::freshness::Lifetimes;
use crate::key::ModelDigest;
use crate::time::UnixSeconds;

const MAGIC: &[u8; 3] = b"BRK";
const VERSION: u8 = 1;

/// Most bytes that a stored entry may have. Spin's documented limit for a value.
pub const MAX_ENTRY_BYTES: usize = 1_000_000;

/// What is known about a stored result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryMeta {
    /// When the model produced the result.
    pub created: UnixSeconds,
    /// How long it stays usable.
    pub lifetimes: Lifetimes,
    /// The model that produced it.
    pub model_digest: ModelDigest,
    /// Model time that a hit saves, in microseconds.
    pub cost_us: u32,
    /// Tokens that the model read, for `usage`.
    pub tokens: u32,
    /// What the body is.
    pub content: Content,
    /// Labels by which the entry can be purged together with others.
    pub surrogate_keys: Vec<String>,
}

/// The kind of body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// A vector of `f32`, little-endian.
    EmbeddingF32,
    /// Bytes of a media type (RFC 9110 §8.3).
    Media(String),
}

/// A stored result: its metadata and the result itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What is known about the result.
    pub meta: EntryMeta,
    /// The result; shared, never copied.
    pub body: Bytes,
}

/// Why stored bytes are no usable entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The bytes were not written by Brink.
    #[error("the stored bytes do not start with the mark of an entry")]
    Foreign,
    /// Written by a newer release.
    #[error("the entry has version {0}; this release reads up to version {VERSION}")]
    Version(u8),
    /// Cut off or altered.
    #[error("the entry's metadata cannot be read")]
    Meta,
    /// Cut off or altered.
    #[error("the entry's body has {actual} bytes, its metadata says {expected}")]
    Length {
        /// Bytes found.
        actual: usize,
        /// Bytes announced.
        expected: usize,
    },
}

impl Entry {
    /// Time since the model produced the result (the current age of RFC 9111 §4.2.3).
    pub fn age(&self, now: UnixSeconds) -> Duration {
        now.since(self.meta.created)
    }

    /// The bytes to store.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(96 + self.body.len());
        bytes.extend_from_slice(MAGIC);
        bytes.push(VERSION);
        let head = (&self.meta, self.body.len() as u32);
        let mut bytes = postcard::to_extend(&head, bytes)
            .expect("plain structs without maps or unknown lengths always serialise");
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Reads stored bytes; the body is a slice of them.
    pub fn decode(bytes: Bytes) -> Result<Self, EntryError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(EntryError::Foreign)?;
        let (version, rest) = rest.split_first().ok_or(EntryError::Foreign)?;
        if *version != VERSION {
            return Err(EntryError::Version(*version));
        }
        let ((meta, expected), body): ((EntryMeta, u32), &[u8]) =
            postcard::take_from_bytes(rest).map_err(|_| EntryError::Meta)?;
        if body.len() != expected as usize {
            return Err(EntryError::Length {
                actual: body.len(),
                expected: expected as usize,
            });
        }
        // Moves the start: a second reference to the bytes would cost an allocation.
        let head = bytes.len() - body.len();
        let mut body = bytes;
        body.advance(head);
        Ok(Self { meta, body })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The entry in `tests/fixtures/entry_v1.bin`.
    fn fixture() -> Entry {
        Entry {
            meta: EntryMeta {
                created: UnixSeconds(1_700_000_000),
                lifetimes: Lifetimes::IMMUTABLE,
                model_digest: ModelDigest([7; 32]),
                cost_us: 9_500,
                tokens: 6,
                content: Content::EmbeddingF32,
                surrogate_keys: vec!["model:all-MiniLM-L6-v2".to_owned()],
            },
            body: Bytes::from_static(&[0, 0, 128, 63, 0, 0, 0, 64]),
        }
    }

    #[test]
    fn entries_of_version_1_are_still_read() {
        let stored = include_bytes!("../tests/fixtures/entry_v1.bin");
        assert_eq!(Entry::decode(Bytes::from_static(stored)), Ok(fixture()));
        assert_eq!(
            fixture().encode(),
            stored,
            "the writer still writes version 1"
        );
    }

    #[test]
    fn foreign_and_newer_bytes_are_named() {
        let check = |bytes: &'static [u8], expected| {
            assert_eq!(Entry::decode(Bytes::from_static(bytes)), Err(expected));
        };
        check(b"", EntryError::Foreign);
        check(b"BRK", EntryError::Foreign);
        check(b"{\"a\":1}", EntryError::Foreign);
        check(b"BRK\x09", EntryError::Version(9));
        check(b"BRK\x01", EntryError::Meta);
    }

    proptest! {
        #[test]
        fn every_entry_is_read_back(created: u64, cost_us: u32, tokens: u32, labels in prop::collection::vec(".*", 0..3), body: Vec<u8>) {
            let entry = Entry {
                meta: EntryMeta { created: UnixSeconds(created), cost_us, tokens, surrogate_keys: labels, ..fixture().meta },
                body: body.into(),
            };
            prop_assert_eq!(Entry::decode(entry.encode().into()), Ok(entry));
        }

        /// Cutting an entry anywhere is noticed, and no bytes make the decoder panic.
        #[test]
        fn cut_entries_are_refused(cut in 0usize..60, noise: Vec<u8>) {
            let whole = fixture().encode();
            let kept = whole.len().saturating_sub(1 + cut);
            prop_assert!(Entry::decode(Bytes::copy_from_slice(&whole[..kept])).is_err());
            let _ = Entry::decode(noise.into());
        }
    }
}
