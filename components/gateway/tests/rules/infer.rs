//! The whole way of a request of the Open Inference Protocol.

use brink_gateway::error::ApiError;
use brink_gateway::error_form::ErrorForm;
use brink_gateway::forms::infer::HEADER_LENGTH;
use brink_gateway::hit::Settled;
use brink_gateway::items::Answer;
use brink_gateway::reply::Reply;
use brink_protocol::tensor::Tensor;
use brink_protocol::{Fault, FaultCode, Input};
use serde_json::{Value, json};
use std::time::Duration;

use crate::world::{At, NOW, World, begin, begun_reply, header, json_of};

fn post(world: &mut World, path: &str, body: &Value) -> Result<Answer, ApiError> {
    world.send(&format!("POST {path}"), body.to_string().as_bytes(), NOW)
}

fn generic(x: &Value, y: &Value) -> Value {
    json!({"inputs": [
        {"name": "y", "shape": [x.as_array().unwrap().len(), 2], "datatype": "INT32", "data": y},
        {"name": "x", "shape": [x.as_array().unwrap().len(), 3], "datatype": "FP32", "data": x},
    ]})
}

/// The JSON of an answer and the bytes behind it.
fn split(reply: &Reply) -> (Value, Vec<u8>) {
    let length: usize = reply.header(HEADER_LENGTH).unwrap().parse().unwrap();
    let (json, tail) = reply.body.split_at(length);
    (serde_json::from_slice(json).unwrap(), tail.to_vec())
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (elements, rest) = bytes.as_chunks();
    assert!(rest.is_empty());
    elements
        .iter()
        .map(|one| f32::from_le_bytes(*one))
        .collect()
}

const GENERIC: &str = "/v2/models/generic/infer";

#[test]
fn of_a_batch_only_the_rows_that_are_not_known_are_computed() {
    let mut world = World::default();
    let first = generic(&json!([[1, 2, 3], [4, 5, 6]]), &json!([[7, 8], [9, 10]]));
    let answer = post(&mut world, GENERIC, &first).unwrap();
    assert_eq!(header(&answer, "brink-items"), "miss=2");
    assert_eq!(
        json_of(&answer.reply),
        json!({"model_name": "generic", "model_version": "1", "outputs": [
            {"name": "sum", "datatype": "FP32", "shape": [2, 1], "data": [6.0, 15.0]},
            {"name": "echo", "datatype": "INT32", "shape": [2, 2], "data": [7, 8, 9, 10]},
        ]})
    );
    world.computed.clear();
    let x = json!([[4, 5, 6], [0, 0, 1], [1, 2, 3], [0, 0, 1]]);
    let y = json!([[9, 10], [0, 0], [7, 8], [0, 0]]);
    let answer = post(&mut world, GENERIC, &generic(&x, &y)).unwrap();
    assert_eq!(header(&answer, "brink-items"), "hit=2, miss=1, collapsed=1");
    let told = json_of(&answer.reply);
    assert_eq!(told["outputs"][0]["data"], json!([15.0, 1.0, 6.0, 1.0]));
    assert_eq!(told["outputs"][1]["data"], json!([9, 10, 0, 0, 7, 8, 0, 0]));
    let [Input::Tensors(row)] = &world.computed[..] else {
        panic!("{:?}", world.computed);
    };
    let names: Vec<_> = row.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names, ["x", "y"], "in the order of the model");
}

#[test]
fn what_the_official_client_sends_is_understood() {
    let mut world = World::default();
    let binary = include_bytes!("../fixtures/tritonclient/binary.bin");
    let head = "POST /v2/models/generic/infer\ninference-header-content-length: 248";
    let answer = world.send(head, binary, NOW).unwrap();
    let (told, tail) = split(&answer.reply);
    assert_eq!(
        told,
        json!({"model_name": "generic", "model_version": "1", "id": "r1", "outputs": [
            {"name": "sum", "datatype": "FP32", "shape": [2, 1], "parameters": {"binary_data_size": 8}},
        ]})
    );
    assert_eq!(floats(&tail), [2.5, 15.25]);
    assert_eq!(
        answer.reply.header("content-type"),
        Some("application/octet-stream")
    );

    let json = include_bytes!("../fixtures/tritonclient/json.bin");
    let head = "POST /v2/models/generic/versions/1/infer";
    let answer = world.send(head, json, NOW).unwrap();
    assert_eq!(
        header(&answer, "brink-items"),
        "hit=2",
        "numbers are numbers in either form"
    );
    assert_eq!(
        json_of(&answer.reply)["outputs"][0]["data"],
        json!([2.5, 15.25])
    );

    let mixed = include_bytes!("../fixtures/tritonclient/mixed.bin");
    let head = "POST /v2/models/generic/infer\ninference-header-content-length: 216";
    let answer = world.send(head, mixed, NOW).unwrap();
    assert_eq!(header(&answer, "brink-items"), "hit=2");
    let (told, tail) = split(&answer.reply);
    assert_eq!(told["outputs"][1]["parameters"]["binary_data_size"], 16);
    assert_eq!(tail.len(), 24);
}

