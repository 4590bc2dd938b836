//! One purge: what, when, and how hard.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::CLOCK_ALLOWANCE;
use crate::key::{Key, ModelDigest};
use crate::time::UnixSeconds;

/// Most bytes of a surrogate key, a model's name or a tenant's name in a mark. A surrogate key
/// that is longer can be attached to entries, and they can be purged by another subject.
pub const MAX_NAME_BYTES: usize = 4096;

/// One purge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// What is purged.
    pub subject: Subject,
    /// When, by the clock of the edge that takes the purge: entries created then or before are
    /// meant. A mark of the future is allowed, and purges what is created until then.
    pub at: UnixSeconds,
    /// How hard.
    pub mode: Mode,
}

/// What a purge names. Names are compared byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Subject {
    /// The entry under one key.
    Key(Key),
    /// Entries that carry this label, as it was filled in when they were stored.
    SurrogateKey(String),
    /// Entries of a model, by the name that clients write.
    Model(String),
    /// Entries of a model, by what it is; whatever name it has.
    Digest(ModelDigest),
    /// Entries of one tenant.
    Tenant(String),
    /// Every entry.
    All,
}

/// How hard a purge is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Mode {
    /// Entries count as stale from the mark's time on. Their stale-while-revalidate and
    /// stale-if-error windows (RFC 5861) are counted from there, so that a purge of much does not
    /// send everybody to the models at once.
    #[default]
    Soft,
    /// Entries count as absent.
    Hard,
}

/// A name that no mark can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name to purge has {bytes} bytes; 1 to {MAX_NAME_BYTES} are allowed")]
pub struct NameError {
    /// Its length.
    pub bytes: usize,
}

impl Subject {
    /// The name in it, for the subjects that have one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::SurrogateKey(name) | Self::Model(name) | Self::Tenant(name) => Some(name),
            Self::Key(_) | Self::Digest(_) | Self::All => None,
        }
    }

    /// Refuses names that are too long, and the empty one: it stands for "no model" in requests
    /// that need none, and nobody who purges a model means those.
    pub(super) fn check(&self) -> Result<(), NameError> {
        match self.name().map(str::len) {
            Some(bytes) if !(1..=MAX_NAME_BYTES).contains(&bytes) => Err(NameError { bytes }),
            _ => Ok(()),
        }
    }
}

/// Whether a mark of the time `at` reaches an entry.
pub(super) fn reaches(at: UnixSeconds, created: UnixSeconds) -> bool {
    created.since(at) <= CLOCK_ALLOWANCE
}

/// For logs and answers: `model "m"`.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "key {key}"),
            Self::SurrogateKey(label) => write!(f, "surrogate key {label:?}"),
            Self::Model(name) => write!(f, "model {name:?}"),
            Self::Digest(digest) => write!(f, "model digest {digest}"),
            Self::Tenant(name) => write!(f, "tenant {name:?}"),
            Self::All => f.write_str("everything"),
        }
    }
}
