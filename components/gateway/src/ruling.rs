//! What the policy in force says about a request.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use brink_cache::entry::MAX_ENTRY_BYTES;
use brink_cache::key::Task;
use brink_cache::policy::{Action, RequestFacts, Sampling, Sharing, Storing};
use brink_cache::{EntryMeta, Key, Lifetimes, Marked, ModelDigest, Purged, Scope};
use brink_protocol::TenantShare;
use brink_protocol::infer::DEFAULT_URGENCY;
use bytes::Bytes;

use crate::in_force::{Caller, InForce, KnownMarks};

/// What the policy decided about one request. It holds for the whole request, also when the policy
/// changes meanwhile.
#[derive(Clone, Debug)]
pub struct Ruling {
    in_force: Arc<InForce>,
    /// The rule that matched, by its place.
    rule: Option<usize>,
    /// Whether results are looked up and stored.
    stores: bool,
    asked: Asked,
}

/// What the policy is asked about, besides the body.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The method.
    pub method: Cow<'static, str>,
    /// The route's path.
    pub route: Cow<'static, str>,
    /// One of [`TASKS`](brink_cache::policy::TASKS).
    pub task: Cow<'static, str>,
    /// How results are sampled.
    pub sampling: Sampling,
    /// Who asks.
    pub caller: Caller,
    /// `If-None-Match`, where it means something: for the safe methods.
    pub if_none_match: Option<String>,
    /// Whether the client asks under which key its result lies.
    pub wants_key: bool,
    /// How urgent it is (RFC 9218): 0 the most, 7 the least.
    pub urgency: u8,
}

impl Asked {
    /// A request to one of our own routes, for what a model of this task does.
    pub fn own(
        method: &'static str,
        route: impl Into<Cow<'static, str>>,
        task: Task,
        caller: Caller,
    ) -> Self {
        Self {
            method: method.into(),
            route: route.into(),
            task: task.name().into(),
            sampling: Sampling::default(),
            caller,
            if_none_match: None,
            wants_key: false,
            urgency: DEFAULT_URGENCY,
        }
    }

    fn facts<'a>(&'a self, model: &'a str) -> RequestFacts<'a> {
        RequestFacts {
            method: &self.method,
            route: &self.route,
            tenant: &self.caller.name,
            model,
            task: &self.task,
            sampling: self.sampling,
        }
    }
}

impl Ruling {
    /// Asks the policy.
    pub fn new(in_force: &Arc<InForce>, asked: Asked, model: &str) -> Self {
        let decision = in_force.policy.decide(&asked.facts(model));
        Self {
            rule: decision.rule.map(|rule| rule.index),
            stores: decision.storing().is_some(),
            in_force: in_force.clone(),
            asked,
        }
    }

    /// How results are stored; `None` if they are neither looked up nor stored.
    pub fn storing(&self) -> Option<&Storing> {
        let rule = &self.in_force.policy.rules()[self.rule.filter(|_| self.stores)?];
        match &rule.action {
            Action::Store(storing) => Some(storing),
            Action::Bypass { .. } => None,
        }
    }

    /// Who may read the results.
    pub fn scope(&self) -> Scope {
        let tenant = &*self.asked.caller.name;
        match self.storing() {
            Some(storing) => storing.scope(tenant),
            None => Scope::Tenant(tenant.to_owned()),
        }
    }

    /// What the tenant may take from a host; `None` if it is not limited.
    pub fn share(&self) -> Option<TenantShare> {
        let Caller { name, limits } = &self.asked.caller;
        let is_limited = limits.max_concurrent.is_some() || limits.model_ms_per_minute.is_some();
        is_limited.then(|| TenantShare {
            tenant: name.to_string(),
            max_concurrent: limits.max_concurrent,
            model_ms_per_minute: limits.model_ms_per_minute,
        })
    }

    /// Whether everybody may keep answers, not only the one who asked.
    pub fn is_public(&self) -> bool {
        self.storing()
            .is_some_and(|storing| storing.sharing == Sharing::Public)
    }

    /// Whether other caches may store the answer: not that to a POST (RFC 9110 §9.3.3 allows it only
    /// with a form that answers no later POST).
    pub fn is_safe(&self) -> bool {
        self.asked.method != "POST"
    }

    /// Whether the client asks under which key its result lies.
    pub fn wants_key(&self) -> bool {
        self.asked.wants_key
    }

    /// How urgent the request is (RFC 9218): 0 the most, 7 the least.
    pub fn urgency(&self) -> u8 {
        self.asked.urgency
    }

    /// `If-None-Match`, for the safe methods.
    pub fn if_none_match(&self) -> Option<&str> {
        self.asked.if_none_match.as_deref()
    }

    /// How long other caches may use an answer without asking again, at most.
    pub fn client_max_age(&self) -> Duration {
        self.in_force.deployment.client_max_age
    }

    /// Limits of what entries may claim: a shorter lifetime holds at once for all of them.
    pub fn lifetimes(&self) -> Lifetimes {
        self.storing()
            .map_or(Lifetimes::NONE, |storing| storing.lifetimes)
    }

