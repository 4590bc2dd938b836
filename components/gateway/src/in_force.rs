//! What operators have decided: the policy, what is purged, and who may ask.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use brink_cache::tenant::TenantLimits;
use brink_cache::{Marks, Policy, Seals, Tenants};

use crate::error::ApiError;

/// What operators have decided: the policy, what is purged, and who may ask.
#[derive(Debug)]
pub struct InForce {
    pub(crate) policy: Policy,
    /// Per rule, and last for "no rule": the `brink-policy` field, written once.
    pub(crate) labels: Vec<String>,
    pub(crate) marks: KnownMarks,
    tenancy: Tenancy,
    /// Whether any tenant's requests are counted.
    has_rates: bool,
    pub(crate) deployment: Deployment,
}

/// Who asks, and how much may be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The tenant's name.
    pub name: Arc<str>,
    /// Its limits.
    pub limits: TenantLimits,
}

/// What is fixed for as long as an instance lives.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// What entries are bound to their keys with: for stores that others can write.
    pub seals: Option<Seals>,
    /// How long browsers and CDNs may use an answer without asking again, at most: they notice no new
    /// model and no purge.
    pub client_max_age: Duration,
    /// The model of requests that name none; empty for the first one that does what is asked.
    pub default_model: String,
}

impl Default for Deployment {
    fn default() -> Self {
        Self {
            seals: None,
            client_max_age: Duration::from_secs(60),
            default_model: String::new(),
        }
    }
}

/// What is known about purges.
#[derive(Debug)]
pub enum KnownMarks {
    /// These.
    Marks(Box<Marks>),
    /// There are some, and they cannot be read: every entry may be purged.
    Unreadable,
}

/// No marks.
impl Default for KnownMarks {
    fn default() -> Self {
        Self::Marks(Box::default())
    }
}

/// Who may ask.
#[derive(Debug)]
pub enum Tenancy {
    /// Everybody, as one tenant.
    Open,
    /// Whoever has an API key of a tenant.
    Keys(Tenants),
    /// Nobody: API keys are required, and there are none that could be read.
    Closed,
}

impl InForce {
    /// Puts a policy in force, and marks, for those who may ask.
    pub fn new(policy: Policy, marks: KnownMarks, tenancy: Tenancy) -> Self {
        let version = policy.version();
        // A structured-field dictionary (RFC 9651 §3.2). Names of rules are safe in strings.
        let rules = policy.rules().iter();
        let mut labels: Vec<String> = rules
            .map(|rule| format!("version=\"{version}\", rule=\"{}\"", rule.name))
            .collect();
        labels.push(format!("version=\"{version}\""));
        let has_rates = match &tenancy {
            Tenancy::Keys(tenants) => {
                let mut list = tenants.list().iter();
                list.any(|tenant| tenant.limits.requests_per_second.is_some())
            }
            Tenancy::Open | Tenancy::Closed => false,
        };
        Self {
            has_rates,
            policy,
            labels,
            marks,
            tenancy,
            deployment: Deployment::default(),
        }
    }

    /// The same in another deployment.
    pub fn in_deployment(self, deployment: Deployment) -> Self {
        Self { deployment, ..self }
    }

    /// The tenant that asks.
    ///
    /// # Errors
    /// 401 when API keys are required and this is none; 503 when there are none that could be read.
    pub fn caller(&self, authorization: Option<&str>) -> Result<Caller, ApiError> {
        static DEFAULT: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("default"));
        match &self.tenancy {
            Tenancy::Open => Ok(Caller::unlimited(DEFAULT.clone())),
            Tenancy::Closed => Err(ApiError::no_tenants()),
            Tenancy::Keys(tenants) => match tenants.authenticate(authorization) {
                Ok(tenant) => Ok(Caller {
                    name: tenant.name.as_str().into(),
                    limits: tenant.limits,
                }),
                Err(error) => Err(ApiError::unauthenticated(error)),
            },
        }
    }

    /// The tenant that asks, if its requests are counted.
    pub fn counted(&self, authorization: Option<&str>) -> Option<Caller> {
        if !self.has_rates {
            return None;
        }
        let caller = self.caller(authorization).ok()?;
        caller
            .limits
            .requests_per_second
            .is_some()
            .then_some(caller)
    }

    /// Whether `Authorization` holds an API key of this edge.
    pub fn takes_api_keys(&self) -> bool {
        match self.tenancy {
            Tenancy::Open => false,
            Tenancy::Keys(_) | Tenancy::Closed => true,
        }
    }

    /// The model of requests that name none; empty for the first one that does what is asked.
    pub fn default_model(&self) -> &str {
        &self.deployment.default_model
    }

    /// The policy itself.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }
}

impl Default for InForce {
    fn default() -> Self {
        let marks = KnownMarks::default();
        Self::new(Policy::default(), marks, Tenancy::Open)
    }
}

impl Caller {
    /// A tenant without limits.
    pub fn unlimited(name: Arc<str>) -> Self {
        let limits = TenantLimits::default();
        Self { name, limits }
    }
}
