//! Reads a policy from TOML, and remembers every mistake instead of stopping at the first.
//!
//! The stand-ins for wrong values never leave this module: with one mistake there is no policy.

mod aliases;
mod origins;
mod rules;

use super::limits::MAX_SOURCE_BYTES;
use super::{Policy, PolicyParts, check, mistakes};
use crate::file::{Mistake, Mistakes, Notes, Table};

#[cfg(test)]
pub(super) use self::{
    aliases::ALIAS_KEYS,
    origins::{JSON_KEYS, ORIGIN_KEYS},
    rules::{MATCH_KEYS, RULE_KEYS},
};

/// Version of the file's meaning, not of its content.
const FILE_VERSION: u64 = 1;

/// Keys of the file.
const POLICY_KEYS: [&str; 5] = ["version", "name", "rule", "origin", "alias"];

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// Every mistake, each with line, rule, origin or alias, key, value and what is allowed.
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
        let parts = policy(root);
        let mut found = check::check(&parts);
        found.extend(check::check_effect(&parts.rules));
        if found.is_empty() && notes.is_empty() {
            found = check::check_reach(&parts.rules);
        }
        let all = notes.into_mistakes(found);
        if all.is_empty() {
            Self::with(parts)
        } else {
            Err(mistakes(all))
        }
    }
}

fn policy(mut root: Table<'_>) -> PolicyParts {
    root.version(FILE_VERSION);
    let name = root.text("name");
    let parts = PolicyParts {
        name: name.unwrap_or_else(|| "unnamed".to_owned()),
        rules: places(&mut root, "rule", rules::rule),
        origins: places(&mut root, "origin", origins::origin),
        aliases: places(&mut root, "alias", aliases::alias),
    };
    root.finish(&POLICY_KEYS);
    parts
}

fn places<T>(
    root: &mut Table<'_>,
    kind: &'static str,
    read: impl Fn(usize, Table<'_>) -> T,
) -> Vec<T> {
    let tables = root.tables(kind).into_iter().enumerate();
    tables.map(|(index, table)| read(index, table)).collect()
}

/// A text that must be given. What stands in for it is not judged.
fn required(table: &mut Table<'_>, key: &str, wanted: &str) -> String {
    table.require(key, wanted);
    table.text(key).unwrap_or_default()
}
