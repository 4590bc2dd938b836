//! The request body, read strictly: every mistake names the member, the limit and the value.

use brink_cache::Policy;
use brink_protocol::limits::{MAX_INPUT_BYTES, MAX_INPUT_TOKENS};
use brink_protocol::{Input, ModelInfo, ModelKind, TextLimits};
use serde::Deserialize;

use super::input::Inputs;
use super::query;
use crate::error::{ApiError, shorten};

/// How vectors are written into the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EncodingFormat {
    /// A JSON array of numbers.
    #[default]
    Float,
    /// Little-endian `f32`, base64 (what OpenAI's clients ask for).
    Base64,
}

/// A well-formed request; what depends on the model is not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// 1 to [`MAX_INPUTS`](brink_protocol::limits::MAX_INPUTS) items.
    pub inputs: Vec<Input>,
    /// The model's name.
    pub model: String,
    /// How vectors are written.
    pub encoding_format: EncodingFormat,
    /// Elements per vector, if fewer than the model's.
    pub dimensions: Option<u32>,
    /// Whether inputs above the model's limit are cut. Brink's own member; absent means
    /// such an input is an error, so nothing is ever cut silently.
    pub truncate: bool,
}

/// The body as written. An unknown member is an error, as in OpenAI's API: a parameter that
/// is ignored silently gives wrong results.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRequest {
    pub(super) input: Option<Inputs>,
    pub(super) model: Option<String>,
    pub(super) encoding_format: Option<String>,
    pub(super) dimensions: Option<u64>,
    pub(super) truncate: Option<bool>,
    /// Read so that it is checked, and ignored: it cannot change the result.
    pub(super) user: Option<String>,
}

impl Request {
    /// Reads a body.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        // serde also reads a struct from an array of its members; OpenAI's API does not.
        if body.trim_ascii_start().first() == Some(&b'[') {
            return Err(ApiError::invalid_json(
                "the body is an array; it must be an object",
            ));
        }
        Self::check(serde_json::from_slice(body).map_err(|_| explain(body))?)
    }

    /// Reads the query of a URL: the members of the body, `input` once for each text.
    pub fn from_query(query: &str) -> Result<Self, ApiError> {
        Self::check(query::read(query)?)
    }

    fn check(raw: RawRequest) -> Result<Self, ApiError> {
        let inputs = raw
            .input
            .ok_or_else(|| ApiError::invalid("input", "the member input is missing"))?
            .0;
        check_inputs(&inputs)?;
        let model = raw
            .model
            .filter(|name| !name.is_empty())
            .ok_or_else(|| ApiError::invalid("model", "the member model is missing or empty"))?;
        Ok(Self {
            inputs,
            model,
            encoding_format: encoding_format(raw.encoding_format.as_deref())?,
            dimensions: raw.dimensions.map(dimensions).transpose()?,
            truncate: raw.truncate.unwrap_or(false),
        })
    }

    /// The same request, with the model that the policy's aliases say its name means.
    pub fn for_model(self, policy: &Policy) -> Self {
        let model = policy.model_of(&self.model);
        match model == self.model {
            true => self,
            false => Self {
                model: model.to_owned(),
                ..self
            },
        }
    }

    /// Checks what depends on the model and is known without its tokenizer.
    pub fn check_against(&self, model: &ModelInfo) -> Result<(), ApiError> {
        let ModelKind::Embed { text, dimensions } = &model.kind else {
            return Err(no_embeddings(model));
        };
        if let Some(wanted) = self.dimensions.filter(|wanted| wanted > dimensions) {
            let message = format!(
                "dimensions is {wanted}; the model {} has {dimensions}, and fewer may be asked for",
                model.name
            );
            return Err(ApiError::invalid("dimensions", message));
        }
        for (index, input) in self.inputs.iter().enumerate() {
            if let Input::Tokens(tokens) = input {
                check_tokens(tokens, index, self.truncate, (model, *text))?;
            }
        }
        Ok(())
    }
}

fn no_embeddings(model: &ModelInfo) -> ApiError {
    let message = format!(
        "the model {} makes no embeddings: its task is {}",
        model.name,
        model.task().name()
    );
    ApiError::invalid("model", message)
}

fn encoding_format(value: Option<&str>) -> Result<EncodingFormat, ApiError> {
    match value {
        None | Some("float") => Ok(EncodingFormat::Float),
        Some("base64") => Ok(EncodingFormat::Base64),
        Some(other) => Err(ApiError::invalid(
            "encoding_format",
            format!(
                "encoding_format is {}; allowed: \"float\", \"base64\"",
                shorten(other)
            ),
        )),
    }
}

fn dimensions(value: u64) -> Result<u32, ApiError> {
    u32::try_from(value)
        .ok()
        .filter(|value| *value > 0)
        .ok_or_else(|| {
            let message = format!("dimensions is {value}; allowed: 1 up to the model's size");
            ApiError::invalid("dimensions", message)
        })
}

fn check_inputs(inputs: &[Input]) -> Result<(), ApiError> {
    if inputs.is_empty() {
        return Err(ApiError::invalid(
            "input",
            "input is an empty array; at least one is needed",
        ));
    }
    for (index, input) in inputs.iter().enumerate() {
        let message = match input {
            Input::Text(text) if text.is_empty() => "is an empty string".to_owned(),
            Input::Tokens(tokens) if tokens.is_empty() => "has no tokens".to_owned(),
            Input::Text(text) if text.len() > MAX_INPUT_BYTES => format!(
                "has {} bytes; at most {MAX_INPUT_BYTES} are allowed",
                text.len()
            ),
            Input::Tokens(tokens) if tokens.len() > MAX_INPUT_TOKENS => format!(
                "has {} tokens; at most {MAX_INPUT_TOKENS} are allowed",
                tokens.len()
            ),
            _ => continue,
        };
        let param = format!("input[{index}]");
        return Err(ApiError::invalid(&param, format!("{param} {message}")));
    }
    Ok(())
}

