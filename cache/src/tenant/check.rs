//! What a table of tenants may hold. The same checks see one from a file and one from a store.

use std::collections::BTreeSet;

use super::Tenant;
use super::api_key::KeyHash;
use crate::entry::MAX_ENTRY_BYTES;
use crate::file::{Mistake, Place, name_problem, shown};
use crate::index::Index;

/// Most tenants.
pub const MAX_TENANTS: usize = 10_000;
/// Most API keys of one tenant: one in use and one that replaces it, for several programs.
pub const MAX_KEYS: usize = 16;
/// Most bytes of the stored form: what a key-value store takes as one value. 10,000 tenants with
/// one key each and all limits fit.
pub const MAX_STORED_BYTES: usize = MAX_ENTRY_BYTES;

/// Most requests per second and most requests at once: more than an edge can answer.
pub(super) const MAX_RATE: u64 = 1_000_000;
/// Most requests in flight.
pub(super) const MAX_CONCURRENT: u64 = 100_000;
/// Most model time per minute: that of 10,000 devices.
pub(super) const MAX_MODEL_MS: u64 = 10_000 * 60_000;

/// Everything that is wrong with a list of tenants.
pub(super) fn check(tenants: &[Tenant]) -> Vec<Mistake> {
    let mut check = Check::default();
    if !(1..=MAX_TENANTS).contains(&tenants.len()) {
        let count = tenants.len();
        // A table without tenants locks everybody out; nobody writes that on purpose.
        let problem = format!("has {count} tenants; 1 to {MAX_TENANTS} are wanted");
        check.add("tenant", problem);
        return check.mistakes;
    }
    for (index, tenant) in tenants.iter().enumerate() {
        check.place = Some(Place {
            kind: "tenant",
            index,
            name: tenant.name.clone(),
        });
        check.name(tenant);
        check.keys(tenant);
        check.limits(tenant);
    }
    check.mistakes
}

/// What is wrong with the size of the stored form, if something is.
pub(super) fn check_size(bytes: usize) -> Option<Mistake> {
    (bytes > MAX_STORED_BYTES).then(|| {
        Mistake::of_file(format!(
            "the stored table has {bytes} bytes; at most {MAX_STORED_BYTES} are allowed"
        ))
    })
}

#[derive(Default)]
struct Check<'t> {
    place: Option<Place>,
    /// Names seen so far.
    names: BTreeSet<&'t str>,
    /// Whose keys were seen so far.
    owners: Index<KeyHash, &'t str>,
    mistakes: Vec<Mistake>,
}

impl<'t> Check<'t> {
    fn add(&mut self, key: &str, problem: String) {
        self.mistakes.push(Mistake {
            line: None,
            place: self.place.clone(),
            key: key.to_owned(),
            problem,
        });
    }

    fn name(&mut self, tenant: &'t Tenant) {
        if let Some(problem) = name_problem(&tenant.name) {
            self.add("name", problem);
        }
        if !self.names.insert(&tenant.name) {
            let problem = format!("is {}, as of an earlier tenant", shown(&tenant.name));
            self.add("name", problem);
        }
    }

    /// A key of two tenants would let one read the other's results.
    fn keys(&mut self, tenant: &'t Tenant) {
        let count = tenant.key_hashes.len();
        if count > MAX_KEYS {
            let problem = format!("has {count} elements; at most {MAX_KEYS} are allowed");
            self.add("key_hashes", problem);
        }
        for hash in &tenant.key_hashes {
            if let Some(owner) = self.owners.insert(*hash, &tenant.name) {
                let problem = format!("has a hash that was given before, for {}", shown(owner));
                self.add("key_hashes", problem);
            }
        }
    }

    fn limits(&mut self, tenant: &Tenant) {
        let limits = tenant.limits;
        let rate = limits.requests_per_second;
        let values = [
            (
                "requests_per_second",
                rate.map(|rate| rate.per_second.into()),
                MAX_RATE,
            ),
            ("burst", rate.map(|rate| rate.burst.into()), MAX_RATE),
            (
                "max_concurrent",
                limits.max_concurrent.map(Into::into),
                MAX_CONCURRENT,
            ),
            (
                "model_ms_per_minute",
                limits.model_ms_per_minute,
                MAX_MODEL_MS,
            ),
        ];
        for (key, value, most) in values {
            if let Some(value) = value.filter(|value| value.get() > most) {
                self.add(key, format!("is {value}; {}", range(most)));
            }
        }
    }
}

/// For messages about a limit.
pub(super) fn range(most: u64) -> String {
    format!("a whole number from 1 to {most} is wanted")
}
