//! The form of a policy that edges read from the key-value store.
//!
//! ```text
//!  "BRP"  version  postcard(name, rules)
//!   3 B     1 B      to the end
//! ```
//!
//! A policy's version is a hash of these bytes, so two files that say the same have one
//! version, whatever their comments and layout. Every version of the form that was ever
//! released is still read (see `tests/fixtures`). What was read is checked like a file: a
//! store may hold bytes of others, and a policy that breaks a limit is no policy.

use super::limits::MAX_COMPILED_BYTES;
use super::rule::Rule;
use super::{Policy, PolicyVersion};
use crate::file::Mistakes;

const MAGIC: &[u8; 3] = b"BRP";
const VERSION: u8 = 1;

/// Why stored bytes are no usable policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompiledError {
    /// The bytes were not written by Brink.
    #[error("the stored bytes do not start with the mark of a policy")]
    Foreign,
    /// Written by a newer release.
    #[error("the policy has version {0} of the form; this release reads up to version {VERSION}")]
    Version(u8),
    /// More than any policy of ours has.
    #[error("the policy has {0} bytes; at most {MAX_COMPILED_BYTES} are read")]
    TooLarge(usize),
    /// Cut off or altered.
    #[error("the policy's bytes cannot be read")]
    Broken,
    /// Readable, and not allowed.
    #[error("the stored policy is not allowed: {0}")]
    Invalid(Mistakes),
}

/// The bytes to store.
pub(super) fn encode(name: &str, rules: &[Rule]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.push(VERSION);
    postcard::to_extend(&(name, rules), bytes)
        .expect("plain structs without maps or unknown lengths always serialise")
}

/// The first 8 bytes of BLAKE3 over the compiled form.
pub(super) fn version(compiled: &[u8]) -> PolicyVersion {
    let hash = blake3::hash(compiled);
    let first = hash.as_bytes().first_chunk();
    PolicyVersion(*first.expect("a hash has 32 bytes"))
}

impl Policy {
    /// The compiled form: the bytes to store.
    pub fn encode(&self) -> Vec<u8> {
        encode(&self.name, &self.rules)
    }

    /// Reads the compiled form.
    pub fn decode(bytes: &[u8]) -> Result<Self, CompiledError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(CompiledError::Foreign)?;
        let (version, rest) = rest.split_first().ok_or(CompiledError::Foreign)?;
        if *version != VERSION {
            return Err(CompiledError::Version(*version));
        }
        if bytes.len() > MAX_COMPILED_BYTES {
            return Err(CompiledError::TooLarge(bytes.len()));
        }
        let ((name, rules), rest): ((String, Vec<Rule>), &[u8]) =
            postcard::take_from_bytes(rest).map_err(|_| CompiledError::Broken)?;
        if !rest.is_empty() {
            return Err(CompiledError::Broken);
        }
        Self::new(name, rules).map_err(CompiledError::Invalid)
    }
}
