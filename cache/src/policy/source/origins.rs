//! Reads the tables `[[origin]]` with their `[[origin.json]]`.

use super::required;
use crate::file::Table;
use crate::policy::origin::{DEFAULT_TIMEOUT, ItemFormat, JsonRoute, Origin};

/// Keys of an `[[origin]]`.
pub(in crate::policy) const ORIGIN_KEYS: [&str; 5] =
    ["name", "path", "upstream", "timeout", "json"];
/// Keys of an `[[origin.json]]`.
pub(in crate::policy) const JSON_KEYS: [&str; 3] = ["path", "task", "items"];

pub(super) fn origin(index: usize, mut table: Table<'_>) -> Origin {
    table.require("name", "a name for logs and metrics");
    let name = table.text("name");
    let name = name.unwrap_or_else(|| format!("origin-{}", index + 1));
    table.set_name(&name);
    let json = table.tables_below("json", "a table [[origin.json]] per route");
    let origin = Origin {
        name,
        path: required(&mut table, "path", "the beginning of request paths"),
        upstream: required(&mut table, "upstream", "a URL"),
        timeout: table.duration("timeout").unwrap_or(DEFAULT_TIMEOUT),
        json: json.into_iter().map(json_route).collect(),
    };
    table.finish(&ORIGIN_KEYS);
    origin
}

fn json_route(mut table: Table<'_>) -> JsonRoute {
    let route = JsonRoute {
        path: required(&mut table, "path", "a path below that of the origin"),
        task: required(&mut table, "task", "what rules are asked about"),
        items: table.choice(
            "items",
            &[
                ("openai", Some(ItemFormat::OpenAi)),
                ("tei", Some(ItemFormat::Tei)),
            ],
        ),
    };
    table.finish(&JSON_KEYS);
    route
}
