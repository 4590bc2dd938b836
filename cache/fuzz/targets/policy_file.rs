//! Policy files: a policy that is read survives being compiled, and mistakes are told where they are.

#![no_main]

use brink_cache::Policy;
use brink_cache::policy::{RequestFacts, Sampling, TASKS};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &str| {
    let mistakes = match Policy::parse(source) {
        Ok(policy) => return check(&policy),
        Err(mistakes) => mistakes,
    };
    assert!(!mistakes.list.is_empty());
    assert!(mistakes.to_string().starts_with(char::is_alphanumeric));
    let last = source.lines().count().max(1) + 1;
    let lines = mistakes.list.iter().filter_map(|mistake| mistake.line);
    assert!(lines.into_iter().all(|line| (1..=last).contains(&line)));
});

fn check(policy: &Policy) {
    assert_eq!(Policy::decode(&policy.encode()).as_ref(), Ok(policy));
    for task in TASKS {
        let facts = RequestFacts {
            method: "POST",
            route: "/v1/embeddings",
            tenant: "acme",
            model: "all-MiniLM-L6-v2",
            task,
            sampling: Sampling::default(),
        };
        let explained = policy.explain(&facts);
        assert_eq!(explained.decision, policy.decide(&facts));
        // The search and the explanation are two implementations of what a rule matches.
        let passed_over = &explained.passed_over;
        assert!(passed_over.iter().all(|rule| !rule.differences.is_empty()));
    }
}
