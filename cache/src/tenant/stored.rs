//! The form of a table of tenants that edges read from the key-value store.
//!
//! ```text
//!  "BRT"  version  postcard(list of tenants)
//!   3 B     1 B      to the end
//! ```
//!
//! Every version that was ever released is still read (see `tests/fixtures`). What was read is
//! checked like a file: a store may hold bytes of others. It holds hashes of API keys and no keys;
//! whoever can write it decides who gets in.

use super::check::MAX_STORED_BYTES;
use super::{Tenant, Tenants};
use crate::file::Mistakes;

const MAGIC: &[u8; 3] = b"BRT";
const VERSION: u8 = 1;

/// Why stored bytes are no usable table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TenantsError {
    /// The bytes were not written by Brink.
    #[error("the stored bytes do not start with the mark of a table of tenants")]
    Foreign,
    /// Written by a newer release.
    #[error("the table of tenants has version {0}; this release reads up to version {VERSION}")]
    Version(u8),
    /// More than any table of ours has.
    #[error("the table of tenants has {0} bytes; at most {MAX_STORED_BYTES} are read")]
    TooLarge(usize),
    /// Cut off or altered.
    #[error("the bytes of the table of tenants cannot be read")]
    Broken,
    /// Readable, and not allowed.
    #[error("the stored table of tenants is not allowed: {0}")]
    Invalid(Mistakes),
}

/// The bytes to store.
pub(super) fn encode(list: &[Tenant]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.push(VERSION);
    postcard::to_extend(list, bytes)
        .expect("plain structs without maps or unknown lengths always serialise")
}

impl Tenants {
    /// The bytes to store; at most [`MAX_STORED_BYTES`].
    pub fn encode(&self) -> Vec<u8> {
        encode(self.list())
    }

    /// Reads stored bytes and builds the index of keys.
    ///
    /// # Errors
    /// Bytes of others, of a newer release, above the limits, or broken ones.
    pub fn decode(bytes: &[u8]) -> Result<Self, TenantsError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(TenantsError::Foreign)?;
        let (version, rest) = rest.split_first().ok_or(TenantsError::Foreign)?;
        if *version != VERSION {
            return Err(TenantsError::Version(*version));
        }
        if bytes.len() > MAX_STORED_BYTES {
            return Err(TenantsError::TooLarge(bytes.len()));
        }
        let (list, rest): (Vec<Tenant>, &[u8]) =
            postcard::take_from_bytes(rest).map_err(|_| TenantsError::Broken)?;
        if !rest.is_empty() {
            return Err(TenantsError::Broken);
        }
        Self::new(list).map_err(TenantsError::Invalid)
    }
}
