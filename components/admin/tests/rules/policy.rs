//! `/admin/policy`.

use brink_cache::Policy;
use brink_cache::policy::STORE_KEY;

use crate::world::{Memory, Seen, ask, at_once};

const POLICY: &str = "version = 1
name = \"night\"
[[rule]]
name = \"secret\"
match.tenant = \"secret\"
store = false
reason = \"never kept\"
[[rule]]
name = \"shared\"
match.task = \"embed\"
match.model = [\"a\", \"b*\"]
fresh = \"30d\"
stale_if_error = \"1h\"
scope = \"public\"
";

fn send(world: &Memory, head: &str, body: &str) -> Seen {
    at_once(ask(world, head, body.as_bytes()))
}

fn version() -> String {
    Policy::parse(POLICY).unwrap().version().to_string()
}

#[test]
fn without_one_stored_the_built_in_policy_is_in_force() {
    let world = Memory::default();
    let seen = send(&world, "GET /admin/policy", "");
    assert_eq!(seen.status, 200);
    assert_eq!(seen.json["source"], "built-in");
    assert_eq!(seen.json["rule_count"], 3);
    assert_eq!(
        seen.json["rules"][0]["summary"],
        "task \"embed\": stored for 365d, for each tenant apart"
    );
}

#[test]
fn a_policy_is_put_in_force_and_shown() {
    let world = Memory::default();
    let put = send(&world, "PUT /admin/policy", POLICY);
    assert_eq!(put.status, 200, "{}", put.text);
    assert_eq!(put.json["version"], version());
    let stored = Policy::decode(&world.value(STORE_KEY).unwrap()).unwrap();
    assert_eq!(stored, Policy::parse(POLICY).unwrap());

    let seen = send(&world, "GET /admin/policy", "");
    assert_eq!(seen.json["source"], "stored");
    assert_eq!(seen.json["name"], "night");
    assert_eq!(seen.header("etag"), Some(&*format!("\"{}\"", version())));
    let summaries: Vec<_> = [0, 1]
        .map(|rule| seen.json["rules"][rule]["summary"].as_str().unwrap())
        .into();
    assert_eq!(
        summaries,
        [
            "tenant \"secret\": not stored (never kept)",
            "task \"embed\", model \"a\" or \"b*\": stored for 30d, stale-if-error 1h, for everybody"
        ]
    );

    let deleted = send(&world, "DELETE /admin/policy", "");
    assert_eq!(deleted.json["source"], "built-in");
    assert_eq!(world.value(STORE_KEY), None);
}

#[test]
fn a_dry_run_checks_and_changes_nothing() {
    let world = Memory::default();
    let seen = send(&world, "PUT /admin/policy?dry-run=true", POLICY);
    assert_eq!(seen.status, 200);
    assert_eq!(seen.json["dry_run"], true);
    assert_eq!(seen.json["version"], version());
    assert!(world.values.borrow().is_empty());
    let seen = send(&world, "PUT /admin/policy?dryrun=true", POLICY);
    assert_eq!(
        seen.status, 400,
        "a misspelt dry run must not be a real one"
    );
    assert!(world.values.borrow().is_empty());
}

#[test]
fn all_mistakes_are_told_at_once() {
    let world = Memory::default();
    let body = POLICY.replace("30d", "400x").replace("reason", "raeson");
    let seen = send(&world, "PUT /admin/policy", &body);
    assert_eq!(seen.status, 422);
    let errors = seen.json["errors"].as_array().unwrap();
    let of = |rule: &str, field: &str| {
        let found = errors
            .iter()
            .find(|error| error["rule"] == rule && error["field"] == field);
        found.unwrap_or_else(|| panic!("{}", seen.text)).clone()
    };
    assert_eq!(of("secret", "raeson")["line"], 7);
    let fresh = of("shared", "fresh");
    assert_eq!(fresh["line"], 12);
    assert!(fresh["problem"].as_str().unwrap().contains("400x"));
    assert!(world.values.borrow().is_empty());

    let seen = at_once(ask(&world, "PUT /admin/policy", b"version = 1\n\xff"));
    assert_eq!(seen.status, 422);
    let seen = send(&world, "PUT /admin/policy", "= 1");
    assert_eq!(
        (seen.status, &seen.json["errors"][0]["line"]),
        (422, &1.into())
    );
}

#[test]
fn only_the_policy_that_the_operator_has_seen_is_replaced() {
    let world = Memory::default();
    let built_in = Policy::default().version();
    let head = |method: &str, tag: &str| format!("{method} /admin/policy\nif-match: \"{tag}\"");
    assert_eq!(send(&world, &head("PUT", &version()), POLICY).status, 412);
    assert_eq!(
        send(&world, &head("PUT", &built_in.to_string()), POLICY).status,
        200
    );
    assert_eq!(
        send(&world, &head("DELETE", &built_in.to_string()), "").status,
        412
    );
    assert!(world.value(STORE_KEY).is_some());
    assert_eq!(send(&world, &head("DELETE", &version()), "").status, 200);
    // A field that no list of tags can be never counts as none.
    let wrong = "PUT /admin/policy\nif-match: night";
    assert_eq!(send(&world, wrong, POLICY).status, 400);
    assert_eq!(world.value(STORE_KEY), None);
}

#[test]
fn a_stored_policy_that_cannot_be_read_is_told_and_can_be_replaced() {
    let world = Memory::default();
    world.put(STORE_KEY, "something else");
    let seen = send(&world, "GET /admin/policy", "");
    assert_eq!(seen.status, 200);
    assert_eq!(seen.json["source"], "unusable");
    assert_eq!(seen.json["name"], "nothing");
    assert!(seen.json["problem"].is_string());
    assert_eq!(send(&world, "PUT /admin/policy", POLICY).status, 200);
}
