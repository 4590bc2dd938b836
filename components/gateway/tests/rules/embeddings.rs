//! The whole way of an embeddings request.

use std::collections::HashSet;
use std::sync::Arc;

use brink_cache::{Entry, ModelDigest, Outcome, UnixSeconds};
use brink_gateway::head::Head;
use brink_gateway::hit::{self, Known, Settled};
use brink_gateway::items::{Fetched, Prefixes};
use brink_protocol::{Catalog, InferAnswer, InferredItem, Timings};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::{
    At, NOW, World, catalog, first_elements, head, header, missing, pending, vector,
};

proptest! {
    /// Whatever is stored and whatever repeats: every vector comes back at its own index, and the
    /// host computes exactly the distinct texts that were not stored.
    #[test]
    fn every_vector_is_at_its_own_index(warm in prop::collection::vec(1u8..30, 0..20), asked in prop::collection::vec(1u8..30, 1..40)) {
        let mut world = World::default();
        let texts = |numbers: &[u8]| -> Vec<String> { numbers.iter().map(u8::to_string).collect() };
        if !warm.is_empty() {
            world.ask(&json!({"model": "m", "input": texts(&warm)}), "", NOW).unwrap();
        }
        world.computed.clear();
        let answer = world.ask(&json!({"model": "m", "input": texts(&asked)}), "", NOW).unwrap();

        let expected: Vec<f64> = asked.iter().map(|number| f64::from(*number)).collect();
        prop_assert_eq!(first_elements(&answer), expected);
        let warm: HashSet<_> = warm.iter().collect();
        let cold: HashSet<_> = asked.iter().filter(|number| !warm.contains(number)).collect();
        prop_assert_eq!(world.computed.len(), cold.len());
    }
}

#[test]
fn a_request_is_answered_as_openai_defines_it() {
    let mut world = World::default();
    let answer = world
        .ask(&json!({"model": "m", "input": ["7", "8", "7"]}), "", NOW)
        .unwrap();
    let body: Value = serde_json::from_slice(&answer.reply.body).unwrap();
    assert_eq!(
        body,
        json!({
            "object": "list",
            "data": [
                {"object": "embedding", "index": 0, "embedding": [7.0, 1.0]},
                {"object": "embedding", "index": 1, "embedding": [8.0, 1.0]},
                {"object": "embedding", "index": 2, "embedding": [7.0, 1.0]},
            ],
            "model": "m",
            "usage": {"prompt_tokens": 9, "total_tokens": 9},
        })
    );
    assert_eq!(header(&answer, "brink-items"), "miss=2, collapsed=1");
    assert_eq!(
        header(&answer, "cache-status"),
        "brink-host; fwd=miss, brink-edge; fwd=miss; stored"
    );
    assert_eq!(header(&answer, "age"), "");
}

#[test]
fn hits_tell_their_age_and_what_is_left() {
    let mut world = World::default();
    world
        .ask(&json!({"model": "m", "input": "7"}), "", NOW)
        .unwrap();
    let later = UnixSeconds(NOW.0 + 40);
    let answer = world
        .ask(&json!({"model": "m", "input": "7"}), "", later)
        .unwrap();
    assert_eq!(header(&answer, "cache-status"), "brink-edge; hit; ttl=60");
    assert_eq!(header(&answer, "age"), "40");
    assert_eq!(header(&answer, "brink-items"), "hit=1");

    let expired = UnixSeconds(NOW.0 + 100);
    let answer = world
        .ask(&json!({"model": "m", "input": "7"}), "", expired)
        .unwrap();
    assert_eq!(header(&answer, "brink-items"), "stale=1");
    assert_eq!(world.computed.len(), 2);
}

#[test]
fn form_of_the_answer_does_not_split_entries() {
    let mut world = World::default();
    world
        .ask(&json!({"model": "m", "input": "7"}), "", NOW)
        .unwrap();
    for body in [
        json!({"model": "m", "input": ["7"], "encoding_format": "base64"}),
        json!({"user": "u", "input": "7", "model": "m", "dimensions": 1}),
    ] {
        world.ask(&body, "", NOW).unwrap();
    }
    assert_eq!(world.computed.len(), 1);
}

#[test]
fn request_directives_are_obeyed() {
    let mut world = World::default();
    let body = json!({"model": "m", "input": "7"});
    let refused = world.ask(&body, "only-if-cached", NOW).unwrap_err();
    assert_eq!(refused.status, 504);

    world.ask(&body, "no-store", NOW).unwrap();
    assert!(world.store.is_empty());

    world.ask(&body, "", NOW).unwrap();
    let answer = world.ask(&body, "no-cache", NOW).unwrap();
    assert_eq!(header(&answer, "brink-items"), "bypass=1");
    assert_eq!(world.computed.len(), 3);
    assert!(world.ask(&body, "only-if-cached", NOW).is_ok());
}

