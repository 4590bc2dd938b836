//! What a rule may say.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Check;
use crate::entry::MAX_ENTRY_BYTES;
use crate::file::shown;
use crate::policy::fields::KeyFields;
use crate::policy::limits::{
    MAX_FRESH, MAX_KEY_FIELD_BYTES, MAX_KEY_FIELDS, MAX_PATTERNS, MAX_REASON_BYTES, MAX_RULES,
    MAX_STALE_IF_ERROR, MAX_STALE_WHILE_REVALIDATE, MAX_SURROGATE_KEYS, NEGATIVE, ORIGIN_TASK,
    TASKS,
};
use crate::policy::normalise::Normalise;
use crate::policy::pattern::{Pattern, Patterns};
use crate::policy::rule::{Action, Deterministic, Negative, Rule, Storing};

impl Check {
    pub(super) fn rules(&mut self, rules: &[Rule]) {
        if !(1..=MAX_RULES).contains(&rules.len()) {
            let problem = format!("has {} rules; 1 to {MAX_RULES} are wanted", rules.len());
            self.add("rule", problem);
        }
        let mut names = BTreeSet::new();
        for (index, rule) in rules.iter().enumerate() {
            self.at("rule", index, &rule.name);
            self.name("name", &rule.name);
            if !names.insert(&rule.name) {
                let problem = format!("is {}, as in an earlier rule", shown(&rule.name));
                self.add("name", problem);
            }
            self.rule(rule);
        }
        self.place = None;
    }

    /// Rules that no request can reach, because one earlier rule matches all of theirs.
    pub(super) fn reach(&mut self, rules: &[Rule]) {
        for (index, rule) in rules.iter().enumerate() {
            let mut earlier = rules[..index].iter().enumerate();
            let Some((number, wider)) =
                earlier.find(|(_, wider)| wider.matching.covers(&rule.matching))
            else {
                continue;
            };
            self.at("rule", index, &rule.name);
            let problem = format!(
                "is never reached: rule {} \"{}\" matches every such request first",
                number + 1,
                wider.name
            );
            self.add("match", problem);
        }
    }

    /// What rules say of bodies and errors, though they are only for requests to origins.
    pub(super) fn effect(&mut self, rules: &[Rule]) {
        for (index, rule) in rules.iter().enumerate() {
            let Action::Store(storing) = &rule.action else {
                continue;
            };
            if !is_for_origins_only(&rule.matching.task) {
                continue;
            }
            self.at("rule", index, &rule.name);
            let is_given = [
                ("key_fields", storing.key_fields != KeyFields::default()),
                ("normalise", storing.normalise != Normalise::default()),
                (
                    "deterministic",
                    storing.deterministic != Deterministic::default(),
                ),
                ("negative", !storing.negative.is_empty()),
            ];
            for (key, _) in is_given.into_iter().filter(|(_, is_given)| *is_given) {
                let problem = format!("has no meaning for the task {ORIGIN_TASK:?}");
                self.add(key, problem);
            }
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

/// Whether no other task is matched. A pattern without any task is another mistake, not this.
fn is_for_origins_only(tasks: &Patterns) -> bool {
    let only_origin = |pattern: &Pattern| {
        let matched = TASKS.into_iter().filter(|task| pattern.matches(task));
        matched.eq([ORIGIN_TASK])
    };
    !tasks.0.is_empty() && tasks.0.iter().all(only_origin)
}
