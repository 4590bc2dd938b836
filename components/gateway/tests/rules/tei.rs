//! The routes of text-embeddings-inference, all the way.

use std::sync::Arc;

use brink_cache::{Policy, UnixSeconds};
use brink_gateway::error::ApiError;
use brink_gateway::error_form::ErrorForm;
use brink_gateway::hit::{Begun, Settled};
use brink_gateway::in_force::{Deployment, InForce, KnownMarks, Tenancy};
use brink_gateway::items::Answer;
use brink_gateway::reply::Reply;
use brink_gateway::tokenize;
use brink_protocol::{Fault, FaultCode, Input, Token};
use serde_json::{Value, json};

use crate::world::{At, NOW, World, begin, begun, begun_reply, header, json_of, policy};

fn post(world: &mut World, path: &str, body: &Value) -> Result<Answer, ApiError> {
    world.send(&format!("POST {path}"), body.to_string().as_bytes(), NOW)
}

fn with_default(name: &str) -> Arc<InForce> {
    let policy = Policy::parse("version = 1\n[[rule]]\nname = \"a\"\nfresh = \"1m\"").unwrap();
    let deployment = Deployment {
        default_model: name.to_owned(),
        ..Deployment::default()
    };
    let in_force = InForce::new(policy, KnownMarks::default(), Tenancy::Open);
    Arc::new(in_force.in_deployment(deployment))
}

#[test]
fn vectors_are_told_bare_and_shared_with_the_other_forms() {
    let mut world = World::default();
    world
        .ask(&json!({"model": "m", "input": ["7"]}), "", NOW)
        .unwrap();
    let body = json!({"inputs": ["7", "8", "7"]});
    let answer = post(&mut world, "/embed", &body).unwrap();
    assert_eq!(
        json_of(&answer.reply),
        json!([[7.0, 1.0], [8.0, 1.0], [7.0, 1.0]])
    );
    assert_eq!(header(&answer, "brink-items"), "hit=2, miss=1");
    let short = json!({"inputs": "7", "dimensions": 1, "normalize": true, "truncate": false, "prompt_name": null,
        "truncation_direction": "Right", "model": "m"});
    let answer = post(&mut world, "/embed", &short).unwrap();
    assert_eq!(
        json_of(&answer.reply),
        json!([[1.0]]),
        "of length one again"
    );
    assert_eq!(header(&answer, "brink-items"), "hit=1");
    let ids = json!({"inputs": [[1, 2], [3]]});
    let pending = begin(&world.policy, "POST /embed", ids.to_string().as_bytes()).unwrap();
    assert_eq!(pending.keys().count(), 2);
}

#[test]
fn similarity_is_the_cosine_of_stored_vectors() {
    let mut world = World::default();
    // Vectors of these tests are (number, 1).
    let body = json!({"inputs": {"source_sentence": "0", "sentences": ["0", "1", "-1"]},
        "parameters": {"truncate": false}});
    let answer = post(&mut world, "/similarity", &body).unwrap();
    let told: Vec<f64> = serde_json::from_value(json_of(&answer.reply)).unwrap();
    let root = std::f64::consts::FRAC_1_SQRT_2;
    let expected = [1.0, root, root];
    assert_eq!(told.len(), expected.len());
    assert!(
        told.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6),
        "{told:?}"
    );
    assert_eq!(header(&answer, "brink-items"), "miss=3, collapsed=1");
    let answer = post(&mut world, "/embed", &json!({"inputs": ["0", "-1"]})).unwrap();
    assert_eq!(header(&answer, "brink-items"), "hit=2");
}

#[test]
fn predictions_are_a_list_for_one_text_and_lists_for_a_list() {
    let mut world = World::default();
    let dog = json!([{"label": "dog", "score": 0.5}, {"label": "cat", "score": 0.25}, {"label": "owl", "score": 0.25}]);
    for (inputs, expected) in [
        (json!("a"), dog.clone()),
        (json!(["a"]), dog.clone()),
        (json!([["a"]]), json!([dog])),
        (json!([["a"], ["b"]]), json!([dog, dog])),
    ] {
        let answer = post(&mut world, "/predict", &json!({"inputs": inputs})).unwrap();
        assert_eq!(json_of(&answer.reply), expected, "{inputs}");
    }
    let classify = json!({"model": "topic", "input": ["a", "b"]});
    let answer = world
        .send("POST /v1/classify", classify.to_string().as_bytes(), NOW)
        .unwrap();
    assert_eq!(header(&answer, "brink-items"), "hit=2");
}

