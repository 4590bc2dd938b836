//! Requests for classifications, and what is wrong in them.

use brink_cache::ModelDigest;
use brink_protocol::TextLimits;
use proptest::prelude::*;

use super::*;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n....";

fn model(reads: Reads) -> ModelInfo {
    ModelInfo {
        name: "m".to_owned(),
        version: "1".to_owned(),
        digest: ModelDigest([0; 32]),
        kind: ModelKind::Classify {
            reads,
            labels: vec!["a".to_owned(), "b".to_owned()],
        },
        created: 0,
        owned_by: "tests".to_owned(),
    }
}

fn texts() -> ModelInfo {
    model(Reads::Text(TextLimits {
        max_tokens: 8,
        vocabulary: 100,
    }))
}

fn pictures() -> ModelInfo {
    model(Reads::Image { max_bytes: 100 })
}

fn files() -> ModelInfo {
    model(Reads::Bytes { max_bytes: 100 })
}

fn bound(head: &str, body: &[u8], model: &ModelInfo) -> Result<Request, ApiError> {
    let mut request = read(
        &Head::parse(head.as_bytes()).unwrap(),
        Bytes::copy_from_slice(body),
    )?;
    request.bind(model)?;
    Ok(request)
}

const JSON: &str = "POST /v1/classify\ncontent-type: application/json; charset=utf-8";

#[test]
fn a_string_is_what_the_model_reads() {
    let check = |input: &str, model: &ModelInfo, expected: Vec<Input>| {
        let body = format!(r#"{{"model":"m","input":{input}}}"#);
        let inputs = bound(JSON, body.as_bytes(), model).unwrap().inputs;
        assert_eq!(inputs, expected, "{input}");
    };
    let text = |text: &str| Input::Text(text.to_owned());
    let blob = |bytes: &[u8]| Input::Blob(Bytes::copy_from_slice(bytes));
    check(r#""QUJD""#, &texts(), vec![text("QUJD")]);
    check(r#"["a","b"]"#, &texts(), vec![text("a"), text("b")]);
    check("[1,2]", &texts(), vec![Input::Tokens(vec![1, 2])]);
    check(r#""QUJD""#, &files(), vec![blob(b"ABC")]);
    check(r#"["","QQ=="]"#, &files(), vec![blob(b""), blob(b"A")]);
    let png = base64_simd::STANDARD.encode_to_string(PNG);
    let url = format!(r#""data:image/png;base64,{png}""#);
    check(&url, &pictures(), vec![blob(PNG)]);
}

#[test]
fn a_body_may_be_the_input_itself() {
    for media in RAW_MEDIA {
        let head = format!("POST /v1/classify?model=m&top_k=2\ncontent-type: {media}");
        let request = bound(&head, PNG, &pictures()).unwrap();
        assert_eq!(request.inputs, [Input::Blob(Bytes::from_static(PNG))]);
        let form = Classify {
            top_k: 2,
            is_raw: true,
        };
        assert_eq!(request.form, Form::Classify(form));
    }
}

#[test]
fn mistakes_name_the_member_the_limit_and_the_value() {
    let check = |body: &str, model: &ModelInfo, param: &str, part: &str| {
        let error = bound(JSON, body.as_bytes(), model).unwrap_err();
        assert_eq!(error.param.as_deref(), Some(param), "{body}");
        assert!(error.message.contains(part), "{}", error.message);
    };
    let text = texts();
    check(r#"{"model":"m"}"#, &text, "input", "missing");
    check(r#"{"model":"m","input":[]}"#, &text, "input", "empty");
    check(
        r#"{"model":"m","input":["a",""]}"#,
        &text,
        "input[1]",
        "empty",
    );
    check(r#"{"input":"a"}"#, &text, "model", "missing");
    check(
        r#"{"model":"m","input":"a","top_k":0}"#,
        &text,
        "top_k",
        "1 to 1000",
    );
    check(
        r#"{"model":"m","input":"a","top_k":1001}"#,
        &text,
        "top_k",
        "1001",
    );
    check(
        r#"{"model":"m","input":"a","topk":1}"#,
        &text,
        "topk",
        "unknown",
    );
    check(
        r#"{"model":"m","input":[100]}"#,
        &text,
        "input[0]",
        "below 100",
    );
    check(
        r#"{"model":"m","input":"é"}"#,
        &pictures(),
        "input[0]",
        "base64",
    );
    check(
        r#"{"model":"m","input":[1]}"#,
        &files(),
        "input[0]",
        "token ids",
    );
    check(
        r#"{"model":"m","input":"QUJD"}"#,
        &pictures(),
        "input[0]",
        "JPEG, PNG or WebP",
    );
    let truncated = r#"{"model":"m","input":"QUJD","truncate":true}"#;
    check(truncated, &files(), "truncate", "never cut");
}

#[test]
fn statuses_are_those_of_the_mistake() {
    let check = |head: &str, body: &[u8], model: &ModelInfo, status: u16, part: &str| {
        let error = bound(&format!("POST /v1/classify{head}"), body, model).unwrap_err();
        assert_eq!(error.status.as_u16(), status, "{head}");
        assert!(error.message.contains(part), "{}", error.message);
    };
    let raw = "?model=m\ncontent-type: application/octet-stream";
    check(raw, b"GIF89a", &pictures(), 415, "body is no picture");
    check(raw, &[0; 101], &files(), 413, "at most 100");
    check(raw, b"a", &texts(), 400, "reads texts");
    check(
        "?top_k=1\ncontent-type: image/png",
        PNG,
        &pictures(),
        400,
        "model",
    );
    check(
        "?model=m&a=b\ncontent-type: image/png",
        PNG,
        &pictures(),
        400,
        "unknown",
    );
    check(
        "?model=m\ncontent-type: image/gif",
        b"GIF89a",
        &pictures(),
        415,
        "image/webp",
    );
    let embeds = ModelInfo {
        kind: ModelKind::Embed {
            text: TextLimits {
                max_tokens: 8,
                vocabulary: 100,
            },
            dimensions: 2,
        },
        ..texts()
    };
    check(
        "",
        br#"{"model":"m","input":"a"}"#,
        &embeds,
        400,
        "its task is embed",
    );
}

proptest! {
    #[test]
    fn no_body_makes_the_reader_panic(bytes: Vec<u8>, input in r#"[\[\]{}",:0-9A-Za-z=.\\-]{0,40}"#) {
        for model in [texts(), pictures(), files()] {
            let _ = bound(JSON, &bytes, &model);
            let _ = bound(JSON, format!(r#"{{"model":"m","input":{input}}}"#).as_bytes(), &model);
        }
    }
}
