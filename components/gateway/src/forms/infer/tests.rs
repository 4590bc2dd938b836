//! Requests of the Open Inference Protocol, and what is wrong in them.

use brink_cache::ModelDigest;
use brink_protocol::tensor::{Datatype, TensorInfo};
use brink_protocol::{ModelKind, Reads, TextLimits};
use proptest::prelude::*;

use super::*;

fn model(kind: ModelKind) -> ModelInfo {
    ModelInfo {
        name: "m".to_owned(),
        version: "1".to_owned(),
        digest: ModelDigest([0; 32]),
        kind,
        created: 0,
        owned_by: "tests".to_owned(),
    }
}

fn info(name: &str, datatype: Datatype, shape: &[i64]) -> TensorInfo {
    TensorInfo {
        name: name.to_owned(),
        datatype,
        shape: shape.to_vec(),
    }
}

fn generic() -> ModelInfo {
    model(ModelKind::Generic {
        inputs: vec![
            info("x", Datatype::Fp32, &[2]),
            info("flag", Datatype::Bool, &[]),
        ],
        outputs: vec![
            info("half", Datatype::Fp16, &[2]),
            info("list", Datatype::Fp32, &[-1]),
            info("one", Datatype::Int32, &[]),
        ],
        batched: true,
    })
}

fn texts() -> ModelInfo {
    model(ModelKind::Embed {
        text: TextLimits {
            max_tokens: 8,
            vocabulary: 100,
        },
        dimensions: 2,
    })
}

fn pictures() -> ModelInfo {
    model(ModelKind::Classify {
        reads: Reads::Image { max_bytes: 10 },
        labels: vec!["a".to_owned()],
    })
}

fn bound(head: &str, body: &[u8], model: &ModelInfo) -> Result<Request, ApiError> {
    let head = format!("POST /v2/models/m/infer{head}");
    let target = Target {
        model: "m".to_owned(),
        version: None,
    };
    let mut request = read(
        &Head::parse(head.as_bytes()).unwrap(),
        Bytes::copy_from_slice(body),
        &target,
        1000,
    )?;
    request.bind(model)?;
    Ok(request)
}

const X: &str = r#"{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}"#;
const FLAG: &str = r#"{"name":"flag","shape":[1],"datatype":"BOOL","data":[true]}"#;

fn inputs(list: &[&str]) -> String {
    format!(
        r#"{{"inputs":[{}],"outputs":[{{"name":"one"}}]}}"#,
        list.join(",")
    )
}

fn check(list: &[&str], model: &ModelInfo, part: &str) {
    let error = bound("", inputs(list).as_bytes(), model).unwrap_err();
    assert!(error.message.contains(part), "{}", error.message);
    assert!((400..500).contains(&error.status.as_u16()));
}

#[test]
fn mistakes_name_the_tensor_the_limit_and_the_value() {
    let model = generic();
    assert!(bound("", inputs(&[X, FLAG]).as_bytes(), &model).is_ok());
    check(&[X], &model, "\"flag\" is missing");
    check(&[X, FLAG, X], &model, "\"x\" is given twice");
    check(
        &[X, FLAG, &FLAG.replace("flag", "z")],
        &model,
        "\"z\" is no input of the model m; those are x, flag",
    );
    check(
        &[&X.replace("FP32", "FP64"), FLAG],
        &model,
        "FP64; the model takes FP32",
    );
    check(
        &[&X.replace("FP32", "F32"), FLAG],
        &model,
        "datatype \"F32\"; there are BOOL",
    );
    check(
        &[&X.replace("[1,2],\"d", "[2],\"d"), FLAG],
        &model,
        "[2]; the model takes [-1, 2]",
    );
    check(
        &[&X.replace("[1,2],\"d", "[1,3],\"d"), FLAG],
        &model,
        "its shape makes 3",
    );
    check(
        &[&X.replace("[1,2],\"d", "[-1,2],\"d"), FLAG],
        &model,
        "inputs[0].shape[0]: it is a whole number, expected a whole number from 0 to",
    );
    check(
        &[
            &X.replace(
                "[1,2],\"d",
                "[9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9],\"d",
            ),
            FLAG,
        ],
        &model,
        "22 dimensions; at most 8",
    );
}

