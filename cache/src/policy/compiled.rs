//! The form of a policy that edges read from the key-value store.
//!
//! ```text
//!  "BRP"  version 1  postcard(name, rules)
//!  "BRP"  version 2  postcard(name, rules, origins, aliases)
//!   3 B      1 B       to the end
//! ```
//!
//! A policy without origins and aliases is still written as version 1: its bytes, and with them
//! the version of the policy, stay what they were, and older releases read it.
//!
//! A policy's version is a hash of these bytes, so two files that say the same have one
//! version, whatever their comments and layout. Every version of the form that was ever
//! released is still read (see `tests/fixtures`). What was read is checked like a file: a
//! store may hold bytes of others, and a policy that breaks a limit is no policy.

use serde::de::DeserializeOwned;

use super::limits::MAX_COMPILED_BYTES;
use super::{Policy, PolicyParts, PolicyVersion};
use crate::file::Mistakes;

const MAGIC: &[u8; 3] = b"BRP";
/// The version that holds rules only.
const RULES_ONLY: u8 = 1;
/// The newest version.
const VERSION: u8 = 2;

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
pub(super) fn encode(parts: &PolicyParts) -> Vec<u8> {
    let PolicyParts {
        name,
        rules,
        origins,
        aliases,
    } = parts;
    let has_rules_only = origins.is_empty() && aliases.is_empty();
    let mut bytes = MAGIC.to_vec();
    bytes.push(if has_rules_only { RULES_ONLY } else { VERSION });
    let written = if has_rules_only {
        postcard::to_extend(&(name, rules), bytes)
    } else {
        postcard::to_extend(&(name, rules, origins, aliases), bytes)
    };
    written.expect("plain structs without maps or unknown lengths always serialise")
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
        encode(&self.parts)
    }

    /// Reads the compiled form.
    ///
    /// # Errors
    /// Bytes of others, of a newer release, above the limits, or broken ones.
    pub fn decode(bytes: &[u8]) -> Result<Self, CompiledError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(CompiledError::Foreign)?;
        let (version, rest) = rest.split_first().ok_or(CompiledError::Foreign)?;
        if !(RULES_ONLY..=VERSION).contains(version) {
            return Err(CompiledError::Version(*version));
        }
        if bytes.len() > MAX_COMPILED_BYTES {
            return Err(CompiledError::TooLarge(bytes.len()));
        }
        Self::with(parts(*version, rest)?).map_err(CompiledError::Invalid)
    }
}

fn parts(version: u8, bytes: &[u8]) -> Result<PolicyParts, CompiledError> {
    if version == RULES_ONLY {
        let (name, rules) = read(bytes)?;
        return Ok(PolicyParts {
            name,
            rules,
            ..PolicyParts::default()
        });
    }
    let (name, rules, origins, aliases) = read(bytes)?;
    Ok(PolicyParts {
        name,
        rules,
        origins,
        aliases,
    })
}

/// Reads a value that takes all bytes.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CompiledError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        _ => Err(CompiledError::Broken),
    }
}