#[test]
fn compressed_bodies_and_strings_of_the_official_client_are_understood() {
    let mut world = World::default();
    let text = include_bytes!("../fixtures/tritonclient/text.bin");
    let head = "POST /v2/models/m/infer\ninference-header-content-length: 137";
    let answer = world.send(head, text, NOW).unwrap();
    let (told, tail) = split(&answer.reply);
    assert_eq!(told["outputs"][0]["shape"], json!([2, 2]));
    assert_eq!(floats(&tail), [5.0, 1.0, 5.0, 1.0]);
    for (coding, body) in [
        (
            "gzip",
            &include_bytes!("../fixtures/tritonclient/gzip.bin")[..],
        ),
        (
            "deflate",
            include_bytes!("../fixtures/tritonclient/deflate.bin"),
        ),
    ] {
        let head = format!("{head}\ncontent-encoding: {coding}");
        let answer = world.send(&head, body, NOW).unwrap();
        assert_eq!(header(&answer, "brink-items"), "hit=2", "{coding}");
    }
    let json = include_bytes!("../fixtures/tritonclient/text_json.bin");
    let answer = world.send("POST /v2/models/m/infer", json, NOW).unwrap();
    assert_eq!(header(&answer, "brink-items"), "hit=1, miss=1");
    assert_eq!(world.computed[2], Input::Text("w\u{f6}rld".to_owned()));
}

#[test]
fn classes_are_told_as_score_place_and_label() {
    let mut world = World::default();
    let classes = include_bytes!("../fixtures/tritonclient/classes.bin");
    let head = "POST /v2/models/topic/infer\ninference-header-content-length: 253";
    let pending = begin(&world.policy, head, classes).unwrap();
    let Settled::Missing(missing) = pending.settle(&mut world, &At(NOW)).unwrap() else {
        panic!("nothing is stored");
    };
    let call = missing.upstream_call("id", Duration::from_secs(30)).whole();
    assert_eq!((call.urgency, call.timeout_ms), (1, 5000));
    let answer = world.compute(*missing, NOW).unwrap();
    let (told, tail) = split(&answer.reply);
    let output = &told["outputs"][0];
    assert_eq!(
        (&output["datatype"], &output["shape"]),
        (&json!("BYTES"), &json!([2, 2]))
    );
    let tensor = Tensor {
        name: String::new(),
        datatype: brink_protocol::tensor::Datatype::Bytes,
        shape: vec![2, 2],
        data: tail.into(),
    };
    let strings: Vec<_> = tensor.strings().map(Result::unwrap).collect();
    let row = [&b"0.500000:2:owl"[..], b"0.250000:0:cat"];
    assert_eq!(strings, [row, row].concat());
}

#[test]
fn one_item_has_one_entry_whatever_form_it_is_asked_in() {
    let mut world = World::default();
    world
        .ask(&json!({"model": "m", "input": ["7", "8"]}), "", NOW)
        .unwrap();
    let texts = |name: &str, data: Value| json!({"inputs": [{"name": name, "shape": [2], "datatype": "BYTES", "data": data}]});
    let body = texts("text", json!(["8", "7"]));
    let answer = post(&mut world, "/v2/models/m/infer", &body).unwrap();
    assert_eq!(header(&answer, "brink-items"), "hit=2");
    assert_eq!(
        json_of(&answer.reply)["outputs"][0]["data"],
        json!([8.0, 1.0, 7.0, 1.0])
    );

    let classify = json!({"model": "magic", "input": ["QUJD", "RA=="]});
    world
        .send("POST /v1/classify", classify.to_string().as_bytes(), NOW)
        .unwrap();
    let body = texts("file", json!(["ABC", "D"]));
    let answer = post(&mut world, "/v2/models/magic/infer", &body).unwrap();
    assert_eq!(header(&answer, "brink-items"), "hit=2");
    assert_eq!(json_of(&answer.reply)["outputs"][0]["shape"], json!([2, 3]));
}

