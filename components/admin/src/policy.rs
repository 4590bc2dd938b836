//! `/admin/policy`: which policy is in force, and putting another in force.

use brink_cache::Policy;
use brink_cache::policy::{Action, Mistakes, Patterns, Rule, STORE_KEY, Sharing, Written};
use brink_gateway::reply::Reply;
use http::StatusCode;
use serde::Serialize;

use crate::problem::{Problem, Wrong};
use crate::world::{Call, StoreError, World};
use crate::{audit, precondition, query};

/// The policy by which edges decide now.
struct Current {
    policy: Policy,
    source: Source,
    /// Why the stored policy cannot be used.
    problem: Option<String>,
}

/// Where it comes from.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Source {
    /// The store.
    Stored,
    /// Nothing is stored.
    BuiltIn,
    /// What is stored cannot be read: edges store nothing until it is replaced or deleted.
    Unusable,
}

impl Current {
    async fn read(world: &impl World) -> Result<Self, StoreError> {
        let Some(bytes) = world.get(STORE_KEY).await? else {
            return Ok(Self::built_in());
        };
        Ok(match Policy::decode(&bytes) {
            Ok(policy) => Self {
                policy,
                source: Source::Stored,
                problem: None,
            },
            Err(error) => Self {
                policy: Policy::nothing(),
                source: Source::Unusable,
                problem: Some(error.to_string()),
            },
        })
    }

    fn built_in() -> Self {
        Self {
            policy: Policy::default(),
            source: Source::BuiltIn,
            problem: None,
        }
    }

    fn version(&self) -> String {
        self.policy.version().to_string()
    }
}

/// `GET /admin/policy`
pub(crate) async fn show(world: &impl World, call: &Call<'_>) -> Result<Reply, Problem> {
    query::none(call.head.query)?;
    let current = Current::read(world).await?;
    Ok(reply(&current, None))
}

/// `PUT /admin/policy`: checks a policy and puts it in force; with `dry-run=true` it only checks.
pub(crate) async fn put(world: &impl World, call: &Call<'_>) -> Result<Reply, Problem> {
    let is_dry_run = query::is_dry_run(call.head.query)?;
    let policy = parse(call.body, Policy::parse)?;
    let current = Current::read(world).await?;
    precondition::check(call.head, Some(&current.version()))?;
    let next = Current {
        policy,
        source: Source::Stored,
        problem: None,
    };
    if !is_dry_run {
        let what = change(&current.policy, &next.policy);
        let stored = next.policy.encode();
        audit::recorded(world, call, what, async {
            Ok(world.set(STORE_KEY, stored).await?)
        })
        .await?;
    }
    Ok(reply(&next, Some(is_dry_run)))
}

/// `DELETE /admin/policy`: back to the built-in one.
pub(crate) async fn delete(world: &impl World, call: &Call<'_>) -> Result<Reply, Problem> {
    query::none(call.head.query)?;
    let current = Current::read(world).await?;
    precondition::check(call.head, Some(&current.version()))?;
    let next = Current::built_in();
    let what = change(&current.policy, &next.policy);
    audit::recorded(world, call, what, async {
        Ok(world.delete(STORE_KEY).await?)
    })
    .await?;
    Ok(reply(&next, None))
}

/// Reads a file that an operator sent.
pub(crate) fn parse<T>(
    body: &[u8],
    read: impl FnOnce(&str) -> Result<T, Mistakes>,
) -> Result<T, Problem> {
    let source = std::str::from_utf8(body).map_err(|error| {
        let place = error.valid_up_to();
        let problem = format!("is no UTF-8 from byte {place} on; TOML is wanted");
        Problem::unprocessable(Wrong::field("the body", problem))
    })?;
    read(source).map_err(Problem::mistakes)
}

fn change(from: &Policy, to: &Policy) -> String {
    format!(
        "policy {:?} {} replaced by {:?} {} with {} rule(s)",
        from.name(),
        from.version(),
        to.name(),
        to.version(),
        to.rules().len()
    )
}

fn reply(current: &Current, is_dry_run: Option<bool>) -> Reply {
    #[derive(Serialize)]
    struct Shown<'a> {
        source: Source,
        #[serde(skip_serializing_if = "Option::is_none")]
        problem: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        dry_run: Option<bool>,
        name: &'a str,
        version: &'a str,
        rule_count: usize,
        rules: Vec<ShownRule<'a>>,
    }
    #[derive(Serialize)]
    struct ShownRule<'a> {
        name: &'a str,
        summary: String,
    }
    let rules = current.policy.rules();
    let version = current.version();
    let shown = Shown {
        source: current.source,
        problem: current.problem.as_deref(),
        dry_run: is_dry_run,
        name: current.policy.name(),
        version: &version,
        rule_count: rules.len(),
        rules: rules
            .iter()
            .map(|rule| ShownRule {
                name: &rule.name,
                summary: summary(rule),
            })
            .collect(),
    };
    let body = serde_json::to_vec(&shown).expect("texts and numbers always serialise");
    Reply::json(StatusCode::OK, body).with("etag", precondition::etag(&version))
}

/// `task "embed": stored for 30d, for each tenant apart`
fn summary(rule: &Rule) -> String {
    let matching = &rule.matching;
    let conditions = [
        ("task", &matching.task),
        ("route", &matching.route),
        ("method", &matching.method),
        ("model", &matching.model),
        ("tenant", &matching.tenant),
    ];
    let conditions = conditions.into_iter().filter(|(_, wanted)| is_said(wanted));
    let conditions: Vec<String> = conditions
        .map(|(fact, wanted)| format!("{fact} {wanted}"))
        .collect();
    let conditions = match conditions.is_empty() {
        true => "every request".to_owned(),
        false => conditions.join(", "),
    };
    format!("{conditions}: {}", action(&rule.action))
}

fn is_said(wanted: &Patterns) -> bool {
    !wanted.0.is_empty()
}

fn action(action: &Action) -> String {
    let storing = match action {
        Action::Bypass { reason } => return format!("not stored ({reason})"),
        Action::Store(storing) => storing,
    };
    let lifetimes = storing.lifetimes;
    let mut text = format!("stored for {}", Written(lifetimes.fresh));
    let windows = [
        (lifetimes.stale_while_revalidate, "stale-while-revalidate"),
        (lifetimes.stale_if_error, "stale-if-error"),
    ];
    for (window, name) in windows {
        if !window.is_zero() {
            text.push_str(&format!(", {name} {}", Written(window)));
        }
    }
    text.push_str(match storing.sharing {
        Sharing::Tenant => ", for each tenant apart",
        Sharing::Public => ", for everybody",
    });
    text
}
