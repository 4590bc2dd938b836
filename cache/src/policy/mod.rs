//! The cache policy: what is stored, for how long, for whom and under which key.
//!
//! A policy is an ordered list of rules; the first one that matches a request decides. Beside them
//! it names the HTTP services behind the edge and the aliases of models, so that one document
//! changes all of that at once.
//!
//! ```text
//!  policy.toml --Policy::parse--> Policy --encode--> key-value store --decode--> Policy
//!                                                                                  |
//!                                              RequestFacts --Policy::decide--> Decision
//!                                      path --Policy::route_to_origin--> ToOrigin
//!                                      name --Policy::model_of--> name of a model
//! ```
//!
//! Operators write TOML; `cache/policy.toml` documents every key. Edges read the compiled
//! form, which is small and needs no parser. A `Policy` exists only after every check, so
//! nothing that decides has to doubt it.
//!
//! | module | answers |
//! | --- | --- |
//! | [`rule`] | which requests is a rule for, and what does it do? |
//! | [`decision`] | what is done with this request's result? |
//! | [`explain`] | why? |
//! | [`fields`] | which members of the body make the key? |
//! | [`normalise`] | which texts count as one? |
//! | [`pattern`], [`surrogate`] | how is that written? |
//! | `matcher` | which rule is the first that matches? |
//! | [`origin`], [`path`] | which service is a request for, and may it go there? |
//! | [`alias`] | which model does a client mean? |
//! | `source`, [`compiled`] | what do a file and stored bytes mean? |
//! | [`limits`], `check` | what is allowed? |
//!
//! Not here: how a file's mistakes are told ([`mod@crate::file`]), purging ([`crate::purge`]), and
//! who reads the policy from a store.

pub mod alias;
mod check;
pub mod compiled;
pub mod decision;
pub mod explain;
pub mod fields;
pub mod limits;
mod matcher;
pub mod normalise;
pub mod origin;
pub mod path;
pub mod pattern;
pub mod rule;
mod source;
pub mod surrogate;
#[cfg(test)]
mod tests;

use std::fmt;

pub use alias::Alias;
pub use compiled::CompiledError;
pub use decision::{BypassReason, Decision, MatchedRule, RequestFacts, Sampling, Verdict};
pub use explain::{Difference, Explanation, PassedOver};
pub use fields::{KeyFields, MemberRole};
pub use limits::{JSON_TASKS, TASKS};
pub use normalise::Normalise;
pub use origin::{ItemFormat, JsonRoute, Origin, ToOrigin};
pub use path::PathRefusal;
pub use pattern::{Pattern, Patterns};
pub use rule::{Action, Deterministic, Fact, Matching, Negative, Rule, Sharing, Storing};
pub use surrogate::SurrogateTemplate;

pub use crate::file::duration::Written;
pub use crate::file::{Mistake, Mistakes, Place};
use crate::freshness::Lifetimes;
use limits::MAX_COMPILED_BYTES;
use matcher::Matcher;

/// The key of the compiled policy in force in a key-value store. Keys of results are 64
/// hexadecimal digits, so this one can never be one of theirs.
pub const STORE_KEY: &str = "brink/policy/1";

/// A checked policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// With the aliases sorted by name, for speed.
    parts: PolicyParts,
    /// The rules' conditions once more, for speed.
    matcher: Matcher,
    version: PolicyVersion,
}

/// What a policy is made of, unchecked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyParts {
    /// The name that the operator gave it.
    pub name: String,
    /// The rules, in order; 1 to 256.
    pub rules: Vec<Rule>,
    /// The services behind the edge; up to 32.
    pub origins: Vec<Origin>,
    /// Other names of models; up to 256. Their order has no meaning.
    pub aliases: Vec<Alias>,
}

/// Which policy decided: the first 8 bytes of BLAKE3 over its compiled form, written as 16
/// hexadecimal digits. Long enough to tell an operator's policies apart; nothing trusts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyVersion(pub [u8; 8]);

impl fmt::Display for PolicyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl Policy {
    /// Checks rules and makes a policy of them, without origins and aliases.
    ///
    /// # Errors
    /// Every mistake, if there are any.
    pub fn new(name: String, rules: Vec<Rule>) -> Result<Self, Mistakes> {
        Self::with(PolicyParts {
            name,
            rules,
            ..PolicyParts::default()
        })
    }

    /// Checks parts and makes a policy of them.
    ///
    /// # Errors
    /// Every mistake, if there are any.
    pub fn with(mut parts: PolicyParts) -> Result<Self, Mistakes> {
        let mut found = check::check(&parts);
        parts.aliases.sort();
        let compiled = compiled::encode(&parts);
        if compiled.len() > MAX_COMPILED_BYTES {
            found.push(Mistake::of_file(format!(
                "the compiled policy has {} bytes; at most {MAX_COMPILED_BYTES} are allowed",
                compiled.len()
            )));
        }
        if !found.is_empty() {
            return Err(mistakes(found));
        }
        Ok(Self {
            matcher: Matcher::new(&parts.rules),
            parts,
            version: compiled::version(&compiled),
        })
    }

    /// The policy under which nothing is stored: for edges that cannot read the one they should use.
    pub fn nothing() -> Self {
        let rule = Rule {
            name: "nothing".to_owned(),
            matching: Matching::default(),
            action: Action::Bypass {
                reason: "the policy that should decide cannot be used".to_owned(),
            },
        };
        Self::new("nothing".to_owned(), vec![rule]).expect("the rule passes every check")
    }

    /// The name that the operator gave it.
    pub fn name(&self) -> &str {
        &self.parts.name
    }

    /// The rules, in order.
    pub fn rules(&self) -> &[Rule] {
        &self.parts.rules
    }

    /// The services behind the edge, in the order of the file.
    pub fn origins(&self) -> &[Origin] {
        &self.parts.origins
    }

    /// The aliases of models, sorted by name.
    pub fn aliases(&self) -> &[Alias] {
        &self.parts.aliases
    }

    /// Identifies the policy's content.
    pub fn version(&self) -> PolicyVersion {
        self.version
    }
}

/// What holds where no policy is stored; `cache/policy.toml` says the same: what a model gives is kept for a year,
/// each tenant's apart, if it repeats. What origins answer is not kept.
impl Default for Policy {
    fn default() -> Self {
        let pattern = |task: &&str| Pattern::new(task).expect("a plain name is a pattern");
        let rule = |name: &str, tasks: &[&str]| Rule {
            name: name.to_owned(),
            matching: Matching {
                task: Patterns(tasks.iter().map(pattern).collect()),
                ..Matching::default()
            },
            action: Action::Store(Box::new(Storing::new(Lifetimes::IMMUTABLE))),
        };
        let rules = vec![
            rule("embeddings", &["embed"]),
            rule("classifications", &["classify", "generic"]),
            rule("completions", &["complete"]),
        ];
        Self::new("default".to_owned(), rules).expect("the built-in policy passes every check")
    }
}

fn mistakes(list: Vec<Mistake>) -> Mistakes {
    let subject = "policy";
    Mistakes { subject, list }
}
