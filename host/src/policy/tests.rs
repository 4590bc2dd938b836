//! The commands on files.

use std::path::PathBuf;

use brink_cache::key::{ItemBytes, PrefixParts, Task, task_parameters};
use brink_cache::{KeyPrefix, ModelDigest, Scope};
use tempfile::TempDir;

use super::*;

const POLICY: &str = r#"
version = 1
name = "shop"

[[rule]]
name = "secret"
match.tenant = "clinic*"
store = false
reason = "contract forbids it"

[[rule]]
name = "embeddings"
match.task = "embed"
fresh = "12h"
stale_if_error = "1d"
normalise = "trim"
negative = { 404 = "10s" }
surrogate_keys = ["model:{model}"]
"#;

/// A folder that holds one file.
fn file(name: &str, content: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    (folder, path)
}

fn explained(request: &str) -> String {
    let (_kept, policy) = file("policy.toml", POLICY);
    let (_kept_too, request) = file("request.json", request);
    explain(&request, Some(&policy)).unwrap_or_else(|error| error.to_string())
}

#[test]
fn documented_policy_is_in_order() {
    let documented = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cache/policy.toml");
    let summary = check(&documented).unwrap();
    let version = Policy::default().version().to_string();
    assert!(summary.contains(&version), "{summary}");
    for rule in [
        "1 \"embeddings\"",
        "2 \"classifications\"",
        "3 \"completions\"",
    ] {
        let line = format!("\n  {rule}: stored for 365d, each tenant's apart");
        assert!(summary.contains(&line), "{summary}");
    }
}

#[test]
fn summary_names_every_rule() {
    let (_kept, policy) = file("policy.toml", POLICY);
    let summary = check(&policy).unwrap();
    assert!(
        summary.contains("policy.toml is in order: policy \"shop\""),
        "{summary}"
    );
    assert!(
        summary.contains("\n  1 \"secret\": not stored, contract forbids it\n"),
        "{summary}"
    );
}

#[test]
fn mistakes_are_told_all_at_once() {
    let (_kept, path) = file(
        "policy.toml",
        &POLICY.replace("12h", "12").replace("404", "403"),
    );
    let error = check(&path).unwrap_err().to_string();
    for part in [
        "policy.toml: 2 things are wrong in the policy:",
        "line 14: rule 2 \"embeddings\": fresh: is \"12\"",
        "line 17: rule 2 \"embeddings\": negative.403: ",
    ] {
        assert!(error.contains(part), "{part} is missing in: {error}");
    }
    let missing = check(Path::new("no/such/file")).unwrap_err().to_string();
    assert_eq!(missing, "the file no/such/file cannot be read");
}

#[test]
fn explanation_shows_rule_key_and_lifetimes() {
    let told = explained(
        r#"{
            "route": "/v1/embeddings",
            "tenant": "acme",
            "digest": "0707070707070707070707070707070707070707070707070707070707070707",
            "cache_control": "no-store",
            "body": {"model": "m", "input": [" the cat ", [1, 2], 5], "user": "u", "truncate": true}
        }"#,
    );
    let prefix = KeyPrefix::new(PrefixParts {
        scope: &Scope::Tenant("acme".to_owned()),
        model: "m",
        digest: &ModelDigest([7; 32]),
        task: Task::Embed,
        parameters: task_parameters(true),
    });
    let text = prefix.key(ItemBytes::Text("the cat"));
    let tokens = prefix.key(ItemBytes::Tokens(&[1, 2]));
    for part in [
        "request POST /v1/embeddings, task embed, model \"m\", tenant \"acme\"\n",
        "rule 1 \"secret\" does not match: tenant is \"acme\", wanted is \"clinic*\"\n",
        "rule 2 \"embeddings\" matches and decides\n",
        "  fresh                   12h\n",
        "  stale if error          1d\n",
        "  errors stored           404 for 10s\n",
        "  surrogate keys          model:m\n",
        "forbids to store this one\n",
        "  scope                   tenant \"acme\"\n",
        "  parameters              {\"truncate\":true}\n",
        "  parts of their own      input, model\n",
        "  left out                user\n",
        "  normalised              trim\n",
        &format!("  input 0                 7 bytes of text, key {text}\n"),
        &format!("  input 1                 2 tokens, key {tokens}\n"),
        "  input 2                 neither a text nor tokens; it would be refused\n",
    ] {
        assert!(told.contains(part), "{part:?} is missing in:\n{told}");
    }
    assert!(
        !told.contains("the cat"),
        "inputs are not repeated:\n{told}"
    );
}

