//! What lies under a key: what the bytes in a key-value store mean.
//!
//! ```text
//!  "BRH"  version  postcard(head)  body
//!   3 B     1 B       varies       of the length that the head says, to the end
//! ```
//!
//! A new version may be added; every version that was ever released still decodes (see
//! `tests/fixtures`). Anything else is an error, which callers treat as a miss.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use bytes::{Buf, Bytes};
use serde::{Deserialize, Serialize};

use super::fields::Fields;
use super::head::{ResponseHead, StoredResponse};
use super::keys::variant_key;
use crate::entry::MAX_ENTRY_BYTES;
use crate::http::Vary;
use crate::key::Key;
use crate::time::UnixSeconds;

const MAGIC: &[u8; 3] = b"BRH";
const VERSION: u8 = 1;

/// The longest time between a request and the end of its response. Records whose requests are
/// further apart tell of a clock that was set back.
pub const LONGEST_EXCHANGE: Duration = Duration::from_secs(600);

/// What is known under a primary key, or under the key of a variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The response.
    Response(StoredResponse),
    /// The responses lie under keys of their own, see [`variant`](Self::variant).
    Variants {
        /// The request fields that choose, in lower case.
        fields: BTreeSet<String>,
        /// Tells these variants from those before the last invalidation: the time, in seconds, of
        /// the request that brought the first of them.
        generation: u64,
    },
    /// There is no response that may be used without asking.
    Invalidated {
        /// When, by the clock of the cache that forwarded the unsafe request.
        at: UnixSeconds,
    },
}

/// Why stored bytes are no usable record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes were not written by Brink.
    #[error("the stored bytes do not start with the mark of a record")]
    Foreign,
    /// Written by a newer release.
    #[error("the record has version {0}; this release reads up to version {VERSION}")]
    Version(u8),
    /// More than is ever stored.
    #[error("the record has {0} bytes; at most {MAX_ENTRY_BYTES} are read")]
    TooLarge(usize),
    /// Cut off or altered.
    #[error("the record's head cannot be read")]
    Head,
    /// Cut off or altered.
    #[error("the record's body has {actual} bytes, its head says {expected}")]
    Length {
        /// Bytes found.
        actual: usize,
        /// Bytes announced.
        expected: usize,
    },
}

/// The stored form of everything but the body.
#[derive(Serialize, Deserialize)]
enum Head<'a> {
    Response(Cow<'a, ResponseHead>, u32),
    Variants(Cow<'a, BTreeSet<String>>, u64),
    Invalidated(UnixSeconds),
}

impl Record {
    /// The key under which the variant lies that a request with these fields asks for; `None` if
    /// this record is not [`Variants`](Self::Variants).
    pub fn variant(&self, primary: &Key, request: &Fields) -> Option<Key> {
        let Self::Variants { fields, generation } = self else {
            return None;
        };
        let variant = Vary::Fields(fields.clone()).key(|name| request.joined_bytes(name))?;
        Some(variant_key(primary, *generation, &variant))
    }

    /// The [`Variants`](Self::Variants) to write for a response beside what lies under its primary
    /// key; `None` if the response itself belongs there.
    ///
    /// Fields that earlier responses varied by stay, so that no variant answers a request that
    /// another response of the same URI would have told from it. That holds for a response that
    /// says nothing about `Vary`, too (RFC 9111 §4.1 on resources that forget it).
    pub fn variants_with(before: Option<&Self>, response: &ResponseHead) -> Option<Self> {
        let mut all = match response.vary() {
            Vary::Fields(fields) => fields,
            Vary::Anything => return None,
        };
        let mut first = response.times.requested.0;
        if let Some(Self::Variants { fields, generation }) = before {
            all.extend(fields.iter().cloned());
            first = *generation;
        }
        (!all.is_empty()).then_some(Self::Variants {
            fields: all,
            generation: first,
        })
    }

    /// Whether a response whose request was sent then may be written, beside what lies under its
    /// primary key and, for a variant, over what lies under its own. An answer from before an invalidation may be from before the change, and one
    /// from before the stored response is not the most recent (RFC 9111 §4).
    pub fn is_storable_now(before: Option<&Self>, requested: UnixSeconds) -> bool {
        let newest = match before {
            None => return true,
            Some(Self::Invalidated { at }) => {
                return requested > *at || at.since(requested) > LONGEST_EXCHANGE;
            }
            Some(Self::Response(response)) => response.head.times.requested,
            Some(Self::Variants { generation, .. }) => UnixSeconds(*generation),
        };
        requested >= newest || newest.since(requested) > LONGEST_EXCHANGE
    }

    /// The bytes to store.
    ///
    /// # Errors
    /// [`RecordError::TooLarge`], for more than [`MAX_ENTRY_BYTES`].
    pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
        let (head, body) = match self {
            Self::Response(StoredResponse { head, body }) => {
                let length = u32::try_from(body.len());
                let length = length.map_err(|_| RecordError::TooLarge(body.len()))?;
                (Head::Response(Cow::Borrowed(head), length), &body[..])
            }
            Self::Variants { fields, generation } => {
                (Head::Variants(Cow::Borrowed(fields), *generation), &[][..])
            }
            Self::Invalidated { at } => (Head::Invalidated(*at), &[][..]),
        };
        let mut bytes = Vec::with_capacity(512 + body.len());
        bytes.extend_from_slice(MAGIC);
        bytes.push(VERSION);
        let mut bytes = postcard::to_extend(&head, bytes)
            .expect("plain structs without maps or unknown lengths always serialise");
        bytes.extend_from_slice(body);
        if bytes.len() > MAX_ENTRY_BYTES {
            return Err(RecordError::TooLarge(bytes.len()));
        }
        Ok(bytes)
    }

    /// Reads stored bytes; a response's body is a slice of them.
    ///
    /// # Errors
    /// Bytes of others, of a newer release, above the limits, or broken ones.
    pub fn decode(bytes: Bytes) -> Result<Self, RecordError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(RecordError::Foreign)?;
        let (version, rest) = rest.split_first().ok_or(RecordError::Foreign)?;
        if *version != VERSION {
            return Err(RecordError::Version(*version));
        }
        if bytes.len() > MAX_ENTRY_BYTES {
            return Err(RecordError::TooLarge(bytes.len()));
        }
        let (head, body): (Head<'static>, &[u8]) =
            postcard::take_from_bytes(rest).map_err(|_| RecordError::Head)?;
        let expected = match &head {
            Head::Response(_, length) => *length as usize,
            Head::Variants(..) | Head::Invalidated(_) => 0,
        };
        let actual = body.len();
        if actual != expected {
            return Err(RecordError::Length { actual, expected });
        }
        // Moves the start: a second reference to the bytes would cost an allocation.
        let start = bytes.len() - actual;
        let mut body = bytes;
        body.advance(start);
        Ok(match head {
            Head::Response(head, _) => Self::Response(StoredResponse {
                head: head.into_owned(),
                body,
            }),
            Head::Variants(fields, generation) => Self::Variants {
                fields: fields.into_owned(),
                generation,
            },
            Head::Invalidated(at) => Self::Invalidated { at },
        })
    }
}
