//! From a request's facts to what is done with its result, and why.

use std::fmt;

use serde_json::{Map, Value};

use super::rule::{Action, Fact, Rule, Storing};
use super::{Policy, PolicyVersion};

/// What a policy may ask about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestFacts<'a> {
    /// The request method, as received.
    pub method: &'a str,
    /// The path of the route, without a query.
    pub route: &'a str,
    /// The authenticated tenant.
    pub tenant: &'a str,
    /// The model's name as the client writes it; empty where there is none.
    pub model: &'a str,
    /// One of [`TASKS`](super::TASKS).
    pub task: &'a str,
    /// How results are sampled, for tasks that sample.
    pub sampling: Sampling,
}

/// What decides whether a sampled result repeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sampling {
    /// `temperature` is given and zero. Absent does not count: the usual default is 1.
    pub temperature_is_zero: bool,
    /// A `seed` is given.
    pub has_seed: bool,
}

impl Sampling {
    /// Reads the members `temperature` and `seed` of a request body.
    pub fn of_body(body: &Map<String, Value>) -> Self {
        Self {
            temperature_is_zero: body.get("temperature").and_then(Value::as_f64) == Some(0.0),
            has_seed: body.get("seed").is_some_and(Value::is_number),
        }
    }
}

impl<'a> RequestFacts<'a> {
    /// The value of one fact.
    pub fn value(&self, fact: Fact) -> &'a str {
        match fact {
            Fact::Task => self.task,
            Fact::Route => self.route,
            Fact::Method => self.method,
            Fact::Model => self.model,
            Fact::Tenant => self.tenant,
        }
    }
}

/// What is done with a request's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<'p> {
    /// The policy that decided.
    pub version: PolicyVersion,
    /// The first rule that matches.
    pub rule: Option<MatchedRule<'p>>,
    /// What it says.
    pub verdict: Verdict<'p>,
}

/// The rule that decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatchedRule<'p> {
    /// Its place in the policy, from 0.
    pub index: usize,
    /// Its name.
    pub name: &'p str,
}

/// What a rule says about one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'p> {
    /// Look up, and store the result.
    Store(&'p Storing),
    /// Neither look up nor store.
    Bypass(BypassReason<'p>),
}

/// Why a request passes the cache by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BypassReason<'p> {
    /// Nothing is stored that no rule speaks of.
    NoRule,
    /// The rule says so, for this reason.
    Declared(&'p str),
    /// The rule stores results that repeat, and this one need not.
    NotDeterministic,
}

impl<'p> Decision<'p> {
    /// How the result is stored; `None` if it is not.
    pub fn storing(&self) -> Option<&'p Storing> {
        match self.verdict {
            Verdict::Store(storing) => Some(storing),
            Verdict::Bypass(_) => None,
        }
    }
}

impl Policy {
    /// Decides about a request: the first rule that matches has the say, and a rule that
    /// matches and does not store ends the search too. Allocates nothing.
    pub fn decide(&self, facts: &RequestFacts<'_>) -> Decision<'_> {
        let (rule, verdict) = match self.matcher.first(facts) {
            None => (None, Verdict::Bypass(BypassReason::NoRule)),
            Some(index) => {
                let rule = &self.rules()[index];
                let name = &rule.name;
                (Some(MatchedRule { index, name }), rule.verdict(facts))
            }
        };
        Decision {
            version: self.version(),
            rule,
            verdict,
        }
    }
}

impl Rule {
    fn verdict(&self, facts: &RequestFacts<'_>) -> Verdict<'_> {
        match &self.action {
            Action::Bypass { reason } => Verdict::Bypass(BypassReason::Declared(reason)),
            Action::Store(storing) if storing.deterministic.holds(facts.task, facts.sampling) => {
                Verdict::Store(storing)
            }
            Action::Store(_) => Verdict::Bypass(BypassReason::NotDeterministic),
        }
    }
}

impl fmt::Display for BypassReason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRule => "no rule matches",
            Self::Declared(reason) => reason,
            Self::NotDeterministic => {
                "the result need not repeat: neither temperature 0 nor a seed is given"
            }
        })
    }
}

/// `rule 1 "embeddings"`: people count from one.
impl fmt::Display for MatchedRule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {} \"{}\"", self.index + 1, self.name)
    }
}

/// For logs: `rule 1 "embeddings": stored`.
impl fmt::Display for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(rule) = self.rule {
            write!(f, "{rule}: ")?;
        }
        match self.verdict {
            Verdict::Store(_) => f.write_str("stored"),
            Verdict::Bypass(reason) => write!(f, "not stored, {reason}"),
        }
    }
}