#[test]
fn a_version_is_a_model_of_its_own_and_the_first_one_is_the_default() {
    let mut world = World::default();
    let body =
        json!({"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["7"]}]});
    let outcome = |world: &mut World, path: &str| {
        let answer = post(world, path, &body).unwrap();
        let version = json_of(&answer.reply)["model_version"].clone();
        (header(&answer, "brink-items").to_owned(), version)
    };
    let is = |outcome: &str, version: &str| (outcome.to_owned(), json!(version));
    assert_eq!(outcome(&mut world, "/v2/models/m/infer"), is("miss=1", "1"));
    assert_eq!(
        outcome(&mut world, "/v2/models/m/versions/1/infer"),
        is("hit=1", "1")
    );
    assert_eq!(
        outcome(&mut world, "/v2/models/m/versions/2/infer"),
        is("miss=1", "2")
    );
    assert_eq!(
        outcome(&mut world, "/v2/models/m/versions/2/infer"),
        is("hit=1", "2")
    );
    let error = post(&mut world, "/v2/models/m/versions/3/infer", &body).unwrap_err();
    assert_eq!(error.status.as_u16(), 404);
    assert!(error.message.contains("it has 1, 2"), "{}", error.message);
}

#[test]
fn a_model_without_batches_is_asked_for_one_item() {
    let mut world = World::default();
    let body = json!({"inputs": [
        {"name": "x", "shape": [3], "datatype": "FP32", "data": [1, 2, 3]},
        {"name": "y", "shape": [4], "datatype": "INT32", "data": [1, 2, 3, 4]},
    ]});
    let answer = post(&mut world, "/v2/models/whole/infer", &body).unwrap();
    assert_eq!(header(&answer, "brink-items"), "miss=1");
    let told = json_of(&answer.reply);
    assert_eq!(told["outputs"][0]["shape"], json!([1]));
    assert_eq!(told["outputs"][1]["data"], json!([1, 2, 3, 4]));
}

#[test]
fn rows_of_different_shapes_make_no_tensor() {
    let mut world = World::default();
    // The model of these tests gives one element only where x begins below zero.
    let differing = generic(&json!([[1, 2, 3], [-1, 2, 3]]), &json!([[1, 2], [3, 4]]));
    let error = post(&mut world, GENERIC, &differing).unwrap_err();
    assert_eq!(error.status.as_u16(), 400);
    assert!(error.message.contains("[2] and [1]"), "{}", error.message);
    let mut one = differing.clone();
    one["outputs"] = json!([{"name": "sum"}]);
    let answer = post(&mut world, GENERIC, &one).unwrap();
    assert_eq!(
        json_of(&answer.reply)["outputs"][0]["data"],
        json!([6.0, 4.0])
    );
}

#[test]
fn rules_are_asked_about_the_path_and_the_task_of_the_model() {
    let body =
        json!({"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["7"]}]});
    for (rule, expected) in [
        (
            "match.route = \"/v2/models/m/infer\"\nfresh = \"1m\"",
            "miss=1",
        ),
        (
            "match.route = \"/v2/*\"\nmatch.task = \"embed\"\nfresh = \"1m\"",
            "miss=1",
        ),
        ("match.task = \"generic\"\nfresh = \"1m\"", "bypass=1"),
    ] {
        let mut world = World::under(rule);
        let answer = post(&mut world, "/v2/models/m/infer", &body).unwrap();
        assert_eq!(header(&answer, "brink-items"), expected, "{rule}");
    }
}

#[test]
fn errors_of_rows_are_stored_and_told_again_by_row() {
    let mut world = World::under("fresh = \"1h\"\nnegative = { 400 = \"1m\" }");
    let body = json!({"inputs": [{"name": "text", "shape": [2], "datatype": "BYTES", "data": ["1", "2"]}]});
    let fault = Fault {
        code: FaultCode::InputTooLong,
        message: "9 tokens; at most 8".to_owned(),
        item: Some(1),
        retry_after_ms: None,
    };
    let pending = begin(
        &world.policy,
        "POST /v2/models/m/infer",
        body.to_string().as_bytes(),
    );
    let Ok(Settled::Missing(missing)) = pending.unwrap().settle(&mut world, &At(NOW)) else {
        panic!("nothing is stored");
    };
    let told = missing.error(fault.clone());
    let reply = Reply::of_error(&told, ErrorForm::Infer);
    assert_eq!(
        json_of(&reply),
        json!({"error":"row[1]: 9 tokens; at most 8"})
    );
    let stored = missing.negative(1, &fault, &At(NOW)).unwrap();
    world.keep(&[stored]);
    let again = post(&mut world, "/v2/models/m/infer", &body).unwrap_err();
    assert_eq!(
        (again.age, again.param.as_deref()),
        (Some(0), Some("row[1]"))
    );
}

#[test]
fn a_request_is_planned_anew_for_the_model_that_is_there_now() {
    let mut world = World::default();
    let body = generic(&json!([[1, 2, 3]]), &json!([[1, 2]])).to_string();
    let pending = begin(&world.policy, &format!("POST {GENERIC}"), body.as_bytes()).unwrap();
    let Ok(Settled::Missing(missing)) = pending.settle(&mut world, &At(NOW)) else {
        panic!("nothing is stored");
    };
    let mut changed = (*crate::world::catalog()).clone();
    for model in &mut changed.models {
        model.digest.0[1] = 1;
    }
    let prefixes = brink_gateway::items::Prefixes::default();
    let pending = missing
        .replan(&changed.clone().into(), &prefixes, &At(NOW))
        .unwrap();
    let Ok(Settled::Missing(missing)) = pending.settle(&mut world, &At(NOW)) else {
        panic!("nothing is stored");
    };
    let call = missing.upstream_call("id", Duration::ZERO).whole();
    assert_eq!((call.digest.0[1], call.inputs.len()), (1, 1));
    changed.models.retain(|model| model.name != "generic");
    let gone = missing
        .replan(&changed.into(), &prefixes, &At(NOW))
        .unwrap_err();
    assert_eq!(gone.status.as_u16(), 404);
}

#[test]
fn what_is_served_is_told_as_the_protocol_has_it() {
    let told = |head: &str, body: &str| json_of(&begun_reply(head, body.as_bytes()).unwrap());
    assert_eq!(told("GET /v2/health/live", "")["live"], true);
    assert_eq!(told("GET /v2/health/ready", "")["ready"], true);
    let server = told("GET /v2", "");
    assert_eq!(server["name"], "brink");
    assert!(
        server["extensions"]
            .as_array()
            .unwrap()
            .contains(&json!("binary_tensor_data"))
    );
    assert_eq!(
        told("GET /v2/models/m", ""),
        json!({"name": "m", "versions": ["1", "2"], "platform": "onnxruntime_onnx",
            "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
            "outputs": [{"name": "embedding", "datatype": "FP32", "shape": [-1, 2]}]})
    );
    let tensors = told("GET /v2/models/generic/versions/1", "");
    assert_eq!(tensors["inputs"][1]["shape"], json!([-1, -1]));
    assert_eq!(
        told("GET /v2/models/whole", "")["inputs"][0]["shape"],
        json!([3])
    );
    assert_eq!(told("GET /v2/models/eye", "")["inputs"][0]["name"], "image");
    assert_eq!(told("GET /v2/models/magic/ready", "")["ready"], true);
    for body in ["", "{}", r#"{"ready": true}"#] {
        let index = told("POST /v2/repository/index", body);
        assert_eq!(
            index[1],
            json!({"name": "m", "version": "1", "state": "READY", "reason": ""})
        );
    }
    let status = |head: &str, body: &str| {
        let error = begun_reply(head, body.as_bytes()).unwrap_err();
        error.status.as_u16()
    };
    assert_eq!(status("GET /v2/models/nobody", ""), 404);
    assert_eq!(status("GET /v2/models/m/versions/9/ready", ""), 404);
    assert_eq!(status("POST /v2/repository/index", "[]"), 400);
    assert_eq!(status("POST /v2/repository/models/m/load", "{}"), 403);
}

#[test]
fn health_is_told_without_a_key_and_models_are_not() {
    let closed = brink_gateway::in_force::InForce::new(
        brink_cache::Policy::default(),
        brink_gateway::in_force::KnownMarks::default(),
        brink_gateway::in_force::Tenancy::Closed,
    );
    let closed = std::sync::Arc::new(closed);
    for head in ["GET /v2/health/live", "GET /v2/health/ready"] {
        assert!(crate::world::begun(&closed, head, b"").is_ok(), "{head}");
    }
    for head in ["GET /v2", "GET /v2/models/m", "POST /v2/models/m/infer"] {
        assert!(crate::world::begun(&closed, head, b"{}").is_err(), "{head}");
    }
}

#[test]
fn what_may_not_be_stored_is_computed_each_time() {
    let mut world = World::under("store = false\nreason = \"test\"");
    let body = generic(&json!([[1, 2, 3]]), &json!([[1, 2]]));
    for _ in 0..2 {
        let answer = post(&mut world, GENERIC, &body).unwrap();
        assert_eq!(header(&answer, "brink-items"), "bypass=1");
    }
    assert!(world.store.is_empty());
}
