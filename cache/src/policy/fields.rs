//! Which members of a request body make the key.
//!
//! Some parts are in every key and no rule can take them out: the scope, the model with its
//! digest, the task, and the item itself. What a rule chooses among is the rest: the members
//! that can change the result, here called parameters.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::canonical::{self, CanonicalError};

/// Which parameters make the key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyFields {
    /// Every member but those that are known not to change the result. An unknown member
    /// makes its own key: that costs a miss at worst, never a wrong answer.
    #[default]
    All,
    /// These members only. Requests that differ elsewhere share a result.
    Only(Vec<String>),
}

impl KeyFields {
    /// The parameters as canonical JSON (RFC 8785), for
    /// [`PrefixParts::parameters`](crate::key::PrefixParts::parameters).
    ///
    /// Where a rule names the fields, the names are part of the form. Such a result depends on
    /// members that its key does not hold, and must never answer under a rule that counts all.
    ///
    /// # Errors
    /// When a member has no canonical form; such a request passes the cache by.
    pub fn parameters(
        &self,
        task: &str,
        body: &Map<String, Value>,
    ) -> Result<String, CanonicalError> {
        let is_parameter =
            |name: &str, value: &Value| self.role(task, name, value) == MemberRole::Parameter;
        let chosen = canonical::members(body, is_parameter)?;
        self.marked(chosen)
    }

    fn marked(&self, chosen: String) -> Result<String, CanonicalError> {
        match self {
            Self::All => Ok(chosen),
            Self::Only(names) => {
                let mut names: Vec<_> = names.iter().map(String::as_str).collect();
                names.sort_unstable();
                let names = canonical::value(&Value::from(names))?;
                Ok(format!("[{names},{chosen}]"))
            }
        }
    }

    /// The members that make the key of another service's answer, as canonical JSON. `apart` is left
    /// out: the member whose elements have keys of their own.
    ///
    /// The model, and what it is to read, count whatever a rule names. So does all that changes how
    /// the answer is written, since it is kept as it is.
    ///
    /// # Errors
    /// When a member has no canonical form; such a request passes the cache by.
    pub fn of_answer(
        &self,
        task: &str,
        body: &Map<String, Value>,
        apart: Option<&str>,
    ) -> Result<String, CanonicalError> {
        let known = TaskMembers::of(task);
        let counts = |name: &str, value: &Value| {
            let is_input = ALWAYS_COUNT.contains(&name);
            Some(name) != apart
                && !known.leaves_answer(name, value)
                && (is_input || self.includes(name))
        };
        let chosen = canonical::members(body, counts)?;
        self.marked(chosen)
    }

    /// What a member of a body is for the key.
    pub fn role(&self, task: &str, name: &str, value: &Value) -> MemberRole {
        let known = TaskMembers::of(task);
        if known.keyed_apart.contains(&name) {
            MemberRole::KeyedApart
        } else if known.has_no_effect(name, value) || !self.includes(name) {
            MemberRole::LeftOut
        } else {
            MemberRole::Parameter
        }
    }

    fn includes(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.iter().any(|one| one == name),
        }
    }
}

/// What a member of a request body is for the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberRole {
    /// One of the parameters.
    Parameter,
    /// In the key as a part of its own: the model, or the item.
    KeyedApart,
    /// Not in the key.
    LeftOut,
}

/// Members that make a key of another service's answer whatever a rule says: what is asked, and of
/// which model, in the words of all the APIs that are known here.
const ALWAYS_COUNT: [&str; 6] = ["model", "input", "inputs", "messages", "prompt", "query"];

/// What is known about the members of a task's requests.
struct TaskMembers {
    /// Keyed apart from the parameters: the model, and the item itself.
    keyed_apart: &'static [&'static str],
    /// Change how a result is delivered or accounted, and not what the model computes.
    without_effect: &'static [&'static str],
    /// Members whose value `false` means the same as their absence.
    false_by_default: &'static [&'static str],
}

impl TaskMembers {
    fn of(task: &str) -> Self {
        match task {
            "embed" => Self {
                keyed_apart: &["model", "input"],
                without_effect: &["dimensions", "encoding_format", "user"],
                false_by_default: &["truncate"],
            },
            "complete" => Self {
                keyed_apart: &["model", "messages", "prompt"],
                without_effect: &["metadata", "store", "stream", "stream_options", "user"],
                false_by_default: &[],
            },
            // Nothing is known about others: every member counts.
            _ => Self {
                keyed_apart: &[],
                without_effect: &[],
                false_by_default: &[],
            },
        }
    }

