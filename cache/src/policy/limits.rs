//! What a policy may hold. The same checks see a policy from a file and one from a store.

use std::collections::BTreeSet;
use std::time::Duration;

use super::fields::KeyFields;
use super::pattern::Patterns;
use super::rule::{Action, Negative, Rule, Storing};
use crate::entry::MAX_ENTRY_BYTES;
use crate::file::duration::Written;
use crate::file::{Mistake, Place, name_problem, shown};

/// Most rules: with more, the search itself would be felt on a hit.
pub const MAX_RULES: usize = 256;
/// Most bytes of a policy file.
pub const MAX_SOURCE_BYTES: usize = 256 * 1024;
/// Most bytes of the compiled form: what an edge may have to read at any request.
pub const MAX_COMPILED_BYTES: usize = 256 * 1024;
/// Most bytes of a reason.
pub const MAX_REASON_BYTES: usize = 256;
/// Most bytes of a pattern; as long as a model's name may be.
pub const MAX_PATTERN_BYTES: usize = 256;
/// Most alternatives in one condition.
pub const MAX_PATTERNS: usize = 64;
/// Most request fields named by one rule.
pub const MAX_KEY_FIELDS: usize = 64;
/// Most bytes of the name of a request field.
pub const MAX_KEY_FIELD_BYTES: usize = 128;
/// Most surrogate keys of one rule.
pub const MAX_SURROGATE_KEYS: usize = 16;
/// Most bytes of a surrogate key as the policy writes it.
pub const MAX_TEMPLATE_BYTES: usize = 128;
/// Longest freshness lifetime: a year, the most that HTTP caches are asked to honour.
pub const MAX_FRESH: Duration = days(365);
/// Longest stale-while-revalidate: a result that old was not asked for in a month.
pub const MAX_STALE_WHILE_REVALIDATE: Duration = days(30);
/// Longest stale-if-error: an outage that long is no outage any more.
pub const MAX_STALE_IF_ERROR: Duration = days(30);

/// What a model may be asked to do. `origin` is a request that is passed to another HTTP service.
pub const TASKS: [&str; 5] = ["embed", "classify", "complete", "generic", "origin"];

/// Errors that may be kept, and for how long at most.
///
/// They are those that the same request meets again: it is wrong (400, 422), too large (413),
/// names something that does not exist (404), or breaks the model (500; the host halves batches
/// until the guilty item is alone, so the error is its own, and meeting it again costs a batch).
/// All others tell of a moment or a caller (401, 403, 409, 429, 502, 503, 504): keeping those
/// would prolong an outage, or hand one caller's refusal to another.
pub const NEGATIVE: [(u16, Duration); 5] = [
    (400, minutes(5)),
    (404, minutes(5)),
    (413, minutes(5)),
    (422, minutes(5)),
    (500, Duration::from_secs(30)),
];

const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 86_400)
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

/// Everything that is wrong with a name and rules.
pub(super) fn check(name: &str, rules: &[Rule]) -> Vec<Mistake> {
    let mut check = Check::default();
    check.name("name", name);
    if !(1..=MAX_RULES).contains(&rules.len()) {
        let problem = format!("has {} rules; 1 to {MAX_RULES} are wanted", rules.len());
        check.add("rule", problem);
    }
    let mut names = BTreeSet::new();
    for (index, rule) in rules.iter().enumerate() {
        check.place = Some(Place {
            kind: "rule",
            index,
            name: rule.name.clone(),
        });
        check.name("name", &rule.name);
        if !names.insert(&rule.name) {
            let problem = format!("is {}, as in an earlier rule", shown(&rule.name));
            check.add("name", problem);
        }
        check.rule(rule);
    }
    check.mistakes
}

/// Rules that no request can reach, because one earlier rule matches all of theirs.
pub(super) fn check_reach(rules: &[Rule]) -> Vec<Mistake> {
    let mut check = Check::default();
    for (index, rule) in rules.iter().enumerate() {
        let mut earlier = rules[..index].iter().enumerate();
        let Some((number, wider)) =
            earlier.find(|(_, wider)| wider.matching.covers(&rule.matching))
        else {
            continue;
        };
        check.place = Some(Place {
            kind: "rule",
            index,
            name: rule.name.clone(),
        });
        let problem = format!(
            "is never reached: rule {} \"{}\" matches every such request first",
            number + 1,
            wider.name
        );
        check.add("match", problem);
    }
    check.mistakes
}

#[derive(Default)]
struct Check {
    place: Option<Place>,
    mistakes: Vec<Mistake>,
}

impl Check {
    fn add(&mut self, key: &str, problem: String) {
        self.mistakes.push(Mistake {
            line: None,
            place: self.place.clone(),
            key: key.to_owned(),
            problem,
        });
    }

    fn name(&mut self, key: &str, name: &str) {
        if let Some(problem) = name_problem(name) {
            self.add(key, problem);
        }
    }

