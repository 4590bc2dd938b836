//! Reads the tables `[[rule]]`.

use crate::entry::MAX_ENTRY_BYTES;
use crate::file::{Table, as_texts, duration};
use crate::freshness::Lifetimes;
use crate::policy::fields::KeyFields;
use crate::policy::limits;
use crate::policy::normalise::{self, Normalise};
use crate::policy::pattern::{Pattern, Patterns};
use crate::policy::rule::{Action, Deterministic, Matching, Negative, Rule, Sharing, Storing};
use crate::policy::surrogate::SurrogateTemplate;

/// Keys of a `[[rule]]`.
pub(in crate::policy) const RULE_KEYS: [&str; 14] = [
    "name",
    "match",
    "store",
    "reason",
    "fresh",
    "stale_while_revalidate",
    "stale_if_error",
    "scope",
    "key_fields",
    "normalise",
    "max_entry_bytes",
    "deterministic",
    "negative",
    "surrogate_keys",
];
/// Those of them that say how results are stored.
const STORING_KEYS: [&str; 10] = [
    "fresh",
    "stale_while_revalidate",
    "stale_if_error",
    "scope",
    "key_fields",
    "normalise",
    "max_entry_bytes",
    "deterministic",
    "negative",
    "surrogate_keys",
];
/// Keys of a rule's `match`.
pub(in crate::policy) const MATCH_KEYS: [&str; 5] = ["route", "model", "task", "tenant", "method"];

pub(super) fn rule(index: usize, mut table: Table<'_>) -> Rule {
    table.require("name", "a name for logs and metrics");
    let name = table.text("name");
    let name = name.unwrap_or_else(|| format!("rule-{}", index + 1));
    table.set_name(&name);
    let matching = table.table("match").map(matching).unwrap_or_default();
    let action = if table.flag("store").unwrap_or(true) {
        Action::Store(Box::new(storing(&mut table)))
    } else {
        bypass(&mut table)
    };
    table.finish(&RULE_KEYS);
    Rule {
        name,
        matching,
        action,
    }
}

fn matching(mut table: Table<'_>) -> Matching {
    let matching = Matching {
        route: patterns(&mut table, "route"),
        model: patterns(&mut table, "model"),
        task: patterns(&mut table, "task"),
        tenant: patterns(&mut table, "tenant"),
        method: patterns(&mut table, "method"),
    };
    table.finish(&MATCH_KEYS);
    matching
}

/// An empty list is refused: it could be read as "nothing" and as "everything".
fn patterns(table: &mut Table<'_>, key: &str) -> Patterns {
    let Some(texts) = table.texts(key) else {
        return Patterns::default();
    };
    if texts.is_empty() {
        table.reject(key, "is empty; leave it out to match everything");
    }
    let read = |text: &String| match Pattern::new(text) {
        Ok(pattern) => Some(pattern),
        Err(wanted) => {
            table.wrong_element(key, text, &wanted.to_string());
            None
        }
    };
    Patterns(texts.iter().filter_map(read).collect())
}

fn bypass(table: &mut Table<'_>) -> Action {
    for key in STORING_KEYS {
        if table.take(key).is_some() {
            table.reject(key, "has no effect, because store is false");
        }
    }
    table.require("reason", "a sentence for people: why nothing is stored");
    let reason = table.text("reason");
    Action::Bypass {
        reason: reason.unwrap_or_else(|| "not given".to_owned()),
    }
}

fn storing(table: &mut Table<'_>) -> Storing {
    if table.take("reason").is_some() {
        table.reject("reason", "has no effect, because store is true");
    }
    table.require("fresh", duration::NOTATION);
    let lifetimes = Lifetimes {
        fresh: table.duration("fresh").unwrap_or(limits::MAX_FRESH),
        stale_while_revalidate: table.duration("stale_while_revalidate").unwrap_or_default(),
        stale_if_error: table.duration("stale_if_error").unwrap_or_default(),
    };
    Storing {
        lifetimes,
        sharing: table.choice(
            "scope",
            &[("tenant", Sharing::Tenant), ("public", Sharing::Public)],
        ),
        key_fields: key_fields(table),
        normalise: normalise(table),
        max_entry_bytes: table
            .integer("max_entry_bytes")
            .map_or(MAX_ENTRY_BYTES as u32, |bytes| {
                u32::try_from(bytes).unwrap_or(u32::MAX)
            }),
        deterministic: table.choice(
            "deterministic",
            &[
                ("by-task", Deterministic::ByTask),
                ("always", Deterministic::Always),
                (
                    "temperature-zero-or-seed",
                    Deterministic::TemperatureZeroOrSeed,
                ),
            ],
        ),
        negative: table.table("negative").map(negative).unwrap_or_default(),
        surrogate_keys: surrogate_keys(table),
    }
}

fn key_fields(table: &mut Table<'_>) -> KeyFields {
    const ALL: &str = "all";
    let Some(value) = table.take("key_fields") else {
        return KeyFields::All;
    };
    match as_texts(&value) {
        Some(names) => KeyFields::Only(names),
        None => {
            // A lone text is no list here: "al" would be a field by accident.
            if value.as_str() != Some(ALL) {
                table.wrong("key_fields", &value, "\"all\" or a list of names");
            }
            KeyFields::All
        }
    }
}

fn normalise(table: &mut Table<'_>) -> Normalise {
    let mut steps = Normalise::default();
    for word in table.texts("normalise").unwrap_or_default() {
        if !steps.switch_on(&word) {
            let wanted = format!("one of {:?}", normalise::WORDS);
            table.wrong_element("normalise", &word, &wanted);
        }
    }
    steps
}

fn negative(mut table: Table<'_>) -> Vec<Negative> {
    let mut errors = Vec::new();
    for key in table.keys() {
        let Ok(status) = key.parse() else {
            table.reject(&key, "is no HTTP status");
            continue;
        };
        if let Some(fresh) = table.duration(&key) {
            errors.push(Negative { status, fresh });
        }
    }
    errors
}

fn surrogate_keys(table: &mut Table<'_>) -> Vec<SurrogateTemplate> {
    let texts = table.texts("surrogate_keys").unwrap_or_default();
    let read = |text: &String| match SurrogateTemplate::new(text) {
        Ok(template) => Some(template),
        Err(wanted) => {
            table.wrong_element("surrogate_keys", text, &wanted.to_string());
            None
        }
    };
    texts.iter().filter_map(read).collect()
}
