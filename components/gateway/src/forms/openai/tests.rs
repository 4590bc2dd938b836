//! Bodies of OpenAI's API, and what is wrong in them.

use brink_cache::ModelDigest;
use proptest::prelude::*;

use brink_protocol::TextLimits;
use brink_protocol::limits::{MAX_INPUT_BYTES, MAX_INPUT_TOKENS};

use super::*;

fn model() -> ModelInfo {
    ModelInfo {
        name: "m".to_owned(),
        version: "1".to_owned(),
        digest: ModelDigest([0; 32]),
        kind: ModelKind::Embed {
            text: TextLimits {
                max_tokens: 8,
                vocabulary: 100,
            },
            dimensions: 4,
        },
        created: 0,
        owned_by: "tests".to_owned(),
    }
}

fn texts(texts: &[&str]) -> Vec<Input> {
    texts
        .iter()
        .map(|text| Input::Text((*text).to_owned()))
        .collect()
}

#[test]
fn every_form_of_input_is_read() {
    let check = |input: &str, expected: Vec<Input>| {
        let body = format!(r#"{{"model":"m","input":{input}}}"#);
        assert_eq!(parse(body.as_bytes()).unwrap().inputs, expected);
    };
    check(r#""a""#, texts(&["a"]));
    check(r#"["a","b","a"]"#, texts(&["a", "b", "a"]));
    check("[1,2]", vec![Input::Tokens(vec![1, 2])]);
    check(
        "[[1,2],[3]]",
        vec![Input::Tokens(vec![1, 2]), Input::Tokens(vec![3])],
    );
    check(r#""\ud83d\ude00""#, texts(&["😀"]));
}

#[test]
fn members_have_defaults() {
    let request = parse(br#"{"model":"m","input":"a","user":"u","dimensions":null}"#);
    assert_eq!(
        request.unwrap(),
        Request {
            inputs: texts(&["a"]),
            model: "m".to_owned(),
            version: None,
            truncate: false,
            form: Form::OpenAi(Embeddings::default()),
        }
    );
}

/// A body, the member at fault, and a part of the message.
type Mistake = (&'static str, Option<&'static str>, &'static str);

fn check_mistakes(mistakes: &[Mistake]) {
    for (body, param, part) in mistakes {
        let error = parse(body.as_bytes())
            .and_then(|mut request| request.bind(&model()))
            .expect_err(body);
        assert_eq!(error.status, 400, "{body}");
        assert_eq!(error.param.as_deref(), *param, "{body}: {}", error.message);
        assert!(error.message.contains(part), "{body}: {}", error.message);
    }
}

#[test]
#[rustfmt::skip]
fn mistakes_in_the_body_are_named() {
    check_mistakes(&[
        ("", None, "no valid request"),
        ("{", None, "EOF"),
        ("[]", None, "must be an object"),
        (r#"{"model":"m","input":"a"} x"#, None, "after the end"),
        (r#"{"model":"m","input":"\ud800"}"#, None, "hex escape"),
        (r#"{"model":"m"}"#, Some("input"), "missing"),
        (r#"{"input":"a"}"#, Some("model"), "missing"),
        (r#"{"model":"","input":"a"}"#, Some("model"), "empty"),
        (r#"{"model":7,"input":"a"}"#, Some("model"), "a whole number, expected a string"),
        (r#"{"model":"m","input":"a","stop":1}"#, Some("stop"), "unknown field"),
        (r#"{"model":"m","input":"a","encoding_format":"hex"}"#, Some("encoding_format"), "base64"),
        (r#"{"model":"m","input":"a","dimensions":0}"#, Some("dimensions"), "is 0"),
        (r#"{"model":"m","input":"a","dimensions":5}"#, Some("dimensions"), "has 4"),
        (r#"{"model":"m","input":"a","dimensions":-1}"#, Some("dimensions"), "a whole number from 0 to"),
    ]);
}

#[test]
#[rustfmt::skip]
fn mistakes_in_the_inputs_name_index_limit_and_value() {
    check_mistakes(&[
        (r#"{"model":"m","input":5}"#, Some("input"), "array of strings"),
        (r#"{"model":"m","input":null}"#, Some("input"), "missing"),
        (r#"{"model":"m","input":{}}"#, Some("input"), "array of strings"),
        (r#"{"model":"m","input":[]}"#, Some("input"), "empty array"),
        (r#"{"model":"m","input":""}"#, Some("input[0]"), "empty string"),
        (r#"{"model":"m","input":["a",""]}"#, Some("input[1]"), "empty string"),
        (r#"{"model":"m","input":[[1],[]]}"#, Some("input[1]"), "no tokens"),
        (r#"{"model":"m","input":["a",1]}"#, Some("input"), "differ in kind"),
        (r#"{"model":"m","input":[1,"a"]}"#, Some("input[1]"), "a whole number from 0 to 4294967295"),
        (r#"{"model":"m","input":[-1]}"#, Some("input[0]"), "a token id (0 to 4294967295)"),
        (r#"{"model":"m","input":[1.5]}"#, Some("input[0]"), "a number with a fraction"),
        (r#"{"model":"m","input":[4294967296]}"#, Some("input[0]"), "above"),
        (r#"{"model":"m","input":[1,100]}"#, Some("input[0]"), "below 100"),
        (r#"{"model":"m","input":[1,2,3,4,5,6,7,8,9]}"#, Some("input[0]"), "9 tokens"),
    ]);
}

#[test]
fn too_many_or_too_large_inputs_are_refused() {
    let check = |input: serde_json::Value, param: &str, part: &str| {
        let body = serde_json::json!({"model": "m", "input": input}).to_string();
        let error = parse(body.as_bytes()).unwrap_err();
        assert_eq!(error.param.as_deref(), Some(param));
        assert!(error.message.contains(part), "{}", error.message);
        assert!(error.message.len() < 600, "an error never echoes the input");
    };
    check(vec!["a"; 2049].into(), "input", "2048");
    check(
        "x".repeat(MAX_INPUT_BYTES + 1).into(),
        "input[0]",
        "262145 bytes",
    );
    check(
        vec![1; MAX_INPUT_TOKENS + 1].into(),
        "input[0]",
        "more than 16384 tokens",
    );
    let body = format!(r#"{{"model":{:?},"input":1e999}}"#, "m".repeat(2_000_000));
    assert!(parse(body.as_bytes()).unwrap_err().message.len() < 600);
}

#[test]
fn truncation_lets_long_token_lists_pass() {
    let body = br#"{"model":"m","input":[1,2,3,4,5,6,7,8,9],"truncate":true}"#;
    let mut request = parse(body).unwrap();
    assert_eq!(request.bind(&model()), Ok(()));
}

proptest! {
    #[test]
    fn no_body_makes_the_parser_panic(body: Vec<u8>) {
        let _ = parse(&body);
    }

    #[test]
    fn no_json_value_makes_the_parser_panic(input in r#"[\[\]{}",:0-9a-z.\\-]{0,40}"#) {
        let _ = parse(format!(r#"{{"model":"m","input":{input}}}"#).as_bytes());
    }
}
