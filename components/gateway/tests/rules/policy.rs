//! What the policy's rules do to requests.

use std::sync::Arc;
use std::time::Duration;

use brink_cache::{Entry, Policy, Scope, SealKey, Seals, UnixSeconds};
use brink_gateway::error::ApiError;
use brink_gateway::hit::{Missing, Settled};
use brink_gateway::in_force::{Deployment, InForce, KnownMarks, Tenancy};
use brink_protocol::{Fault, FaultCode, Input};
use http::StatusCode;
use serde_json::{Value, json};

use crate::world::{At, NOW, World, begin, first_elements, header, pending_under, policy};

fn body(text: &str) -> Value {
    json!({"model": "m", "input": text})
}

fn after(seconds: u64) -> UnixSeconds {
    UnixSeconds(NOW.0 + seconds)
}

fn missing(world: &mut World, body: &Value, control: &str, now: UnixSeconds) -> Missing {
    let pending = pending_under(&world.policy.clone(), body, control).unwrap();
    match pending.settle(world, &At(now)) {
        Ok(Settled::Missing(missing)) => *missing,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_to_be_stored_is_neither_looked_up_nor_stored() {
    let mut world = World::under("store = false\nreason = \"changes by the hour\"");
    let call = missing(&mut world, &body("1"), "", NOW)
        .upstream_call("id", Duration::ZERO)
        .whole();
    assert!(!call.look_up && !call.store);
    for _ in 0..2 {
        let answer = world.ask(&body("1"), "", NOW).unwrap();
        assert_eq!(header(&answer, "brink-items"), "bypass=1");
        assert_eq!(
            header(&answer, "cache-status"),
            "brink-host; fwd=miss, brink-edge; fwd=bypass; detail=policy"
        );
        assert!(header(&answer, "brink-policy").ends_with(", rule=\"test\""));
    }
    assert!(world.store.is_empty());
    assert_eq!(world.computed.len(), 2);
}

#[test]
fn normalised_texts_share_a_result_and_the_model_reads_the_normalised_one() {
    let mut world = World::under("fresh = \"1m\"\nnormalise = [\"trim\", \"lower-case\"]");
    world.ask(&body("  Hello "), "", NOW).unwrap();
    let answer = world.ask(&body("hello"), "", NOW).unwrap();
    assert_eq!(header(&answer, "brink-items"), "hit=1");
    assert_eq!(world.computed, [Input::Text("hello".to_owned())]);

    let error = world.ask(&body(" \n "), "", NOW).unwrap_err();
    assert_eq!(error.status, StatusCode::BAD_REQUEST);
    assert_eq!(error.param.as_deref(), Some("input[0]"));
}

#[test]
fn a_shorter_lifetime_holds_at_once_for_what_is_stored() {
    let mut world = World::under("fresh = \"100s\"");
    world.ask(&body("1"), "", NOW).unwrap();
    world.policy = policy("fresh = \"10s\"");
    let answer = world.ask(&body("1"), "", after(9)).unwrap();
    assert_eq!(header(&answer, "cache-status"), "brink-edge; hit; ttl=1");
    let answer = world.ask(&body("1"), "", after(10)).unwrap();
    assert_eq!(header(&answer, "brink-items"), "stale=1");
}

#[test]
fn a_longer_lifetime_does_not_hold_for_what_is_stored() {
    let mut world = World::under("fresh = \"10s\"");
    world.ask(&body("1"), "", NOW).unwrap();
    world.policy = policy("fresh = \"100s\"");
    let answer = world.ask(&body("1"), "", after(10)).unwrap();
    assert_eq!(header(&answer, "brink-items"), "stale=1");
}

const STALE: &str = "fresh = \"10s\"\nstale_while_revalidate = \"10s\"\nstale_if_error = \"10s\"";

#[test]
fn stale_while_revalidate_answers_at_once_and_refreshes_what_was_stale() {
    let mut world = World::under(STALE);
    world.ask(&body("1"), "", NOW).unwrap();
    world.ask(&body("2"), "", after(14)).unwrap();
    world.computed.clear();
    let both = json!({"model": "m", "input": ["1", "2"]});
    let answer = world.ask(&both, "", after(15)).unwrap();
    assert_eq!(first_elements(&answer), [1.0, 2.0]);
    assert_eq!(
        header(&answer, "cache-status"),
        "brink-edge; hit; ttl=-5; detail=stale-while-revalidate"
    );
    assert_eq!(header(&answer, "age"), "15");
    assert_eq!(world.computed, [Input::Text("1".to_owned())]);

    world.ask(&both, "only-if-cached", after(25)).unwrap();
    assert_eq!(world.computed.len(), 1, "after that, no model runs");

    let answer = world.ask(&both, "", after(15)).unwrap();
    assert_eq!(header(&answer, "cache-status"), "brink-edge; hit; ttl=9");
    assert_eq!(world.computed.len(), 1, "it was refreshed once");
}

#[test]
fn urgency_is_the_clients_own_and_nobody_waits_for_a_refresh() {
    let mut world = World::under(STALE);
    let text = body("1").to_string();
    let urgent = "POST /v1/embeddings\npriority: u=1";
    let settled = |world: &mut World, head: &str, now| {
        let pending = begin(&world.policy.clone(), head, text.as_bytes()).unwrap();
        pending.settle(world, &At(now)).unwrap()
    };
    for (head, expected) in [(urgent, 1), ("POST /v1/embeddings", 3)] {
        let Settled::Missing(missing) = settled(&mut world, head, NOW) else {
            panic!("nothing is stored");
        };
        assert_eq!(
            missing.upstream_call("id", Duration::ZERO).whole().urgency,
            expected
        );
    }
    world.ask(&body("1"), "", NOW).unwrap();
    let Settled::Stale(_, stale) = settled(&mut world, urgent, after(15)) else {
        panic!("it is stale");
    };
    assert_eq!(stale.refresh("id", Duration::ZERO).call.head.urgency, 7);
}

#[test]
fn stale_if_error_covers_a_host_that_fails_and_no_request_that_is_wrong() {
    let mut world = World::under(STALE);
    world.ask(&body("1"), "", NOW).unwrap();
    let stand_in = |world: &mut World, control: &str, age, error: &ApiError| {
        let missing = missing(world, &body("1"), control, after(age));
        missing.complete_stale(error, &At(after(age)))
    };
    let gone = ApiError::host_unavailable(1);
    let reply = stand_in(&mut world, "", 25, &gone).unwrap();
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(
        reply.header("cache-status"),
        Some("brink-edge; fwd=stale; fwd-status=503; ttl=-15; detail=stale-if-error")
    );
    assert_eq!(reply.header("age"), Some("25"));

    let wrong = ApiError::invalid("input[0]", "too long");
    assert!(stand_in(&mut world, "", 25, &wrong).is_none(), "its own");
    assert!(stand_in(&mut world, "", 30, &gone).is_none(), "too old");
    assert!(stand_in(&mut world, "no-cache", 25, &gone).is_none());
    assert!(stand_in(&mut world, "max-age=20", 25, &gone).is_none());
}

#[test]
fn one_missing_item_keeps_the_whole_answer_from_being_stale() {
    let mut world = World::under(STALE);
    world.ask(&body("1"), "", NOW).unwrap();
    let both = json!({"model": "m", "input": ["1", "2"]});
    let missing = missing(&mut world, &both, "", after(25));
    let reply = missing.complete_stale(&ApiError::host_unavailable(1), &At(after(25)));
    assert!(reply.is_none());
}

#[test]
fn an_error_of_an_item_is_stored_where_the_policy_says_so() {
    let too_long = Fault {
        code: FaultCode::InputTooLong,
        message: "9 tokens; at most 8".to_owned(),
        item: Some(1),
        retry_after_ms: None,
    };
    let both = json!({"model": "m", "input": ["1", "2"]});
    let mut world = World::under("fresh = \"1h\"\nnegative = { 400 = \"1m\" }");
    let stored = missing(&mut world, &both, "", NOW).negative(1, &too_long, &At(NOW));
    world.keep(&[stored.unwrap()]);

    let error = world.ask(&body("2"), "", after(59)).unwrap_err();
    assert_eq!(error.status, StatusCode::BAD_REQUEST);
    assert_eq!(error.param.as_deref(), Some("input[0]"), "of this request");
    assert_eq!(error.message, too_long.message);
    assert_eq!(error.age, Some(59));
    assert!(world.ask(&body("2"), "no-cache", after(59)).is_ok());

    world.keep(&[missing(
        &mut World::under("fresh = \"1h\"\nnegative = { 400 = \"1m\" }"),
        &both,
        "",
        NOW,
    )
    .negative(1, &too_long, &At(NOW))
    .unwrap()]);
    assert!(world.ask(&body("2"), "", after(60)).is_ok(), "no longer");

    let mut world = World::under("fresh = \"1h\"");
    let missing = missing(&mut world, &both, "", NOW);
    assert_eq!(missing.negative(1, &too_long, &At(NOW)), None);
}

#[test]
fn public_rules_share_and_labels_and_sizes_are_obeyed() {
    let mut world = World::under(
        "fresh = \"1m\"\nscope = \"public\"\nsurrogate_keys = [\"model:{model}\", \"t:{tenant}\"]",
    );
    let call = missing(&mut world, &body("1"), "", NOW)
        .upstream_call("id", Duration::ZERO)
        .whole();
    assert_eq!(call.scope, Scope::Public);
    let answer = world.ask(&body("1"), "", NOW).unwrap();
    let entry = Entry::decode(answer.store[0].bytes.clone().into()).unwrap();
    assert_eq!(entry.meta.surrogate_keys, ["model:m", "t:default"]);

    let mut world = World::under("fresh = \"1m\"\nmax_entry_bytes = 20");
    let answer = world.ask(&body("1"), "", NOW).unwrap();
    assert!(answer.store.is_empty());
    assert!(!header(&answer, "cache-status").contains("stored"));
}

#[test]
fn only_the_named_fields_make_the_key() {
    let cut = json!({"model": "m", "input": "1", "truncate": true});
    let mut world = World::under("fresh = \"1m\"\nkey_fields = []");
    world.ask(&body("1"), "", NOW).unwrap();
    let answer = world.ask(&cut, "", NOW).unwrap();
    assert_eq!(header(&answer, "brink-items"), "hit=1");
    world.policy = policy("fresh = \"1m\"");
    let answer = world.ask(&cut, "", NOW).unwrap();
    assert_eq!(header(&answer, "brink-items"), "miss=1");
}

#[test]
fn sealed_entries_are_used_only_under_their_own_key_and_secret() {
    let sealed = |secret: char| {
        let secret = SealKey::from_hex(&secret.to_string().repeat(64)).unwrap();
        let seals = Seals::new(secret, Vec::new()).unwrap();
        let policy = Policy::parse("version = 1\n[[rule]]\nname = \"a\"\nfresh = \"1m\"").unwrap();
        let marks = KnownMarks::default();
        let deployment = Deployment {
            seals: Some(seals),
            ..Deployment::default()
        };
        Arc::new(InForce::new(policy, marks, Tenancy::Open).in_deployment(deployment))
    };
    let outcome = |world: &mut World, text: &str| {
        let answer = world.ask(&body(text), "", NOW).unwrap();
        header(&answer, "brink-items").to_owned()
    };
    let mut world = World::default();
    outcome(&mut world, "1");
    world.policy = sealed('a');
    assert_eq!(outcome(&mut world, "1"), "broken=1", "it has no seal");
    assert_eq!(outcome(&mut world, "1"), "hit=1");
    assert_eq!(outcome(&mut world, "2"), "miss=1");

    let mut moved: Vec<_> = world.store.values().cloned().collect();
    moved.reverse();
    for (bytes, moved) in world.store.values_mut().zip(moved) {
        *bytes = moved;
    }
    assert_eq!(outcome(&mut world, "1"), "broken=1", "it is another's");
    world.policy = sealed('b');
    assert_eq!(outcome(&mut world, "1"), "broken=1", "another secret");
}

#[test]
fn an_alias_is_the_model_it_stands_for_and_a_roll_misses_at_once() {
    // The world's policy ends with its rule, and tables may follow.
    let rolled = |model: &str| {
        policy(&format!(
            "fresh = \"100s\"\n[[alias]]\nname = \"chosen\"\nmodel = \"{model}\""
        ))
    };
    let mut world = World::default();
    world.ask(&body("1"), "", NOW).unwrap();
    world.policy = rolled("m");
    let chosen = json!({"model": "chosen", "input": "1"});
    let answer = world.ask(&chosen, "", NOW).unwrap();
    assert_eq!(header(&answer, "brink-items"), "hit=1");
    let told: Value = serde_json::from_slice(&answer.reply.body).unwrap();
    assert_eq!(told["model"], "m", "the model that answered");

    world.policy = rolled("n");
    let answer = world.ask(&chosen, "", NOW).unwrap();
    assert_eq!(header(&answer, "brink-items"), "miss=1");
    world.policy = rolled("m");
    let answer = world.ask(&chosen, "", NOW).unwrap();
    assert_eq!(header(&answer, "brink-items"), "hit=1", "and rolled back");

    world.policy = rolled("gone");
    let error = world.ask(&chosen, "", NOW).unwrap_err();
    assert_eq!(error.code, "model_not_found");
    assert!(error.message.contains("gone"), "{}", error.message);
}
