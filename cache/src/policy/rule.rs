//! One rule: which requests it is for, and what happens to their results.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::decision::{RequestFacts, Sampling};
use super::fields::KeyFields;
use super::normalise::Normalise;
use super::pattern::Patterns;
use super::surrogate::SurrogateTemplate;
use crate::entry::MAX_ENTRY_BYTES;
use crate::freshness::Lifetimes;
use crate::key::{ModelDigest, Scope};

/// A rule. Its limits are checked when it becomes part of a [`Policy`](super::Policy).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What logs, metrics and `explain` call it.
    pub name: String,
    /// Which requests it is for.
    pub matching: Matching,
    /// What happens to their results.
    pub action: Action,
}

/// Conditions that all have to hold. An empty one always does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matching {
    /// The path of the route, such as `/v1/embeddings`.
    pub route: Patterns,
    /// The model's name as the client writes it.
    pub model: Patterns,
    /// What the model is asked to do: one of [`TASKS`](super::TASKS).
    pub task: Patterns,
    /// Who asks.
    pub tenant: Patterns,
    /// The request method; methods are case-sensitive (RFC 9110 §9.1).
    pub method: Patterns,
}

/// Store results, or let requests pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Answer from the cache and store results.
    Store(Box<Storing>),
    /// Neither look up nor store.
    Bypass {
        /// Why, for people.
        reason: String,
    },
}

/// How results are stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storing {
    /// How long a result stays usable.
    pub lifetimes: Lifetimes,
    /// Who may read it.
    pub sharing: Sharing,
    /// Which request fields make the key.
    pub key_fields: KeyFields,
    /// What is done to the text of items before it is keyed and computed.
    pub normalise: Normalise,
    /// Largest entry that is kept, in bytes; a larger result is answered and not stored.
    pub max_entry_bytes: u32,
    /// Which requests have a result that may be kept.
    pub deterministic: Deterministic,
    /// Which errors are kept, and for how long.
    pub negative: Vec<Negative>,
    /// Labels to attach to entries.
    pub surrogate_keys: Vec<SurrogateTemplate>,
}

/// Between whom entries are shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sharing {
    /// Each tenant has entries of its own.
    #[default]
    Tenant,
    /// Whoever may use the route reads the same entries.
    Public,
}

/// Which requests of a rule have a result that repeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deterministic {
    /// What the task is known for: completions need temperature zero or a seed, all others repeat.
    #[default]
    ByTask,
    /// Every request of the rule. For a sampled completion this keeps one of many answers.
    Always,
    /// Only requests with `temperature` 0 or with a `seed`.
    TemperatureZeroOrSeed,
}

/// An error that is kept for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Negative {
    /// The HTTP status.
    pub status: u16,
    /// How long it answers; errors are never served stale.
    pub fresh: Duration,
}

impl Matching {
    /// Every condition with the fact that it is about.
    pub(super) fn conditions(&self) -> [(Fact, &Patterns); 5] {
        [
            (Fact::Task, &self.task),
            (Fact::Route, &self.route),
            (Fact::Method, &self.method),
            (Fact::Model, &self.model),
            (Fact::Tenant, &self.tenant),
        ]
    }

    /// Whether every request that `other` is for is matched here too.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let pairs = self.conditions().into_iter().zip(other.conditions());
        pairs
            .into_iter()
            .all(|((_, mine), (_, theirs))| mine.covers(theirs))
    }
}

/// What rules ask about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fact {
    /// What the model is asked to do.
    Task,
    /// The path of the route.
    Route,
    /// The request method.
    Method,
    /// The model's name.
    Model,
    /// Who asks.
    Tenant,
}

impl Fact {
    /// Every fact; each stands at the place of its number.
    pub(super) const ALL: [Self; 5] = [
        Self::Task,
        Self::Route,
        Self::Method,
        Self::Model,
        Self::Tenant,
    ];

    /// The key in the policy file, below `match`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Route => "route",
            Self::Method => "method",
            Self::Model => "model",
            Self::Tenant => "tenant",
        }
    }
}

impl Storing {
    /// Results kept for the given lifetimes, everything else at its default.
    pub fn new(lifetimes: Lifetimes) -> Self {
        Self {
            lifetimes,
            sharing: Sharing::default(),
            key_fields: KeyFields::default(),
            normalise: Normalise::default(),
            max_entry_bytes: MAX_ENTRY_BYTES as u32,
            deterministic: Deterministic::default(),
            negative: Vec::new(),
            surrogate_keys: Vec::new(),
        }
    }

    /// Who may read the entries of a request.
    pub fn scope(&self, tenant: &str) -> Scope {
        match self.sharing {
            Sharing::Tenant => Scope::Tenant(tenant.to_owned()),
            Sharing::Public => Scope::Public,
        }
    }

    /// Whether an entry of this many bytes is kept.
    pub fn accepts_size(&self, entry_bytes: usize) -> bool {
        entry_bytes <= self.max_entry_bytes as usize
    }

    /// How long an error is kept; `None` if not at all.
    pub fn negative_lifetimes(&self, status: u16) -> Option<Lifetimes> {
        let chosen = self.negative.iter().find(|error| error.status == status)?;
        Some(Lifetimes {
            fresh: chosen.fresh,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
        })
    }

    /// The surrogate keys of an entry. The digest is that of the model that made it, if one did.
    pub fn surrogate_keys(
        &self,
        facts: &RequestFacts<'_>,
        digest: Option<&ModelDigest>,
    ) -> Vec<String> {
        let templates = self.surrogate_keys.iter();
        templates
            .filter_map(|template| template.fill(facts, digest))
            .collect()
    }
}

impl Deterministic {
    /// Whether the result of such a request may be kept.
    pub fn holds(self, task: &str, sampling: Sampling) -> bool {
        match self {
            Self::Always => true,
            Self::ByTask if task != "complete" => true,
            Self::ByTask | Self::TemperatureZeroOrSeed => {
                sampling.temperature_is_zero || sampling.has_seed
            }
        }
    }
}