#[test]
fn the_model_is_the_first_that_serves_or_the_chosen_one_or_the_named_one() {
    let model_of = |in_force: &Arc<InForce>, path: &str, body: Value| {
        let pending = begin(
            in_force,
            &format!("POST {path}"),
            body.to_string().as_bytes(),
        );
        match pending?.settle(&mut World::default(), &At(NOW)) {
            Ok(Settled::Missing(missing)) => Ok(missing
                .upstream_call("id", std::time::Duration::ZERO)
                .whole()
                .model),
            other => panic!("{other:?}"),
        }
    };
    let check = |chosen: &str, path: &str, body: Value, expected: Result<&str, u16>| {
        let found = model_of(&with_default(chosen), path, body)
            .map_err(|error: ApiError| error.status.as_u16());
        assert_eq!(
            found.as_deref(),
            expected.as_ref().map(|name| *name),
            "{chosen} {path}"
        );
    };
    let text = || json!({"inputs": "a"});
    check("", "/embed", text(), Ok("m"));
    check("n", "/embed", text(), Ok("n"));
    check("n", "/predict", text(), Ok("topic"));
    check("eye", "/predict", text(), Ok("topic"));
    check("nobody", "/embed", text(), Err(404));
    check("n", "/embed", json!({"inputs": "a", "model": "m"}), Ok("m"));
    check(
        "",
        "/embed",
        json!({"inputs": "a", "model": "topic"}),
        Err(400),
    );
    check(
        "",
        "/predict",
        json!({"inputs": "a", "model": "eye"}),
        Err(400),
    );
    check(
        "",
        "/embed",
        json!({"inputs": "a", "model": "nobody"}),
        Err(404),
    );
}

fn refused(path: &str, body: &Value, param: &str, part: &str) {
    let error = post(&mut World::default(), path, body).unwrap_err();
    assert_eq!(error.param.as_deref(), Some(param), "{body}");
    assert!(error.message.contains(part), "{}", error.message);
    let reply = Reply::of_error(&error, ErrorForm::of(path));
    let is_many = error.code == ApiError::TOO_MANY_INPUTS;
    assert_eq!(reply.status.as_u16(), if is_many { 413 } else { 422 });
    assert_eq!(json_of(&reply)["error_type"], "Validation");
}

#[test]
fn mistakes_in_bodies_of_embed_name_the_member() {
    let check = |body: Value, param: &str, part: &str| refused("/embed", &body, param, part);
    check(json!({}), "inputs", "missing");
    check(json!({"inputs": []}), "inputs", "empty");
    check(json!({"inputs": ["a", ""]}), "inputs[1]", "empty");
    check(json!({"inputs": vec!["a"; 2049]}), "inputs", "2048");
    check(json!({"inputs": [[100]]}), "inputs[0]", "below 100");
    let with = |name: &str, value: Value| json!({"inputs": "a", name: value});
    check(with("normalize", json!(false)), "normalize", "length one");
    check(with("prompt_name", json!("q")), "prompt_name", "prompts");
    check(
        with("truncation_direction", json!("Left")),
        "truncation_direction",
        "Right",
    );
    check(with("dimensions", json!(3)), "dimensions", "has 2");
    check(with("dimensions", json!(0)), "dimensions", "0");
    check(with("stream", json!(true)), "stream", "unknown");
}

#[test]
fn mistakes_in_other_bodies_name_the_member() {
    let compared = |sentences: Value| {
        let body = json!({"inputs": {"source_sentence": "a", "sentences": sentences}});
        move |param: &str, part: &str| refused("/similarity", &body, param, part)
    };
    compared(json!([]))("inputs.sentences", "empty");
    compared(json!(["a", ""]))("inputs.sentences[1]", "empty");
    compared(json!(vec!["a"; 2048]))("inputs", "2048");
    let predicted = |inputs: Value, part: &str| {
        refused("/predict", &json!({"inputs": inputs}), "inputs", part);
    };
    predicted(json!(["a", "b"]), "pair");
    let list = json!({"inputs": [["a", "b"]]});
    refused("/predict", &list, "inputs[0]", "pair");
    predicted(json!(1), "expected a string or a list of lists");
    predicted(json!([["a"], "b"]), "beside");
    let raw = json!({"inputs": "a", "raw_scores": true});
    refused("/predict", &raw, "raw_scores", "probabilities");
    refused("/tokenize", &json!({"inputs": [1]}), "inputs", "token ids");
}

#[test]
fn what_no_model_here_can_do_is_said() {
    for path in ["/embed_all", "/embed_sparse", "/rerank", "/decode"] {
        let error = begun_reply(&format!("POST {path}"), b"{}").unwrap_err();
        let reply = Reply::of_error(&error, ErrorForm::of(path));
        assert_eq!(reply.status.as_u16(), 424, "{path}");
        assert_eq!(json_of(&reply)["error_type"], "Backend");
    }
}

