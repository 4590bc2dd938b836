//! Reads the tables `[[alias]]`.

use super::required;
use crate::file::Table;
use crate::policy::alias::Alias;

/// Keys of an `[[alias]]`.
pub(in crate::policy) const ALIAS_KEYS: [&str; 2] = ["name", "model"];

pub(super) fn alias(_: usize, mut table: Table<'_>) -> Alias {
    let name = required(&mut table, "name", "the name that clients write");
    table.set_name(&name);
    let model = required(&mut table, "model", "the name of a model");
    table.finish(&ALIAS_KEYS);
    Alias { name, model }
}