    /// Whether the answer of another service is the same, byte for byte, with and without the member.
    /// Among those without effect on a result, these two change how it is written.
    fn leaves_answer(&self, name: &str, value: &Value) -> bool {
        let shapes_answer = matches!(name, "dimensions" | "encoding_format")
            || (name == "stream" && *value != Value::Bool(false));
        self.without_effect.contains(&name) && !shapes_answer
    }

    fn has_no_effect(&self, name: &str, value: &Value) -> bool {
        self.without_effect.contains(&name)
            || (self.false_by_default.contains(&name) && *value == Value::Bool(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::task_parameters;

    #[test]
    fn all_that_shapes_another_services_answer_makes_its_key() {
        let check = |fields: &KeyFields, task: &str, body: &str, apart, expected: &str| {
            let body = canonical::parse(body.as_bytes()).unwrap();
            let found = fields.of_answer(task, &body, apart).unwrap();
            assert_eq!(found, expected, "{task} {body:?}");
        };
        let body = r#"{"user": "u", "model": "m", "input": "a", "encoding_format": "base64", "dimensions": 2}"#;
        let whole = r#"{"dimensions":2,"encoding_format":"base64","input":"a","model":"m"}"#;
        check(&KeyFields::All, "embed", body, None, whole);
        let apart = r#"{"dimensions":2,"encoding_format":"base64","model":"m"}"#;
        check(&KeyFields::All, "embed", body, Some("input"), apart);
        let only = KeyFields::Only(vec!["seed".to_owned()]);
        let marked = r#"[["seed"],{"messages":[],"seed":1}]"#;
        let chat = r#"{"messages": [], "seed": 1, "top_p": 0.5, "stream": false}"#;
        check(&only, "complete", chat, None, marked);
        let all = r#"{"messages":[],"seed":1,"top_p":0.5}"#;
        check(&KeyFields::All, "complete", chat, None, all);
        let user = r#"{"stream":false,"user":"u"}"#;
        check(
            &KeyFields::All,
            "generic",
            r#"{"user": "u", "stream": false}"#,
            None,
            user,
        );
    }

    fn parameters(fields: &KeyFields, task: &str, body: &str) -> String {
        let body = canonical::parse(body.as_bytes()).unwrap();
        fields.parameters(task, &body).unwrap()
    }

    #[test]
    fn embedding_has_the_parameters_that_its_keys_have_today() {
        let check = |body: &str, expected: &str| {
            assert_eq!(
                parameters(&KeyFields::All, "embed", body),
                expected,
                "{body}"
            );
        };
        check(
            r#"{"model": "m", "input": ["a"], "user": "u", "encoding_format": "base64"}"#,
            task_parameters(false),
        );
        check(
            r#"{"input": "a", "truncate": false}"#,
            task_parameters(false),
        );
        check(r#"{"truncate": true, "input": "a"}"#, task_parameters(true));
    }

    #[test]
    fn every_member_counts_unless_known_to_have_no_effect() {
        let body =
            r#"{"stream": true, "top_p": 0.50, "messages": [], "new": 1, "max_tokens": 1e1}"#;
        let all = parameters(&KeyFields::All, "complete", body);
        assert_eq!(all, r#"{"max_tokens":10,"new":1,"top_p":0.5}"#);
        let origin = parameters(&KeyFields::All, "origin", r#"{"user": "u", "model": "m"}"#);
        assert_eq!(origin, r#"{"model":"m","user":"u"}"#);
    }

    #[test]
    fn named_fields_alone_make_the_key() {
        let only =
            |names: &[&str]| KeyFields::Only(names.iter().map(|&name| name.into()).collect());
        let body = r#"{"stream": true, "top_p": 1, "seed": 7}"#;
        let check = |fields: &KeyFields, expected: &str| {
            assert_eq!(parameters(fields, "complete", body), expected, "{fields:?}");
        };
        check(
            &only(&["top_p", "stream"]),
            r#"[["stream","top_p"],{"top_p":1}]"#,
        );
        check(
            &only(&["stream", "top_p"]),
            r#"[["stream","top_p"],{"top_p":1}]"#,
        );
        check(&only(&["top_p"]), r#"[["top_p"],{"top_p":1}]"#);
        check(&only(&[]), "[[],{}]");
    }
}