#[test]
fn mistakes_in_rows_and_data_name_the_tensor() {
    let model = generic();
    let two = FLAG.replace("[1]", "[2]").replace("[true]", "[true,true]");
    check(&[X, &two], &model, "\"flag\" has 2 rows; \"x\" has 1");
    let none = r#"{"name":"x","shape":[0,2],"datatype":"FP32","data":[]}"#;
    check(
        &[none, &FLAG.replace("[1]", "[0]").replace("[true]", "[]")],
        &model,
        "0 rows; 1 to 2048",
    );
    check(
        &[&X.replace(r#","data":[1,2]"#, ""), FLAG],
        &model,
        "neither data nor",
    );
    let binary = X.replace(r#""data":[1,2]"#, r#""parameters":{"binary_data_size":8}"#);
    check(&[&binary, FLAG], &model, HEADER_LENGTH);
    check(
        &[&X.replace("[1,2]}", r#"[1,2],"extra":1}"#), FLAG],
        &model,
        "extra",
    );
    let strings = |count: u64, data: &str| {
        format!(r#"{{"name":"text","shape":[{count}],"datatype":"BYTES","data":{data}}}"#)
    };
    check(
        &[&strings(2, r#"["a",""]"#)],
        &texts(),
        "row[1] is an empty string",
    );
    check(
        &[&strings(1, r#"["a"]"#).replace("[1]", "[1,1]")],
        &texts(),
        "the model takes [-1]",
    );
    let image = strings(1, r#"["a"]"#).replace("text", "image");
    check(&[&image], &pictures(), "row[0] is no picture");
    check(
        &[&image.replace("[\"a\"]", "[\"aaaaaaaaaaa\"]")],
        &pictures(),
        "at most 10",
    );
}

#[test]
fn outputs_are_held_against_the_model() {
    let check = |outputs: &str, part: &str| {
        let body = format!(r#"{{"inputs":[{X},{FLAG}]{outputs}}}"#);
        match bound("", body.as_bytes(), &generic()) {
            Ok(_) => assert_eq!(part, "", "{outputs}"),
            Err(error) => {
                assert!(
                    !part.is_empty() && error.message.contains(part),
                    "{}",
                    error.message
                );
            }
        }
    };
    check("", "\"half\" is of FP16");
    check(r#","parameters":{"binary_data_output":true}"#, "");
    check(r#","outputs":[{"name":"one"},{"name":"list"}]"#, "");
    check(
        r#","outputs":[{"name":"half","parameters":{"binary_data":true}}]"#,
        "",
    );
    check(
        r#","outputs":[{"name":"nothing"}]"#,
        "those are half, list, one",
    );
    check(
        r#","outputs":[{"name":"one"},{"name":"one"}]"#,
        "asked for twice",
    );
    check(
        r#","outputs":[{"name":"list","parameters":{"classification":2}}]"#,
        "",
    );
    check(
        r#","outputs":[{"name":"one","parameters":{"classification":2}}]"#,
        "FP32 list",
    );
    check(
        r#","outputs":[{"name":"one","parameters":{"shared_memory_region":"r"}}]"#,
        "shared memory",
    );
    let id = format!(r#","id":"{}""#, "x".repeat(257));
    check(&id, "id has 257 bytes; at most 256");
    let many = vec![r#"{"name":"one"}"#; 65].join(",");
    check(&format!(r#","outputs":[{many}]"#), "65 tensors; at most 64");
}

#[test]
fn binary_tensors_are_taken_in_order_and_checked() {
    let json = br#"{"inputs":[{"name":"flag","shape":[1],"datatype":"BOOL","parameters":{"binary_data_size":1}},{"name":"x","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}],"outputs":[{"name":"one"}]}"#;
    let ask = |length: usize, tail: &[u8]| {
        let head = format!("\n{HEADER_LENGTH}: {length}");
        bound(&head, &[json, tail].concat(), &generic())
    };
    let nan = [&[1][..], &f32::NAN.to_le_bytes(), &[0; 4]].concat();
    let request = ask(json.len(), &nan).unwrap();
    let [Input::Tensors(row)] = &request.inputs[..] else {
        panic!("one row");
    };
    assert_eq!(
        row[0].data,
        nan[1..],
        "models of tensors read what they are given"
    );
    let message = |length, tail: &[u8]| ask(length, tail).unwrap_err().message;
    assert!(message(json.len(), &[1; 8]).contains("7 bytes are left"));
    assert!(message(json.len(), &[1; 10]).contains("1 bytes more"));
    assert!(message(json.len() + 10, &[1; 9]).contains("the body has"));
    assert!(message(json.len(), &[2; 9]).contains("neither 0 nor 1"));
    assert!(message(json.len() - 1, &[1; 9]).contains("the body is no valid request"));
}

#[test]
fn rows_that_are_no_texts_are_told() {
    let json = br#"{"inputs":[{"name":"text","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":5}}]}"#;
    let head = format!("\n{HEADER_LENGTH}: {}", json.len());
    let ask = |tail: &[u8]| bound(&head, &[json, tail].concat(), &texts());
    assert!(ask(b"\x01\0\0\0a").is_ok());
    assert!(
        ask(b"\x01\0\0\0\xff")
            .unwrap_err()
            .message
            .contains("row[0] is no UTF-8")
    );
    assert!(
        ask(b"\x02\0\0\0a")
            .unwrap_err()
            .message
            .contains("longer than the data")
    );
}

proptest! {
    #[test]
    fn no_body_makes_the_reader_panic(bytes: Vec<u8>, data in r#"[\[\]",0-9a.-]{0,20}"#, shape in r"[0-9,]{0,8}", length in 0usize..200, tail: Vec<u8>) {
        let body = format!(r#"{{"inputs":[{{"name":"text","shape":[{shape}],"datatype":"BYTES","data":[{data}]}}]}}"#);
        let binary = format!(r#"{{"inputs":[{{"name":"x","shape":[{shape}],"datatype":"FP32","parameters":{{"binary_data_size":{length}}}}}]}}"#);
        let head = format!("\n{HEADER_LENGTH}: {}", binary.len());
        let all = [binary.as_bytes(), &tail].concat();
        for model in [generic(), texts(), pictures()] {
            let _ = bound("", &bytes, &model);
            let _ = bound("", body.as_bytes(), &model);
            let _ = bound(&head, &all, &model);
        }
    }
}
