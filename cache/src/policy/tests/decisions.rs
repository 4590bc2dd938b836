//! What is decided, and why.

use std::time::Duration;

use proptest::prelude::*;

use super::super::*;
use super::{facts, policy};
use crate::control::RequestControl;
use crate::freshness;
use crate::key::{ModelDigest, Scope};

/// A policy with one rule of each kind.
const POLICY: &str = r#"
version = 1
name = "shop"

[[rule]]
name = "secret"
match.tenant = "clinic*"
store = false
reason = "contract forbids it"

[[rule]]
name = "chat"
match.task = "complete"
match.method = ["POST", "QUERY"]
fresh = "12h"
stale_if_error = "1d"

[[rule]]
name = "catalogue"
match.route = "/v1/*"
match.model = ["m", "text-*"]
fresh = "1h"
stale_while_revalidate = "5m"
scope = "public"
normalise = ["trim", "lower-case"]
max_entry_bytes = 100
negative = { 404 = "10s" }
surrogate_keys = ["model:{model}", "digest:{digest}", "t:{tenant}"]
"#;

fn shop() -> Policy {
    Policy::parse(POLICY).unwrap()
}

#[test]
fn first_rule_that_matches_decides() {
    let policy = shop();
    let check = |facts: RequestFacts<'_>, expected: &str| {
        assert_eq!(policy.decide(&facts).to_string(), expected, "{facts:?}");
    };
    let base = facts();
    check(base, "rule 3 \"catalogue\": stored");
    let clinic = RequestFacts {
        tenant: "clinic-7",
        ..base
    };
    check(clinic, "rule 1 \"secret\": not stored, contract forbids it");
    check(
        RequestFacts {
            model: "text-9",
            ..base
        },
        "rule 3 \"catalogue\": stored",
    );
    check(
        RequestFacts {
            model: "other",
            ..base
        },
        "not stored, no rule matches",
    );
    check(
        RequestFacts {
            route: "/v2/x",
            ..base
        },
        "not stored, no rule matches",
    );
}

