//! Compiled policies: what is read was checked, is compiled to the same policy, and decides by its rules.

#![no_main]

use brink_cache::Policy;
use brink_cache::policy::{Matching, Patterns, PolicyParts, RequestFacts, Sampling};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|stored: &[u8]| {
    let Ok(policy) = Policy::decode(stored) else {
        return;
    };
    assert_eq!(Policy::decode(&policy.encode()).as_ref(), Ok(&policy));
    let checked = Policy::with(PolicyParts {
        name: policy.name().to_owned(),
        rules: policy.rules().to_vec(),
        origins: policy.origins().to_vec(),
        aliases: policy.aliases().to_vec(),
    });
    assert_eq!(checked.as_ref(), Ok(&policy));
    for rule in policy.rules() {
        check_decision(&policy, &rule.matching);
    }
    for origin in policy.origins() {
        let to = policy.route_to_origin(&origin.path);
        assert!(matches!(to, Ok(Some(_))), "{to:?}");
    }
    for alias in policy.aliases() {
        assert_eq!(policy.model_of(&alias.name), alias.model);
        assert_eq!(policy.model_of(&alias.model), alias.model);
    }
});

/// A request that one rule is for is decided by it, or by an earlier one.
fn check_decision(policy: &Policy, matching: &Matching) {
    let facts = [
        &matching.method,
        &matching.route,
        &matching.tenant,
        &matching.model,
        &matching.task,
    ]
    .map(name);
    let [method, route, tenant, model, task] = facts.each_ref().map(String::as_str);
    let facts = RequestFacts {
        method,
        route,
        tenant,
        model,
        task,
        sampling: Sampling::default(),
    };
    let explained = policy.explain(&facts);
    let decided = explained
        .decision
        .rule
        .expect("a rule was made for this request");
    let first = policy
        .rules()
        .iter()
        .position(|rule| is_for(&rule.matching, &facts));
    assert_eq!(Some(decided.index), first);
    let passed_over = &explained.passed_over;
    assert!(passed_over.iter().all(|rule| !rule.differences.is_empty()));
}

/// A name that the condition holds for.
fn name(patterns: &Patterns) -> String {
    let written = patterns.0.first().map(ToString::to_string);
    written.unwrap_or_default().trim_end_matches('*').to_owned()
}

fn is_for(matching: &Matching, facts: &RequestFacts<'_>) -> bool {
    matching.method.matches(facts.method)
        && matching.route.matches(facts.route)
        && matching.tenant.matches(facts.tenant)
        && matching.model.matches(facts.model)
        && matching.task.matches(facts.task)
}
