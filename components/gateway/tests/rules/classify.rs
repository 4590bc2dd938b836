//! The whole way of a request for classifications.

use base64_simd::STANDARD;
use brink_gateway::error::ApiError;
use brink_gateway::items::Answer;
use brink_protocol::Input;
use serde_json::{Value, json};

use crate::world::{NOW, World, header, json_of, policy};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n....";

fn ask(world: &mut World, body: &Value) -> Result<Answer, ApiError> {
    let head = "POST /v1/classify\ncontent-type: application/json";
    world.send(head, body.to_string().as_bytes(), NOW)
}

#[test]
fn labels_are_told_with_their_scores_the_best_first() {
    let mut world = World::default();
    let body = json!({"model": "topic", "input": ["a", "bb", "c"], "top_k": 2});
    let answer = ask(&mut world, &body).unwrap();
    let dog = json!([{"label": "dog", "score": 0.5}, {"label": "cat", "score": 0.25}]);
    let item = |index, label: &str, top: &Value| json!({"object": "classification", "index": index, "label": label, "score": 0.5, "top": top});
    let owl = json!([{"label": "owl", "score": 0.5}, {"label": "cat", "score": 0.25}]);
    assert_eq!(
        json_of(&answer.reply),
        json!({
            "object": "list",
            "data": [item(0, "dog", &dog), item(1, "owl", &owl), item(2, "dog", &dog)],
            "model": "topic",
            "usage": {"prompt_tokens": 9, "total_tokens": 9},
        })
    );
    assert_eq!(header(&answer, "brink-items"), "miss=3");
}

#[test]
fn how_many_labels_are_told_never_splits_entries() {
    let mut world = World::default();
    let body = |top_k: u64| json!({"model": "topic", "input": ["a"], "top_k": top_k});
    let told = |answer: &Answer| {
        json_of(&answer.reply)["data"][0]["top"]
            .as_array()
            .map(Vec::len)
    };
    assert_eq!(told(&ask(&mut world, &body(1)).unwrap()), Some(1));
    let all = ask(&mut world, &body(1000)).unwrap();
    assert_eq!(
        (told(&all), header(&all, "brink-items")),
        (Some(3), "hit=1")
    );
    assert_eq!(world.computed.len(), 1);
}

#[test]
fn a_picture_is_one_item_however_it_was_sent() {
    let mut world = World::default();
    let base64 = STANDARD.encode_to_string(PNG);
    let url = format!("data:image/png;base64,{base64}");
    let both = json!({"model": "eye", "input": [base64, url]});
    let answer = ask(&mut world, &both).unwrap();
    assert_eq!(header(&answer, "brink-items"), "miss=1, collapsed=1");
    let raw = "POST /v1/classify?model=eye\ncontent-type: image/png";
    let answer = world.send(raw, PNG, NOW).unwrap();
    assert_eq!(header(&answer, "brink-items"), "hit=1");
    assert_eq!(world.computed, [Input::Blob(PNG.into())]);
}

#[test]
fn rules_are_asked_about_the_route_and_the_task() {
    let body = json!({"model": "topic", "input": "a"});
    for (rule, expected) in [
        ("match.task = \"classify\"\nfresh = \"1m\"", "miss=1"),
        ("match.route = \"/v1/classify\"\nfresh = \"1m\"", "miss=1"),
        ("match.task = \"embed\"\nfresh = \"1m\"", "bypass=1"),
        (
            "match.route = \"/v1/embeddings\"\nfresh = \"1m\"",
            "bypass=1",
        ),
    ] {
        let mut world = World::under(rule);
        let answer = ask(&mut world, &body).unwrap();
        assert_eq!(header(&answer, "brink-items"), expected, "{rule}");
    }
}

#[test]
fn texts_are_normalised_and_cut_as_the_request_and_the_policy_say() {
    let mut world = World::under("fresh = \"1m\"\nnormalise = [\"trim\"]\nkey_fields = []");
    ask(&mut world, &json!({"model": "topic", "input": " a "})).unwrap();
    let cut = json!({"model": "topic", "input": "a", "truncate": true});
    let answer = ask(&mut world, &cut).unwrap();
    assert_eq!(
        header(&answer, "brink-items"),
        "hit=1",
        "truncate is no key field"
    );
    world.policy = policy("fresh = \"1m\"");
    let answer = ask(&mut world, &cut).unwrap();
    assert_eq!(header(&answer, "brink-items"), "miss=1");
}

#[test]
fn only_as_many_finite_scores_as_labels_are_a_result() {
    let body = json!({"model": "topic", "input": "a"});
    let mut world = World::default();
    let entry = ask(&mut world, &body).unwrap().store.remove(0);
    for scores in [[0.5f32; 3].as_slice(), &[0.5; 2], &[0.5; 4], &[f32::NAN; 3]] {
        let mut stored = brink_cache::Entry::decode(entry.bytes.clone().into()).unwrap();
        let bytes: Vec<u8> = scores
            .iter()
            .flat_map(|score| score.to_le_bytes())
            .collect();
        stored.body = bytes.into();
        world.store.insert(entry.key, stored.encode());
        let expected = match scores.len() == 3 && scores[0].is_finite() {
            true => "hit=1",
            false => "broken=1",
        };
        let answer = ask(&mut world, &body).unwrap();
        assert_eq!(header(&answer, "brink-items"), expected, "{scores:?}");
    }
}

#[test]
fn models_of_another_task_are_refused_with_theirs() {
    let mut world = World::default();
    let error = ask(&mut world, &json!({"model": "m", "input": "a"})).unwrap_err();
    assert_eq!(
        (error.status.as_u16(), error.param.as_deref()),
        (400, Some("model"))
    );
    assert!(
        error.message.contains("its task is embed"),
        "{}",
        error.message
    );
    let error = world
        .ask(&json!({"model": "topic", "input": "a"}), "", NOW)
        .unwrap_err();
    assert!(
        error.message.contains("its task is classify"),
        "{}",
        error.message
    );
    let error = ask(&mut world, &json!({"model": "nobody", "input": "a"})).unwrap_err();
    assert_eq!(error.status.as_u16(), 404);
}
