//! Tenants: who asks, and how much may they ask for?
//!
//! ```text
//!  tenants.toml --Tenants::parse--> Tenants --encode--> key-value store --decode--> Tenants
//!                                                                                    |
//!                                       Authorization --Tenants::authenticate--> Tenant
//!                                                                                    |
//!                                                        TenantLimits --TokenBucket--> Remaining
//! ```
//!
//! Operators write TOML; `cache/tenants.toml` documents every key. Edges read the stored form. A
//! table exists only after every check, so nothing that uses it has to doubt it.
//!
//! | module | answers |
//! | --- | --- |
//! | [`api_key`] | how is an API key kept? |
//! | [`auth`] | whose request is this? |
//! | [`limits`] | how much may a tenant ask for? |
//! | [`bucket`] | is there enough left for this request? |
//! | [`fields`] | how is that told to clients? |
//! | `check`, `source`, [`stored`] | what is allowed, and what do a file and stored bytes mean? |
//!
//! Not here: who keeps the buckets. Edges keep that of requests in their store, under
//! [`bucket_key`], so that all edges with one store count together; the host keeps that of model time.

pub mod api_key;
pub mod auth;
pub mod bucket;
mod check;
pub mod fields;
pub mod limits;
mod source;
pub mod stored;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use api_key::{ApiKeyError, KeyHash, hash_api_key};
pub use auth::{AuthError, bearer_token};
pub use bucket::{Quota, Remaining, TokenBucket, Wait};
pub use check::{MAX_KEYS, MAX_STORED_BYTES, MAX_TENANTS};
pub use fields::{rate_limit, rate_limit_policy};
pub use limits::{Rate, TenantLimits};
pub use source::MAX_SOURCE_BYTES;
pub use stored::TenantsError;

use crate::file::{Mistake, Mistakes};
use crate::index::Index;

/// One tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// Its name in cache keys, logs and metrics: 1 to 64 letters, digits, "-", "_" or ".". A
    /// tenant that is given another name starts with an empty cache.
    pub name: String,
    /// Its API keys, up to [`MAX_KEYS`]. With none it exists and nobody can ask in its name.
    pub key_hashes: Vec<KeyHash>,
    /// How much it may ask for.
    pub limits: TenantLimits,
}

/// The key of the compiled table in a key-value store. Keys of results are 64 hexadecimal digits,
/// so this one can never be one of theirs.
pub const STORE_KEY: &str = "brink/tenants/1";

/// The key, in the edges' store, of the state of a tenant's bucket of requests. No key of results
/// looks like it (see [`STORE_KEY`]).
pub fn bucket_key(tenant: &str) -> String {
    format!("brink/rate/1/{tenant}")
}

/// A checked table of tenants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenants {
    list: Vec<Tenant>,
    /// Whose key it is, as a place in `list`.
    owners: Index<KeyHash, usize>,
}

impl Tenants {
    /// Checks tenants and makes a table of them.
    ///
    /// # Errors
    /// Every mistake, if there are any.
    pub fn new(list: Vec<Tenant>) -> Result<Self, Mistakes> {
        let mut found = check::check(&list);
        found.extend(check::check_size(stored::encode(&list).len()));
        if !found.is_empty() {
            return Err(mistakes(found));
        }
        let owned = |(index, tenant): (usize, &Tenant)| {
            let hashes = tenant.key_hashes.clone().into_iter();
            hashes.map(move |hash| (hash, index))
        };
        let owners = list.iter().enumerate().flat_map(owned).collect();
        Ok(Self { list, owners })
    }

    /// The tenants, in the order of the file.
    pub fn list(&self) -> &[Tenant] {
        &self.list
    }

    fn owner(&self, hash: &KeyHash) -> Option<&Tenant> {
        self.owners.get(hash).map(|index| &self.list[*index])
    }
}

fn mistakes(list: Vec<Mistake>) -> Mistakes {
    let subject = "table of tenants";
    Mistakes { subject, list }
}