    /// Stored bytes without their seal; `None` if others wrote, moved or cut them.
    pub fn open(&self, key: &Key, stored: Bytes) -> Option<Bytes> {
        match &self.in_force.deployment.seals {
            Some(seals) => seals.open(key, stored).ok(),
            None => Some(stored),
        }
    }

    /// Bytes with a seal where there is a secret, whatever the policy says of results.
    pub fn seal_any(&self, key: &Key, entry: Vec<u8>) -> Vec<u8> {
        match &self.in_force.deployment.seals {
            Some(seals) => seals.seal(key, &entry),
            None => entry,
        }
    }

    /// Bytes to store, with a seal where there is a secret; `None` if they are more than the policy or
    /// a store allows.
    pub fn seal(&self, key: &Key, entry: Vec<u8>) -> Option<Vec<u8>> {
        let sealed = self.seal_any(key, entry);
        self.accepts_size(sealed.len()).then_some(sealed)
    }

    /// Whether the policy and a store take an entry of so many bytes.
    pub fn accepts_size(&self, bytes: usize) -> bool {
        let storing = self.storing();
        bytes <= MAX_ENTRY_BYTES && storing.is_some_and(|storing| storing.accepts_size(bytes))
    }

    /// What purges have left of an entry of this request; `None` for all of it.
    pub fn purged(&self, key: &Key, meta: &EntryMeta, model: &str) -> Option<Purged> {
        let marks = match &self.in_force.marks {
            KnownMarks::Marks(marks) if marks.is_empty() => return None,
            KnownMarks::Marks(marks) => marks,
            KnownMarks::Unreadable => return Some(Purged::Absent),
        };
        marks.judge(&Marked {
            key,
            created: meta.created,
            model,
            digest: &meta.model_digest,
            tenant: (!self.is_public()).then_some(&*self.asked.caller.name),
            surrogate_keys: &meta.surrogate_keys,
        })
    }

    /// How long an error of this status answers; `None` if it is not stored.
    pub fn negative_lifetimes(&self, status: u16) -> Option<Lifetimes> {
        self.storing()?.negative_lifetimes(status)
    }

    /// Labels for new entries, and for answers that everybody may keep. The digest is that of the
    /// model, if one of ours made the result.
    pub fn surrogate_keys(&self, model: &str, digest: Option<&ModelDigest>) -> Vec<String> {
        self.storing()
            .map(|storing| storing.surrogate_keys(&self.asked.facts(model), digest))
            .unwrap_or_default()
    }

    /// The tenant that asks.
    pub fn tenant(&self) -> &str {
        &self.asked.caller.name
    }

    /// The `brink-policy` field of the answer: which version decided, and by which rule.
    pub fn label(&self) -> &str {
        let place = self.rule.unwrap_or(self.in_force.labels.len() - 1);
        &self.in_force.labels[place]
    }
}

#[cfg(test)]
mod tests {
    use brink_cache::Policy;

    use super::*;
    use crate::in_force::Tenancy;

    fn ruling(policy: &str, tenant: &str) -> Ruling {
        let policy = Policy::parse(policy).unwrap();
        let caller = Caller::unlimited(tenant.into());
        let asked = Asked::own("POST", "/v1/embeddings", Task::Embed, caller);
        let marks = KnownMarks::default();
        let in_force = InForce::new(policy, marks, Tenancy::Open);
        Ruling::new(&Arc::new(in_force), asked, "m")
    }

    const POLICY: &str = r#"
        version = 1
        [[rule]]
        name = "secret"
        match.tenant = "secret"
        store = false
        reason = "never kept"
        [[rule]]
        name = "shared"
        match.tenant = "open"
        fresh = "1m"
        scope = "public"
        surrogate_keys = ["model:{model}"]
    "#;

    #[test]
    fn a_ruling_says_what_its_rule_says() {
        let shared = ruling(POLICY, "open");
        assert_eq!(shared.scope(), Scope::Public);
        assert_eq!(shared.lifetimes().fresh.as_secs(), 60);
        assert_eq!(
            shared.surrogate_keys("m", Some(&ModelDigest([0; 32]))),
            ["model:m"]
        );
        assert!(shared.label().ends_with(r#", rule="shared""#));
    }

    #[test]
    fn what_is_not_stored_has_no_lifetime_and_stays_the_tenants() {
        for (tenant, label) in [("secret", r#", rule="secret""#), ("other", "")] {
            let ruling = ruling(POLICY, tenant);
            assert_eq!(ruling.storing(), None);
            assert_eq!(ruling.scope(), Scope::Tenant(tenant.to_owned()));
            assert_eq!(ruling.lifetimes(), Lifetimes::NONE);
            let key = Key::from_hex(&"0".repeat(64)).unwrap();
            assert_eq!(ruling.seal(&key, vec![1]), None);
            assert!(ruling.label().ends_with(label));
        }
    }
}