    fn rule(&mut self, rule: &Rule) {
        for (fact, patterns) in rule.matching.conditions() {
            self.count(
                &format!("match.{}", fact.name()),
                patterns.0.len(),
                MAX_PATTERNS,
            );
        }
        self.tasks(&rule.matching.task);
        self.methods(&rule.matching.method);
        match &rule.action {
            Action::Store(storing) => self.storing(storing),
            Action::Bypass { reason } => self.reason(reason),
        }
    }

    fn count(&mut self, key: &str, count: usize, most: usize) {
        if count > most {
            self.add(
                key,
                format!("has {count} elements; at most {most} are allowed"),
            );
        }
    }

    /// A task that does not exist would make a rule that never matches.
    fn tasks(&mut self, patterns: &Patterns) {
        for pattern in &patterns.0 {
            if !TASKS.iter().any(|task| pattern.matches(task)) {
                let problem = format!(
                    "{} matches no task; there are {TASKS:?}",
                    shown(&pattern.to_string())
                );
                self.add("match.task", problem);
            }
        }
    }

    /// Methods are case-sensitive (RFC 9110 §9.1), and all that exist are upper-case.
    fn methods(&mut self, patterns: &Patterns) {
        for pattern in &patterns.0 {
            let is_allowed = |byte: u8| byte.is_ascii_uppercase() || byte == b'-';
            if !pattern.fixed().bytes().all(is_allowed) {
                let shown = shown(&pattern.to_string());
                self.add(
                    "match.method",
                    format!("{shown} is no method; they are upper-case, such as \"POST\""),
                );
            }
        }
    }

    fn reason(&mut self, reason: &str) {
        let is_wrong = reason.trim().is_empty()
            || reason.len() > MAX_REASON_BYTES
            || reason.chars().any(char::is_control);
        if is_wrong {
            let problem = format!(
                "is {}; 1 to {MAX_REASON_BYTES} bytes without control characters are wanted",
                shown(reason)
            );
            self.add("reason", problem);
        }
    }

    fn storing(&mut self, storing: &Storing) {
        let lifetimes = storing.lifetimes;
        let windows = [
            ("fresh", lifetimes.fresh, MAX_FRESH),
            (
                "stale_while_revalidate",
                lifetimes.stale_while_revalidate,
                MAX_STALE_WHILE_REVALIDATE,
            ),
            (
                "stale_if_error",
                lifetimes.stale_if_error,
                MAX_STALE_IF_ERROR,
            ),
        ];
        for (key, value, most) in windows {
            self.duration(key, value, Duration::ZERO, most);
        }
        if windows.iter().all(|(_, value, _)| value.is_zero()) {
            let problem =
                "is \"0s\" as both stale windows are: nothing stored could ever be used; \
                           store = false says so"
                    .to_owned();
            self.add("fresh", problem);
        }
        if !(1..=MAX_ENTRY_BYTES).contains(&(storing.max_entry_bytes as usize)) {
            let problem = format!(
                "is {}; a whole number from 1 to {MAX_ENTRY_BYTES} is wanted",
                storing.max_entry_bytes
            );
            self.add("max_entry_bytes", problem);
        }
        self.key_fields(&storing.key_fields);
        self.negative(&storing.negative);
        self.count(
            "surrogate_keys",
            storing.surrogate_keys.len(),
            MAX_SURROGATE_KEYS,
        );
    }

    fn duration(&mut self, key: &str, value: Duration, least: Duration, most: Duration) {
        if value < least || value > most || value.subsec_nanos() > 0 {
            let (shown, least, most) = (Written(value), Written(least), Written(most));
            self.add(
                key,
                format!("is \"{shown}\"; \"{least}\" to \"{most}\" is allowed"),
            );
        }
    }

    fn key_fields(&mut self, fields: &KeyFields) {
        let KeyFields::Only(names) = fields else {
            return;
        };
        self.count("key_fields", names.len(), MAX_KEY_FIELDS);
        for (index, name) in names.iter().enumerate() {
            let is_wrong = !(1..=MAX_KEY_FIELD_BYTES).contains(&name.len())
                || name.chars().any(char::is_control);
            if is_wrong {
                let problem = format!(
                    "{} is no name of a request field; 1 to {MAX_KEY_FIELD_BYTES} bytes without \
                     control characters are wanted",
                    shown(name)
                );
                self.add("key_fields", problem);
            } else if names[..index].contains(name) {
                self.add("key_fields", format!("names {} twice", shown(name)));
            }
        }
    }

    fn negative(&mut self, errors: &[Negative]) {
        let mut seen = BTreeSet::new();
        for error in errors {
            let key = format!("negative.{}", error.status);
            let Some((_, most)) = NEGATIVE.iter().find(|(status, _)| *status == error.status)
            else {
                let allowed = NEGATIVE.map(|(status, _)| status);
                self.add(
                    &key,
                    format!("is no status whose error may be kept; {allowed:?} are"),
                );
                continue;
            };
            if !seen.insert(error.status) {
                self.add(&key, "is there twice".to_owned());
            }
            self.duration(&key, error.fresh, Duration::from_secs(1), *most);
        }
    }
}
