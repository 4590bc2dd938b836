//! Reads a table of tenants from TOML, and remembers every mistake instead of stopping at the
//! first. The stand-ins for wrong values never leave this module.
//!
//! Hashes are not repeated in messages: who pastes a key by mistake must not find it in a log.

use std::num::{NonZeroU32, NonZeroU64};

use super::api_key::KeyHash;
use super::check::{self, MAX_CONCURRENT, MAX_MODEL_MS, MAX_RATE};
use super::limits::{Rate, TenantLimits};
use super::{Tenant, Tenants, mistakes};
use crate::file::{Mistake, Mistakes, Notes, Table};

/// Most bytes of the file.
pub const MAX_SOURCE_BYTES: usize = 4 * 1024 * 1024;

/// Version of the file's meaning, not of its content.
const FILE_VERSION: u64 = 1;

/// Keys of the file.
const FILE_KEYS: [&str; 2] = ["version", "tenant"];
/// Keys of a `[[tenant]]`.
pub(super) const TENANT_KEYS: [&str; 6] = [
    "name",
    "key_hashes",
    "requests_per_second",
    "burst",
    "max_concurrent",
    "model_ms_per_minute",
];

impl Tenants {
    /// Reads a file of tenants.
    ///
    /// # Errors
    /// Every mistake, each with line, tenant, key and what is allowed.
    pub fn parse(source: &str) -> Result<Self, Mistakes> {
        if source.len() > MAX_SOURCE_BYTES {
            let found = source.len();
            let problem = format!("has {found} bytes; at most {MAX_SOURCE_BYTES} are read");
            return Err(mistakes(vec![Mistake::of_file(problem)]));
        }
        let notes = Notes::new(source);
        let Some(root) = Table::of_source(source, &notes) else {
            return Err(mistakes(notes.into_mistakes(Vec::new())));
        };
        let list = tenants(root);
        let all = notes.into_mistakes(check::check(&list));
        if all.is_empty() {
            Self::new(list)
        } else {
            Err(mistakes(all))
        }
    }
}

fn tenants(mut root: Table<'_>) -> Vec<Tenant> {
    root.version(FILE_VERSION);
    let tables = root.tables("tenant").into_iter().enumerate();
    let list = tables.map(|(index, table)| tenant(index, table)).collect();
    root.finish(&FILE_KEYS);
    list
}

fn tenant(index: usize, mut table: Table<'_>) -> Tenant {
    table.require("name", "a name for cache keys, logs and metrics");
    let name = table.text("name");
    let name = name.unwrap_or_else(|| format!("tenant-{}", index + 1));
    table.set_name(&name);
    let key_hashes = key_hashes(&mut table);
    let limits = TenantLimits {
        requests_per_second: rate(&mut table),
        max_concurrent: small_limit(&mut table, "max_concurrent", MAX_CONCURRENT),
        model_ms_per_minute: limit(&mut table, "model_ms_per_minute", MAX_MODEL_MS),
    };
    table.finish(&TENANT_KEYS);
    Tenant {
        name,
        key_hashes,
        limits,
    }
}

fn key_hashes(table: &mut Table<'_>) -> Vec<KeyHash> {
    table.require("key_hashes", "a list of hashes of API keys");
    let texts = table.texts("key_hashes").unwrap_or_default();
    let read = |(index, text): (usize, &String)| {
        let hash = KeyHash::from_hex(text);
        if hash.is_none() {
            let number = index + 1;
            let problem = format!("element {number} is no hash; 64 hexadecimal digits are wanted");
            table.reject("key_hashes", &problem);
        }
        hash
    };
    texts.iter().enumerate().filter_map(read).collect()
}

/// Without `burst`, as many requests may come at once as in a second.
fn rate(table: &mut Table<'_>) -> Option<Rate> {
    let is_limited = table.has("requests_per_second");
    if !is_limited && table.has("burst") {
        table.reject("burst", "has no effect without requests_per_second");
    }
    let burst = small_limit(table, "burst", MAX_RATE);
    let per_second = small_limit(table, "requests_per_second", MAX_RATE)?;
    Some(Rate {
        per_second,
        burst: burst.unwrap_or(per_second),
    })
}

fn limit(table: &mut Table<'_>, key: &str, most: u64) -> Option<NonZeroU64> {
    let value = table.integer(key)?;
    let limit = NonZeroU64::new(value).filter(|limit| limit.get() <= most);
    if limit.is_none() {
        table.reject(key, &format!("is {value}; {}", check::range(most)));
    }
    limit
}

/// A limit whose `most` is below 2^32.
fn small_limit(table: &mut Table<'_>, key: &str, most: u64) -> Option<NonZeroU32> {
    limit(table, key, most).and_then(|limit| limit.try_into().ok())
}