#[test]
fn explanation_says_why_nothing_is_stored() {
    let check = |request: &str, expected: &str| {
        let told = explained(request);
        assert!(
            told.contains(expected),
            "{expected:?} is missing in:\n{told}"
        );
    };
    check(
        r#"{"route": "/v1/embeddings", "tenant": "clinic-7"}"#,
        "neither looked up nor stored: contract forbids it",
    );
    check(
        r#"{"route": "/v1/chat/completions", "body": {"messages": []}}"#,
        "no rule is left\n\nthe result is neither looked up nor stored: no rule matches",
    );
    check(
        r#"{"route": "/v1/embeddings", "body": {"input": "a", "x": 9007199254740993}}"#,
        "none, so the request passes the cache by: ",
    );
}

#[test]
fn wrong_requests_are_refused() {
    let check = |request: &str, expected: &str| {
        let told = explained(request);
        assert!(
            told.contains(expected),
            "{expected:?} is missing in: {told}"
        );
    };
    check("{}", "missing field `route`");
    check("[]", "it is JSON and no object");
    check("{\"route\": 1, \"route\": 2}", "a member occurs twice");
    check(r#"{"route": "/", "verb": "GET"}"#, "unknown field `verb`");
    check(
        r#"{"route": "/", "task": "embedding"}"#,
        "task is \"embedding\"; there are",
    );
    check(
        r#"{"route": "/", "digest": "12"}"#,
        "64 hexadecimal digits are wanted",
    );
}

#[test]
fn built_in_policy_is_explained_without_a_file() {
    let (_kept, request) = file(
        "request.json",
        r#"{"route": "/v1/embeddings", "body": {"input": "a"}}"#,
    );
    let told = explain(&request, None).unwrap();
    assert!(told.starts_with("policy \"default\", version "), "{told}");
    assert!(told.contains("its key needs the model's digest"), "{told}");
}

#[test]
fn requests_to_origins_and_aliases_are_explained() {
    let source = r#"
        version = 1
        [[rule]]
        name = "all"
        fresh = "1m"
        [[origin]]
        name = "search"
        path = "/search/"
        upstream = "http://127.0.0.1:8080/api/"
        [[origin.json]]
        path = "embed"
        task = "embed"
        items = "tei"
        [[alias]]
        name = "chosen"
        model = "m"
    "#;
    let (_kept, policy) = file("policy.toml", source);
    let summary = super::check(&policy).unwrap();
    for line in [
        "/search/ goes to http://127.0.0.1:8080/api/, 1 JSON route(s)",
        "chosen means the model m",
    ] {
        assert!(summary.contains(line), "{summary}");
    }
    let check = |request: &str, expected: &[&str]| {
        let (_kept, request) = file("request.json", request);
        let told = explain(&request, Some(&policy)).unwrap_or_else(|error| error.to_string());
        for part in expected {
            assert!(told.contains(part), "{part:?} is missing in:\n{told}");
        }
    };
    check(
        r#"{"route": "/search/a", "method": "GET"}"#,
        &[
            "task origin,",
            "asked of an origin, http://127.0.0.1:8080/api/a\n",
            "  request fields          those that the answer varies by\n",
        ],
    );
    check(
        r#"{"route": "/search/embed", "body": {"inputs": ["a"]}}"#,
        &[
            "task embed,",
            "  body                    16 bytes in canonical form\n",
        ],
    );
    check(
        r#"{"route": "/search/../x"}"#,
        &["would be refused: the path has a dot segment"],
    );
    check(
        r#"{"route": "/v1/embeddings", "model": "chosen", "body": {"input": "a"}}"#,
        &["model \"chosen\",", "  model                   \"m\"\n"],
    );
}
