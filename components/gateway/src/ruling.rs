//! What the policy in force says about a request.

use std::sync::Arc;

use brink_cache::policy::{Action, RequestFacts, Sampling, Storing};
use brink_cache::{Lifetimes, ModelDigest, Policy, Scope};

/// The policy that decides, with what answers say of it.
#[derive(Debug)]
pub struct InForce {
    policy: Policy,
    /// Per rule, and last for "no rule": the `brink-policy` field, written once.
    labels: Vec<String>,
}

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
    /// `POST`, `QUERY` or `GET` (for HEAD too: it asks for the same result).
    pub method: &'static str,
    /// The route's path.
    pub route: &'static str,
    /// Who asks.
    pub tenant: Arc<str>,
}

/// The task of all that is ruled on here.
const TASK: &str = "embed";

impl InForce {
    /// Puts a policy in force.
    pub fn new(policy: Policy) -> Self {
        let version = policy.version();
        // A structured-field dictionary (RFC 9651 §3.2). Names of rules are safe in strings.
        let rules = policy.rules().iter();
        let mut labels: Vec<String> = rules
            .map(|rule| format!("version=\"{version}\", rule=\"{}\"", rule.name))
            .collect();
        labels.push(format!("version=\"{version}\""));
        Self { policy, labels }
    }

    /// The policy itself.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }
}

impl Default for InForce {
    fn default() -> Self {
        Self::new(Policy::default())
    }
}

impl Asked {
    fn facts<'a>(&'a self, model: &'a str) -> RequestFacts<'a> {
        RequestFacts {
            method: self.method,
            route: self.route,
            tenant: &self.tenant,
            model,
            task: TASK,
            sampling: Sampling::default(),
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
        let tenant = &*self.asked.tenant;
        match self.storing() {
            Some(storing) => storing.scope(tenant),
            None => Scope::Tenant(tenant.to_owned()),
        }
    }

    /// Whether everybody may keep answers, not only the one who asked.
    pub fn is_public(&self) -> bool {
        self.scope() == Scope::Public
    }

    /// Limits of what entries may claim: a shorter lifetime holds at once for all of them.
    pub fn lifetimes(&self) -> Lifetimes {
        self.storing()
            .map_or(Lifetimes::NONE, |storing| storing.lifetimes)
    }

    /// How long an error of this status answers; `None` if it is not stored.
    pub fn negative_lifetimes(&self, status: u16) -> Option<Lifetimes> {
        self.storing()?.negative_lifetimes(status)
    }

    /// Labels for new entries.
    pub fn surrogate_keys(&self, model: &str, digest: &ModelDigest) -> Vec<String> {
        self.storing()
            .map(|storing| storing.surrogate_keys(&self.asked.facts(model), Some(digest)))
            .unwrap_or_default()
    }

    /// Whether an entry of so many bytes may be stored.
    pub fn accepts_size(&self, entry_bytes: usize) -> bool {
        self.storing()
            .is_some_and(|storing| storing.accepts_size(entry_bytes))
    }

    /// The `brink-policy` field of the answer: which version decided, and by which rule.
    pub fn label(&self) -> &str {
        let place = self.rule.unwrap_or(self.in_force.labels.len() - 1);
        &self.in_force.labels[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ruling(policy: &str, tenant: &str) -> Ruling {
        let policy = Policy::parse(policy).unwrap();
        let asked = Asked {
            method: "POST",
            route: "/v1/embeddings",
            tenant: tenant.into(),
        };
        Ruling::new(&Arc::new(InForce::new(policy)), asked, "m")
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
            shared.surrogate_keys("m", &ModelDigest([0; 32])),
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
            assert!(!ruling.accepts_size(1));
            assert!(ruling.label().ends_with(label));
        }
    }
}
