//! Embeddings as OpenAI's API has them: `/v1/embeddings`, in the body or in the query of the URL.

mod query;

use brink_protocol::{Input, ModelInfo, ModelKind};
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;

use super::input::{Inputs, check_inputs, check_tokens};
use super::{Form, body, vector};
use crate::error::{ApiError, shorten};
use crate::items::{Request, Results};
use crate::reply::Reply;

/// The member that holds the inputs.
const MEMBER: &str = "input";

/// How vectors are written into the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EncodingFormat {
    /// A JSON array of numbers.
    #[default]
    Float,
    /// Little-endian `f32`, base64 (what OpenAI's clients ask for).
    Base64,
}

/// How embeddings are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Embeddings {
    /// How vectors are written.
    pub encoding_format: EncodingFormat,
    /// Elements per vector, if fewer than the model's.
    pub dimensions: Option<u32>,
}

/// The body as written. An unknown member is an error, as in OpenAI's API: a parameter that
/// is ignored silently gives wrong results.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRequest {
    input: Option<Inputs>,
    model: Option<String>,
    encoding_format: Option<String>,
    dimensions: Option<u64>,
    /// Brink's own.
    truncate: Option<bool>,
    /// Read so that it is checked, and ignored: it cannot change the result.
    user: Option<String>,
}

/// Reads a body.
///
/// # Errors
/// The first mistake in it.
pub fn parse(bytes: &[u8]) -> Result<Request, ApiError> {
    check(body::read(bytes)?)
}

/// Reads the query of a URL: the members of the body, `input` once for each text.
///
/// # Errors
/// The first mistake in it.
pub fn from_query(query: &str) -> Result<Request, ApiError> {
    check(query::read(query)?)
}

fn check(raw: RawRequest) -> Result<Request, ApiError> {
    let inputs = raw
        .input
        .ok_or_else(|| ApiError::invalid(MEMBER, "the member input is missing"))?
        .0;
    check_inputs(MEMBER, &inputs)?;
    let model = raw
        .model
        .filter(|name| !name.is_empty())
        .ok_or_else(|| ApiError::invalid("model", "the member model is missing or empty"))?;
    Ok(Request {
        inputs,
        model,
        version: None,
        truncate: raw.truncate.unwrap_or(false),
        form: Form::OpenAi(Embeddings {
            encoding_format: encoding_format(raw.encoding_format.as_deref())?,
            dimensions: raw.dimensions.map(dimensions).transpose()?,
        }),
    })
}

impl Embeddings {
    /// Checks what depends on the model and is known without its tokenizer.
    pub(super) fn check(
        &self,
        inputs: &[Input],
        truncate: bool,
        model: &ModelInfo,
    ) -> Result<(), ApiError> {
        let ModelKind::Embed { text, dimensions } = &model.kind else {
            return Err(ApiError::wrong_task(model, "makes no embeddings"));
        };
        check_dimensions(self.dimensions, *dimensions, model)?;
        check_tokens(MEMBER, inputs, truncate, (model, *text))
    }

    pub(super) fn reply(&self, results: &Results<'_>) -> Reply {
        Reply::json(StatusCode::OK, self.body(results))
    }

    /// OpenAI's list of embeddings. Written by hand, because the vectors are most of it and go
    /// straight from their bytes into the answer.
    fn body(&self, results: &Results<'_>) -> Bytes {
        let format = self.encoding_format;
        let model = results.model();
        let dimensions = self.dimensions.or(model.dimensions()).unwrap_or_default() as usize;
        let each = vector::written_size(dimensions * vector::ELEMENT, format) + 64;
        let mut out = Vec::with_capacity(128 + model.name.len() + each * results.len());
        let mut number = itoa::Buffer::new();
        out.extend_from_slice(br#"{"object":"list","data":["#);
        let mut tokens = 0u64;
        for (index, hit) in results.each().enumerate() {
            tokens += u64::from(hit.tokens);
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(br#"{"object":"embedding","index":"#);
            out.extend_from_slice(number.format(index).as_bytes());
            out.extend_from_slice(br#","embedding":"#);
            let vector = vector::shortened(&hit.output, dimensions);
            vector::write(&vector, format, &mut out);
            out.push(b'}');
        }
        write_end(&mut out, &model.name, tokens);
        out.into()
    }

    pub(super) fn tag(&self, hasher: &mut blake3::Hasher) {
        let form: u8 = match self.encoding_format {
            EncodingFormat::Float => 0,
            EncodingFormat::Base64 => 1,
        };
        hasher.update(&[form]);
        hasher.update(&self.dimensions.unwrap_or(0).to_le_bytes());
    }
}

/// The end of a list in OpenAI's style: which model, and how many tokens.
pub(super) fn write_end(out: &mut Vec<u8>, model: &str, tokens: u64) {
    let mut number = itoa::Buffer::new();
    out.extend_from_slice(br#"],"model":"#);
    serde_json::to_writer(&mut *out, model).expect("a string always serialises");
    let tokens = number.format(tokens).as_bytes();
    out.extend_from_slice(br#","usage":{"prompt_tokens":"#);
    out.extend_from_slice(tokens);
    out.extend_from_slice(br#","total_tokens":"#);
    out.extend_from_slice(tokens);
    out.extend_from_slice(b"}}");
}

/// Fewer elements than the model's may be asked for.
pub(super) fn check_dimensions(
    wanted: Option<u32>,
    dimensions: u32,
    model: &ModelInfo,
) -> Result<(), ApiError> {
    match wanted.filter(|wanted| *wanted > dimensions) {
        Some(wanted) => {
            let message = format!(
                "dimensions is {wanted}; the model {} has {dimensions}, and fewer may be asked for",
                model.name
            );
            Err(ApiError::invalid("dimensions", message))
        }
        None => Ok(()),
    }
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

/// As a number of elements.
pub(super) fn dimensions(value: u64) -> Result<u32, ApiError> {
    u32::try_from(value)
        .ok()
        .filter(|value| *value > 0)
        .ok_or_else(|| {
            let message = format!("dimensions is {value}; allowed: 1 up to the model's size");
            ApiError::invalid("dimensions", message)
        })
}

#[cfg(test)]
mod tests;
