//! Surrogate keys: labels attached to an entry, by which it can be purged together with others.
//!
//! A policy writes them as templates, such as `model:{model}`. What a placeholder stands for
//! comes from a request, so it is written with percent-encoding (RFC 3986 §2.1): labels are
//! separated by spaces and commas in headers and lists, and a model called `a b` must not
//! become two labels, nor share one with another name.

use serde::{Deserialize, Serialize};

use super::decision::RequestFacts;
use super::limits::MAX_TEMPLATE_BYTES;
use crate::key::ModelDigest;

/// A surrogate key with placeholders: `{model}`, `{tenant}`, `{route}`, `{task}`, `{digest}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SurrogateTemplate {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Placeholder(Placeholder),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placeholder {
    Model,
    Tenant,
    Route,
    Task,
    Digest,
}

/// Why a text is no template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "1 to {MAX_TEMPLATE_BYTES} visible ASCII characters without comma and %, with no placeholders but \
     {{model}}, {{tenant}}, {{route}}, {{task}} and {{digest}}"
)]
pub struct TemplateError;

impl SurrogateTemplate {
    /// Reads a template.
    pub fn new(text: &str) -> Result<Self, TemplateError> {
        // "%" would let a literal imitate what a placeholder stands for.
        let is_allowed = |byte: u8| byte.is_ascii_graphic() && byte != b',' && byte != b'%';
        let length_is_fine = (1..=MAX_TEMPLATE_BYTES).contains(&text.len());
        if !length_is_fine || !text.bytes().all(is_allowed) {
            return Err(TemplateError);
        }
        Ok(Self {
            text: text.to_owned(),
            parts: parts(text)?,
        })
    }

    /// The template as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The surrogate key of an entry. `None` when a placeholder has nothing to stand for: a
    /// request to another origin has no model, and no entry may carry the key of "no model".
    pub fn fill(&self, facts: &RequestFacts<'_>, digest: Option<&ModelDigest>) -> Option<String> {
        let mut filled = String::with_capacity(self.text.len() + 32);
        for part in &self.parts {
            match part {
                Part::Literal(text) => filled.push_str(text),
                Part::Placeholder(Placeholder::Digest) => filled.push_str(&digest?.to_string()),
                Part::Placeholder(placeholder) => {
                    let value = placeholder.value(facts);
                    if value.is_empty() {
                        return None;
                    }
                    push_encoded(&mut filled, value);
                }
            }
        }
        Some(filled)
    }
}

impl TryFrom<String> for SurrogateTemplate {
    type Error = TemplateError;

    fn try_from(text: String) -> Result<Self, TemplateError> {
        Self::new(&text)
    }
}

impl From<SurrogateTemplate> for String {
    fn from(template: SurrogateTemplate) -> Self {
        template.text
    }
}

impl Placeholder {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "model" => Self::Model,
            "tenant" => Self::Tenant,
            "route" => Self::Route,
            "task" => Self::Task,
            "digest" => Self::Digest,
            _ => return None,
        })
    }

    /// What stands in a request; empty for the digest, which no request knows.
    fn value<'a>(self, facts: &RequestFacts<'a>) -> &'a str {
        match self {
            Self::Model => facts.model,
            Self::Tenant => facts.tenant,
            Self::Route => facts.route,
            Self::Task => facts.task,
            Self::Digest => "",
        }
    }
}

fn parts(text: &str) -> Result<Vec<Part>, TemplateError> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let literal = rest.find(['{', '}']).unwrap_or(rest.len());
        if literal > 0 {
            parts.push(Part::Literal(rest[..literal].to_owned()));
        }
        rest = &rest[literal..];
        if let Some(opened) = rest.strip_prefix('{') {
            let (name, after) = opened.split_once('}').ok_or(TemplateError)?;
            let placeholder = Placeholder::from_name(name).ok_or(TemplateError)?;
            parts.push(Part::Placeholder(placeholder));
            rest = after;
        } else if !rest.is_empty() {
            return Err(TemplateError);
        }
    }
    Ok(parts)
}

fn push_encoded(target: &mut String, value: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value.bytes() {
        if byte.is_ascii_graphic() && byte != b',' && byte != b'%' {
            target.push(char::from(byte));
        } else {
            target.push('%');
            target.push(char::from(HEX[usize::from(byte >> 4)]));
            target.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn facts<'a>(model: &'a str, tenant: &'a str) -> RequestFacts<'a> {
        RequestFacts {
            method: "POST",
            route: "/v1/embeddings",
            tenant,
            model,
            task: "embed",
            sampling: Default::default(),
        }
    }

    #[test]
    fn placeholders_are_filled() {
        let digest = ModelDigest([0xab; 32]);
        let check = |template: &str, expected: &str| {
            let filled = SurrogateTemplate::new(template)
                .unwrap()
                .fill(&facts("a b,%", "acme"), Some(&digest));
            assert_eq!(filled.as_deref(), Some(expected), "{template}");
        };
        check("all", "all");
        check("model:{model}", "model:a%20b%2C%25");
        check("{tenant}/{task}", "acme/embed");
        check("r{route}", "r/v1/embeddings");
        check("{digest}", &"ab".repeat(32));
    }

    #[test]
    fn key_of_nothing_is_not_attached() {
        let model = SurrogateTemplate::new("model:{model}").unwrap();
        assert_eq!(model.fill(&facts("", "acme"), None), None);
        let digest = SurrogateTemplate::new("{digest}").unwrap();
        assert_eq!(digest.fill(&facts("m", "acme"), None), None);
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for text in [
            "",
            "a b",
            "a,b",
            "a%20",
            "é",
            "{",
            "}",
            "{}",
            "{modell}",
            "{model",
            "a}b",
            &"a".repeat(129),
        ] {
            assert_eq!(SurrogateTemplate::new(text), Err(TemplateError), "{text:?}");
        }
    }

    proptest! {
        /// Two names never share a surrogate key, and none breaks out of its list.
        #[test]
        fn names_keep_their_own_keys(one in ".{1,8}", other in ".{1,8}") {
            let template = SurrogateTemplate::new("t:{tenant}").unwrap();
            let fill = |tenant| template.fill(&facts("m", tenant), None).unwrap();
            prop_assert_eq!(fill(&one) == fill(&other), one == other);
            prop_assert!(fill(&one).bytes().all(|byte| byte.is_ascii_graphic() && byte != b','));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".*") {
            let _ = SurrogateTemplate::new(&text);
        }
    }
}