fn check_tokens(
    tokens: &[u32],
    index: usize,
    truncate: bool,
    (model, limits): (&ModelInfo, TextLimits),
) -> Result<(), ApiError> {
    let unknown = tokens.iter().position(|token| *token >= limits.vocabulary);
    if let Some(position) = unknown {
        let param = format!("input[{index}]");
        let message = format!(
            "{param} has the token id {} at position {position}; the ids of {} are below {}",
            tokens[position], model.name, limits.vocabulary
        );
        return Err(ApiError::invalid(param, message));
    }
    if !truncate && tokens.len() > limits.max_tokens as usize {
        let param = format!("input[{index}]");
        let message = format!(
            "{param} has {} tokens; the model {} takes at most {}, special tokens included (\"truncate\": true cuts longer inputs)",
            tokens.len(),
            model.name,
            limits.max_tokens
        );
        let mut error = ApiError::invalid(param, message);
        error.code = brink_protocol::FaultCode::InputTooLong.name();
        return Err(error);
    }
    Ok(())
}

/// Reads a body that is known to be wrong once more, this time keeping track of where. The
/// common, correct body does not pay for that.
fn explain(body: &[u8]) -> ApiError {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    match serde_path_to_error::deserialize::<_, RawRequest>(&mut deserializer) {
        Err(error) => {
            let path = error.path().to_string();
            let inner = error.into_inner();
            let message = shorten_message(&inner.to_string());
            if path == "." || path == "?" || !inner.is_data() {
                match unknown_member(&message) {
                    Some(name) => ApiError::invalid(name, message),
                    None => {
                        ApiError::invalid_json(format!("the body is no valid request: {message}"))
                    }
                }
            } else {
                ApiError::invalid(&path, format!("{path}: {message}"))
            }
        }
        Ok(_) => ApiError::invalid_json("the body has more after the end of the JSON object"),
    }
}

/// serde's errors quote the value; a long one is cut so that an error never echoes an input.
fn shorten_message(message: &str) -> String {
    const LONGEST: usize = 240;
    match message.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}

fn unknown_member(message: &str) -> Option<String> {
    let rest = message.strip_prefix("unknown field `")?;
    Some(rest.split('`').next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use brink_cache::ModelDigest;
    use proptest::prelude::*;

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
            assert_eq!(Request::parse(body.as_bytes()).unwrap().inputs, expected);
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
        let request = Request::parse(br#"{"model":"m","input":"a","user":"u","dimensions":null}"#);
        assert_eq!(
            request.unwrap(),
            Request {
                inputs: texts(&["a"]),
                model: "m".to_owned(),
                encoding_format: EncodingFormat::Float,
                dimensions: None,
                truncate: false,
            }
        );
    }

    /// A body, the member at fault, and a part of the message.
    type Mistake = (&'static str, Option<&'static str>, &'static str);

    fn check_mistakes(mistakes: &[Mistake]) {
        for (body, param, part) in mistakes {
            let error = Request::parse(body.as_bytes())
                .and_then(|request| request.check_against(&model()))
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
            (r#"{"model":7,"input":"a"}"#, Some("model"), "integer `7`"),
            (r#"{"model":"m","input":"a","stop":1}"#, Some("stop"), "unknown field"),
            (r#"{"model":"m","input":"a","encoding_format":"hex"}"#, Some("encoding_format"), "base64"),
            (r#"{"model":"m","input":"a","dimensions":0}"#, Some("dimensions"), "is 0"),
            (r#"{"model":"m","input":"a","dimensions":5}"#, Some("dimensions"), "has 4"),
            (r#"{"model":"m","input":"a","dimensions":-1}"#, Some("dimensions"), "-1"),
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
            (r#"{"model":"m","input":[1,"a"]}"#, Some("input[1]"), "u32"),
            (r#"{"model":"m","input":[-1]}"#, Some("input[0]"), "-1"),
            (r#"{"model":"m","input":[1.5]}"#, Some("input[0]"), "1.5"),
            (r#"{"model":"m","input":[4294967296]}"#, Some("input[0]"), "above"),
            (r#"{"model":"m","input":[1,100]}"#, Some("input[0]"), "below 100"),
            (r#"{"model":"m","input":[1,2,3,4,5,6,7,8,9]}"#, Some("input[0]"), "9 tokens"),
        ]);
    }

    #[test]
    fn too_many_or_too_large_inputs_are_refused() {
        let check = |input: serde_json::Value, param: &str, part: &str| {
            let body = serde_json::json!({"model": "m", "input": input}).to_string();
            let error = Request::parse(body.as_bytes()).unwrap_err();
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
            "16385 tokens",
        );
        let body = format!(r#"{{"model":{:?},"input":1e999}}"#, "m".repeat(2_000_000));
        assert!(Request::parse(body.as_bytes()).unwrap_err().message.len() < 600);
    }

    #[test]
    fn truncation_lets_long_token_lists_pass() {
        let body = br#"{"model":"m","input":[1,2,3,4,5,6,7,8,9],"truncate":true}"#;
        let request = Request::parse(body).unwrap();
        assert_eq!(request.check_against(&model()), Ok(()));
    }

    proptest! {
        #[test]
        fn no_body_makes_the_parser_panic(body: Vec<u8>) {
            let _ = Request::parse(&body);
        }

        #[test]
        fn no_json_value_makes_the_parser_panic(input in r#"[\[\]{}",:0-9a-z.\\-]{0,40}"#) {
            let _ = Request::parse(format!(r#"{{"model":"m","input":{input}}}"#).as_bytes());
        }
    }
}
