//! The keys of a request, for operators who purge what it left.

use std::collections::BTreeSet;
use std::sync::Arc;

use brink_cache::Key;
use brink_gateway::in_force::InForce;
use brink_gateway::stored_keys::{Sent, stored_keys};
use serde_json::{Value, json};

use crate::world::{catalog, pending_under, policy};

fn sent(body: &str) -> Sent<'_> {
    Sent {
        path: "/v1/embeddings",
        body: body.as_bytes(),
    }
}

fn keys(in_force: &Arc<InForce>, body: &Value) -> BTreeSet<Key> {
    let body = body.to_string();
    stored_keys(sent(&body), &"default".into(), in_force, &catalog()).unwrap()
}

#[test]
fn keys_are_those_that_the_request_looks_up() {
    let body = json!({"model": "m", "input": ["a", "b", "a", " c "], "user": "u"});
    for in_force in [
        Arc::default(),
        policy("fresh = \"1m\"\nnormalise = [\"trim\"]"),
        policy("fresh = \"1m\"\nscope = \"public\""),
    ] {
        let pending = pending_under(&in_force, &body, "").unwrap();
        let looked_up: BTreeSet<Key> = pending.keys().copied().collect();
        assert_eq!(keys(&in_force, &body), looked_up);
        assert_eq!(looked_up.len(), 3);
    }
}

#[test]
fn rules_for_one_method_count_for_a_request_that_can_come_by_others() {
    let body = json!({"model": "m", "input": "a"});
    let only_get = policy("match.method = \"GET\"\nfresh = \"1m\"");
    assert_eq!(keys(&only_get, &body).len(), 1);
    let nothing = policy("store = false\nreason = \"test\"");
    assert_eq!(keys(&nothing, &body).len(), 0);
}

#[test]
fn what_the_gateway_refuses_has_no_keys() {
    let check = |body: &str, status: u16| {
        let found = stored_keys(sent(body), &"t".into(), &Arc::default(), &catalog());
        assert_eq!(found.unwrap_err().status.as_u16(), status, "{body}");
    };
    check("{}", 400);
    check("{\"model\": \"m\", \"input\": []}", 400);
    check("{\"model\": \"other\", \"input\": \"a\"}", 404);
}