#[test]
fn the_model_behind_the_routes_is_told() {
    let info = json_of(&begun_reply("GET /info", b"").unwrap());
    assert_eq!(info["model_id"], "m");
    assert_eq!(info["model_type"], json!({"embedding": {"pooling": null}}));
    assert_eq!(
        (&info["max_input_length"], &info["max_client_batch_size"]),
        (&json!(8), &json!(2048))
    );
    let Ok(Begun::Answered(reply)) = begun(&with_default("topic"), "GET /info", b"") else {
        panic!("it needs no entry");
    };
    let info = json_of(&reply);
    assert_eq!(info["model_type"]["classifier"]["id2label"]["1"], "dog");
    assert_eq!(info["model_type"]["classifier"]["label2id"]["owl"], 2);
    for path in ["/health", "/ping"] {
        assert_eq!(
            begun_reply(&format!("GET {path}"), b"")
                .unwrap()
                .status
                .as_u16(),
            200
        );
    }
}

#[test]
fn texts_go_to_the_hosts_tokenizer_and_its_answer_comes_back() {
    let asked = |body: Value| match begun(
        &Arc::default(),
        "POST /tokenize",
        body.to_string().as_bytes(),
    ) {
        Ok(Begun::Tokenize(asked)) => Ok(asked.call("id")),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.status.as_u16()),
    };
    let call = asked(json!({"inputs": ["a", "b"]})).unwrap();
    assert_eq!(
        (
            call.model.as_str(),
            call.texts.len(),
            call.add_special_tokens
        ),
        ("m", 2, true)
    );
    let call =
        asked(json!({"inputs": "a", "model": "topic", "add_special_tokens": false})).unwrap();
    assert_eq!(
        (call.model.as_str(), call.add_special_tokens),
        ("topic", false)
    );
    assert_eq!(asked(json!({"inputs": "a", "model": "eye"})), Err(400));
    assert_eq!(asked(json!({"inputs": "a", "model": "nobody"})), Err(404));

    let token = Token {
        id: 7,
        text: "a".to_owned(),
        special: false,
        start: Some(0),
        stop: None,
    };
    let reply = tokenize::reply(Ok(vec![vec![token.clone()]]), 1).unwrap();
    assert_eq!(
        json_of(&reply),
        json!([[{"id": 7, "text": "a", "special": false, "start": 0, "stop": null}]])
    );
    let fits =
        |count| tokenize::reply(Ok(vec![vec![token.clone()]]), count).map(|reply| reply.status);
    assert_eq!(fits(2).unwrap_err().status.as_u16(), 502);
    let fault = Fault {
        code: FaultCode::BadRequest,
        message: "too long".to_owned(),
        item: Some(1),
        retry_after_ms: None,
    };
    assert_eq!(
        tokenize::reply(Err(fault), 2).unwrap_err().param.as_deref(),
        Some("inputs[1]")
    );
}

#[test]
fn rules_are_asked_about_the_route_and_an_error_names_the_input() {
    let mut world =
        World::under("match.route = \"/embed\"\nfresh = \"1h\"\nnegative = { 400 = \"1m\" }");
    let body = json!({"inputs": ["1", "2"]});
    let pending = begin(&world.policy, "POST /embed", body.to_string().as_bytes()).unwrap();
    let Ok(Settled::Missing(missing)) = pending.settle(&mut world, &At(NOW)) else {
        panic!("nothing is stored");
    };
    let fault = Fault {
        code: FaultCode::InputTooLong,
        message: "9 tokens".to_owned(),
        item: Some(1),
        retry_after_ms: None,
    };
    assert_eq!(
        missing.error(fault.clone()).param.as_deref(),
        Some("inputs[1]")
    );
    world.keep(&[missing.negative(1, &fault, &At(NOW)).unwrap()]);
    let later = UnixSeconds(NOW.0 + 5);
    let again = world
        .send("POST /embed", body.to_string().as_bytes(), later)
        .unwrap_err();
    let reply = Reply::of_error(&again, ErrorForm::Tei);
    assert_eq!(
        (reply.status.as_u16(), reply.header("age")),
        (422, Some("5"))
    );
    assert_eq!(json_of(&reply)["error"], "inputs[1]: 9 tokens");

    world.policy = policy("match.route = \"/predict\"\nfresh = \"1h\"");
    let answer = post(&mut world, "/embed", &json!({"inputs": "1"})).unwrap();
    assert_eq!(header(&answer, "brink-items"), "bypass=1");
    assert_eq!(world.computed, [Input::Text("1".to_owned())]);
}