#[test]
fn sampled_completions_are_stored_only_if_they_repeat() {
    let policy = shop();
    let check = |body: &str, expected: bool| {
        let body = crate::canonical::parse(body.as_bytes()).unwrap();
        let chat = RequestFacts {
            task: "complete",
            sampling: Sampling::of_body(&body),
            ..facts()
        };
        let decision = policy.decide(&chat);
        assert_eq!(
            decision.rule.unwrap().name,
            "chat",
            "no later rule is asked"
        );
        assert_eq!(decision.storing().is_some(), expected, "{body:?}");
    };
    check("{}", false);
    check(r#"{"temperature": 0}"#, true);
    check(r#"{"temperature": -0.0}"#, true);
    check(r#"{"temperature": 0.1}"#, false);
    check(r#"{"temperature": null}"#, false);
    check(r#"{"temperature": "0"}"#, false);
    check(r#"{"temperature": 1, "seed": 7}"#, true);
    check(r#"{"seed": null}"#, false);
}

#[test]
fn condition_may_be_set_against_the_task() {
    let sampled = Sampling::default();
    let seeded = Sampling {
        has_seed: true,
        ..sampled
    };
    let check = |condition: Deterministic, task, sampling, expected| {
        assert_eq!(
            condition.holds(task, sampling),
            expected,
            "{condition:?} {task}"
        );
    };
    check(Deterministic::ByTask, "embed", sampled, true);
    check(Deterministic::ByTask, "complete", sampled, false);
    check(Deterministic::Always, "complete", sampled, true);
    check(
        Deterministic::TemperatureZeroOrSeed,
        "generic",
        sampled,
        false,
    );
    check(
        Deterministic::TemperatureZeroOrSeed,
        "generic",
        seeded,
        true,
    );
}

#[test]
fn rule_says_how_results_are_stored() {
    let policy = shop();
    let facts = facts();
    let storing = policy.decide(&facts).storing().unwrap();
    assert_eq!(storing.scope("acme"), Scope::Public);
    assert_eq!(storing.lifetimes.fresh, Duration::from_secs(3_600));
    assert_eq!(storing.normalise.apply("  The Cat "), "the cat");
    assert!(storing.accepts_size(100) && !storing.accepts_size(101));
    let negative = storing.negative_lifetimes(404).unwrap();
    assert_eq!(negative.fresh, Duration::from_secs(10));
    assert_eq!(
        freshness::decide(negative.fresh, negative),
        freshness::Decision::Expired
    );
    assert_eq!(storing.negative_lifetimes(500), None);
    let digest = ModelDigest([0; 32]);
    let keys = storing.surrogate_keys(&facts, Some(&digest));
    assert_eq!(
        keys,
        [
            "model:m".to_owned(),
            format!("digest:{digest}"),
            "t:acme".to_owned()
        ]
    );
    assert_eq!(storing.surrogate_keys(&facts, None), ["model:m", "t:acme"]);
}

#[test]
fn default_policy_does_what_the_product_does_without_one() {
    let policy = Policy::default();
    let storing = policy.decide(&facts()).storing().unwrap();
    assert_eq!(storing.scope("acme"), Scope::Tenant("acme".to_owned()));
    assert_eq!(storing.lifetimes, Lifetimes::IMMUTABLE);
    assert_eq!(storing.normalise, Normalise::default());
    assert_eq!(storing.surrogate_keys(&facts(), None), [""; 0]);
    let chat = RequestFacts {
        task: "complete",
        ..facts()
    };
    assert_eq!(
        policy.decide(&chat).verdict,
        Verdict::Bypass(BypassReason::NotDeterministic)
    );
    let sampling = Sampling {
        temperature_is_zero: true,
        has_seed: false,
    };
    let repeats = RequestFacts { sampling, ..chat };
    assert!(policy.decide(&repeats).storing().is_some());
    let origin = RequestFacts {
        task: "origin",
        ..facts()
    };
    assert_eq!(
        policy.decide(&origin).verdict,
        Verdict::Bypass(BypassReason::NoRule)
    );
}

#[test]
fn explanation_names_what_differs() {
    let policy = shop();
    let explanation = policy.explain(&RequestFacts {
        method: "GET",
        model: "x",
        ..facts()
    });
    let told: Vec<Vec<String>> = explanation
        .passed_over
        .iter()
        .map(|rule| rule.differences.iter().map(Difference::to_string).collect())
        .collect();
    assert_eq!(
        told,
        [
            vec!["tenant is \"acme\", wanted is \"clinic*\""],
            vec![
                "task is \"embed\", wanted is \"complete\"",
                "method is \"GET\", wanted is \"POST\" or \"QUERY\"",
            ],
            vec!["model is \"x\", wanted is \"m\" or \"text-*\""],
        ]
    );
}

prop_compose! {
    fn any_facts()(
        method in prop::sample::select(vec!["GET", "POST", "QUERY"]),
        route in prop::sample::select(vec!["/a", "/b", "/ab", "/"]),
        tenant in prop::sample::select(vec!["t", "u", "v"]),
        model in prop::sample::select(vec!["m", "n", "mm", ""]),
        task in prop::sample::select(TASKS.to_vec()),
        (temperature_is_zero, has_seed) in any::<(bool, bool)>(),
    ) -> RequestFacts<'static> {
        let sampling = Sampling { temperature_is_zero, has_seed };
        RequestFacts { method, route, tenant, model, task, sampling }
    }
}

/// Asks each condition of a rule one by one, without the code under test.
fn is_for(rule: &Rule, facts: &RequestFacts<'_>) -> bool {
    let meets = |patterns: &Patterns, name: &str| {
        let one = |pattern: &Pattern| match pattern.to_string().strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == pattern.to_string(),
        };
        patterns.0.is_empty() || patterns.0.iter().any(one)
    };
    let conditions = &rule.matching;
    meets(&conditions.method, facts.method)
        && meets(&conditions.route, facts.route)
        && meets(&conditions.tenant, facts.tenant)
        && meets(&conditions.model, facts.model)
        && meets(&conditions.task, facts.task)
}

proptest! {
    #[test]
    fn first_match_wins(policy in policy(), facts in any_facts()) {
        let expected = policy.rules().iter().position(|rule| is_for(rule, &facts));
        let decision = policy.decide(&facts);
        prop_assert_eq!(decision.rule.map(|rule| rule.index), expected);
        prop_assert_eq!(decision.version, policy.version());
        prop_assert_eq!(expected.is_none(), decision.verdict == Verdict::Bypass(BypassReason::NoRule));
    }

    /// Rules after the one that decides have no say.
    #[test]
    fn later_rules_change_nothing(policy in policy(), facts in any_facts()) {
        if let Some(matched) = policy.decide(&facts).rule {
            let first = policy.rules()[..=matched.index].to_vec();
            let shorter = Policy::new("shorter".to_owned(), first).unwrap();
            prop_assert_eq!(shorter.decide(&facts).verdict, policy.decide(&facts).verdict);
        }
    }

    /// Results are shared only where the deciding rule declares it; otherwise the scope is the
    /// tenant who asks.
    #[test]
    fn scope_is_public_only_where_declared(policy in policy(), facts in any_facts()) {
        let decision = policy.decide(&facts);
        if let (Some(storing), Some(matched)) = (decision.storing(), decision.rule) {
            let Action::Store(rule) = &policy.rules()[matched.index].action else { panic!("stores") };
            let expected = match rule.sharing {
                Sharing::Public => Scope::Public,
                Sharing::Tenant => Scope::Tenant(facts.tenant.to_owned()),
            };
            prop_assert_eq!(storing.scope(facts.tenant), expected);
        }
    }

    /// Whatever windows a policy allows, an entry beyond their sum answers nothing, and one
    /// beyond its freshness lifetime is never called fresh.
    #[test]
    fn stale_windows_never_make_an_expired_entry_usable(policy in policy(), facts in any_facts(), beyond in 0u64..1_000) {
        if let Some(storing) = policy.decide(&facts).storing() {
            let lifetimes = storing.lifetimes;
            let beyond = Duration::from_secs(beyond);
            prop_assert_ne!(freshness::decide(lifetimes.fresh + beyond, lifetimes), freshness::Decision::Fresh);
            let end = lifetimes.fresh + lifetimes.stale_while_revalidate + lifetimes.stale_if_error;
            prop_assert_eq!(freshness::decide(end + beyond, lifetimes), freshness::Decision::Expired);
            prop_assert!(!RequestControl::default().accepts(end + beyond, lifetimes));
        }
    }

    /// An explanation decides as a decision does, and says something about each rule before.
    #[test]
    fn explanation_agrees_with_the_decision(policy in policy(), facts in any_facts()) {
        let explanation = policy.explain(&facts);
        prop_assert_eq!(explanation.decision, policy.decide(&facts));
        let before = explanation.decision.rule.map_or(policy.rules().len(), |rule| rule.index);
        prop_assert_eq!(explanation.passed_over.len(), before);
        prop_assert!(explanation.passed_over.iter().all(|rule| !rule.differences.is_empty()));
    }
}