#[test]
fn what_is_no_entry_is_a_miss_and_replaced() {
    let body = json!({"model": "m", "input": "7"});
    let good = {
        let mut world = World::default();
        world.ask(&body, "", NOW).unwrap().store[0].bytes.clone()
    };
    let mut other_model = Entry::decode(good.clone().into()).unwrap();
    other_model.meta.model_digest = ModelDigest([9; 32]);
    let mut not_finite = Entry::decode(good.clone().into()).unwrap();
    not_finite.body = vec![0xff; 8].into();
    for bytes in [
        b"nonsense".to_vec(),
        good[..good.len() - 1].to_vec(),
        other_model.encode(),
        not_finite.encode(),
    ] {
        let mut world = World::default();
        let key = *pending(&body, "").keys().next().unwrap();
        world.store.insert(key, bytes);
        let answer = world.ask(&body, "", NOW).unwrap();
        assert_eq!(header(&answer, "brink-items"), "broken=1");
        assert_eq!(first_elements(&answer), [7.0]);
        assert_eq!(world.store[&key], good);
    }
}

#[test]
fn failing_store_is_bypassed() {
    let mut world = World::default();
    let body = json!({"model": "m", "input": ["7", "8"]});
    let answer = world
        .compute(missing(&body, &Fetched::Failed), NOW)
        .unwrap();
    assert_eq!(header(&answer, "brink-items"), "store-error=2");
    assert!(header(&answer, "cache-status").contains("brink-edge; fwd=bypass"));
}

#[test]
fn host_that_answers_nonsense_stores_nothing() {
    let check = |items: Vec<Vec<u8>>| {
        let body = json!({"model": "m", "input": ["7", "8"]});
        let missing = missing(&body, &Fetched::Absent);
        let item = |vector: Vec<u8>| InferredItem {
            output: vector.into(),
            tokens: 1,
            cost_us: 1,
            outcome: Outcome::Miss,
        };
        let upstream = InferAnswer {
            items: items.into_iter().map(item).collect(),
            timings: Timings::default(),
            model_time: None,
        };
        let error = missing.complete(upstream, &At(NOW)).unwrap_err();
        assert_eq!(error.status, 502);
    };
    check(vec![vector("7")]);
    check(vec![vector("7"), vector("8"), vector("9")]);
    check(vec![vector("7"), vec![0; 12]]);
    check(vec![vector("7"), f32::NAN.to_le_bytes().repeat(2)]);
}

#[test]
fn index_of_a_fault_is_the_clients_own() {
    let mut world = World::default();
    world
        .ask(&json!({"model": "m", "input": ["a"]}), "", NOW)
        .unwrap();
    let body = json!({"model": "m", "input": ["a", "b", "b", "c"]});
    let Ok(Settled::Missing(missing)) = pending(&body, "").settle(&mut world, &At(NOW)) else {
        panic!("b and c are missing");
    };
    assert_eq!(missing.input_index(0), Some(1));
    assert_eq!(missing.input_index(1), Some(3));
    assert_eq!(missing.input_index(2), None);
}

#[test]
fn only_complete_hits_are_answered_at_once() {
    let mut world = World::default();
    let body = json!({"model": "m", "input": "7"});
    let answer =
        |world: &mut World, control: &str, body: &Value, catalog: Option<&Arc<Catalog>>| {
            let head = head(control);
            let known = Known {
                catalog,
                prefixes: &Prefixes::default(),
                in_force: &Arc::default(),
                max_body_bytes: 100,
            };
            let head = Head::parse(head.as_bytes()).unwrap();
            let body = body.to_string();
            hit::answer(
                &head,
                Bytes::copy_from_slice(body.as_bytes()),
                known,
                world,
                &At(NOW),
            )
            .map(|reply| reply.map(|reply| reply.body))
            .map_err(|error| error.status.as_u16())
        };
    let catalog = catalog();
    assert_eq!(answer(&mut world, "", &body, Some(&catalog)), Ok(None));
    let computed = world.ask(&body, "", NOW).unwrap().reply.body;
    assert_eq!(
        answer(&mut world, "", &body, Some(&catalog)),
        Ok(Some(computed))
    );
    assert_eq!(answer(&mut world, "", &body, None), Ok(None));
    assert_eq!(
        answer(&mut world, "no-cache", &body, Some(&catalog)),
        Ok(None)
    );
    let other = json!({"model": "m", "input": "8"});
    assert_eq!(
        answer(&mut world, "only-if-cached", &other, Some(&catalog)),
        Err(504)
    );
    let large = json!({"model": "m", "input": "7".repeat(100)});
    assert_eq!(answer(&mut world, "", &large, Some(&catalog)), Err(413));
    let wrong = json!({"model": "m", "input": ""});
    assert_eq!(answer(&mut world, "", &wrong, None), Err(400));
}
