//! `POST /v1/classify`: labels and scores of texts, pictures or files.
//!
//! OpenAI's API has no such route; members, lists and errors are in its style. The body is JSON, or the
//! picture or file itself with the rest in the query. What a string means depends on what the model reads:
//! the text itself, or base64.
//!
//! How many labels are told (`top_k`) changes how a result is written, and never its entry: all scores are
//! stored.

pub(super) mod blob;

use brink_protocol::{Input, ModelInfo, ModelKind, Reads};
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;

use super::input::{Inputs, check_count, check_inputs, check_tokens, check_total};
use super::openai::write_end;
use super::query::{number, once, pairs, unknown};
use super::{Form, body, media_type, ranked, vector};
use crate::error::ApiError;
use crate::head::Head;
use crate::items::{Request, Results};
use crate::reply::Reply;
use blob::Wanted;

/// The member that holds the inputs.
const MEMBER: &str = "input";
/// Most labels of an answer that a client may ask for.
pub const MAX_TOP_K: u64 = 1000;
/// Labels of an answer, unless the client says otherwise.
pub const DEFAULT_TOP_K: u64 = 5;
/// What a body may be that is the input itself.
pub const RAW_MEDIA: [&str; 4] = [
    "image/jpeg",
    "image/png",
    "image/webp",
    "application/octet-stream",
];
/// What a JSON body may be called: clients are not all careful, and this is what they send by default.
const JSON_MEDIA: [&str; 2] = ["application/json", "application/x-www-form-urlencoded"];

/// How classifications are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classify {
    /// How many labels are told, at most.
    pub top_k: usize,
    /// Whether the body is the input itself.
    pub is_raw: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRequest {
    input: Option<Inputs>,
    model: Option<String>,
    top_k: Option<u64>,
    truncate: Option<bool>,
}

/// Reads a request.
///
/// # Errors
/// The first mistake in it.
pub fn read(head: &Head<'_>, bytes: Bytes) -> Result<Request, ApiError> {
    let Some(media) = media_type(head) else {
        return parse(&bytes);
    };
    let is_among = |all: &[&str]| all.iter().any(|one| media.eq_ignore_ascii_case(one));
    if is_among(&RAW_MEDIA) {
        return raw(head.query.unwrap_or_default(), bytes);
    }
    match is_among(&JSON_MEDIA) {
        true => parse(&bytes),
        false => Err(ApiError::wrong_content_type(
            media,
            &format!("application/json, {}", RAW_MEDIA.join(", ")),
        )),
    }
}

/// Reads a JSON body.
///
/// # Errors
/// The first mistake in it.
pub fn parse(bytes: &[u8]) -> Result<Request, ApiError> {
    let raw: RawRequest = body::read(bytes)?;
    let inputs = raw
        .input
        .ok_or_else(|| ApiError::invalid(MEMBER, "the member input is missing"))?
        .0;
    check_count(MEMBER, &inputs)?;
    Ok(Request {
        inputs,
        model: model(raw.model)?,
        version: None,
        truncate: raw.truncate.unwrap_or(false),
        form: Form::Classify(Classify {
            top_k: top_k(raw.top_k)?,
            is_raw: false,
        }),
    })
}

/// A body that is the input itself.
fn raw(query: &str, bytes: Bytes) -> Result<Request, ApiError> {
    let (mut name, mut wanted) = (None, None);
    for pair in pairs(query) {
        let (parameter, value) = pair?;
        match parameter.as_str() {
            "model" => once(&mut name, &parameter, value)?,
            "top_k" => once(&mut wanted, &parameter, number(&parameter, &value)?)?,
            _ => return Err(unknown(&parameter, "model, top_k")),
        }
    }
    Ok(Request {
        inputs: vec![Input::Blob(bytes)],
        model: model(name)?,
        version: None,
        truncate: false,
        form: Form::Classify(Classify {
            top_k: top_k(wanted)?,
            is_raw: true,
        }),
    })
}

fn model(name: Option<String>) -> Result<String, ApiError> {
    name.filter(|name| !name.is_empty())
        .ok_or_else(|| ApiError::invalid("model", "the member model is missing or empty"))
}

fn top_k(wanted: Option<u64>) -> Result<usize, ApiError> {
    let wanted = wanted.unwrap_or(DEFAULT_TOP_K);
    if !(1..=MAX_TOP_K).contains(&wanted) {
        let message = format!("top_k is {wanted}; allowed: 1 to {MAX_TOP_K}");
        return Err(ApiError::invalid("top_k", message));
    }
    Ok(wanted as usize)
}

impl Classify {
    pub(super) fn param(&self, index: usize) -> String {
        match self.is_raw {
            true => "body".to_owned(),
            false => format!("{MEMBER}[{index}]"),
        }
    }

    /// Makes the items: only the model says whether a string is a text or base64.
    pub(super) fn bind(
        &self,
        inputs: &mut [Input],
        truncate: bool,
        model: &ModelInfo,
    ) -> Result<(), ApiError> {
        let ModelKind::Classify { reads, .. } = &model.kind else {
            return Err(ApiError::wrong_task(model, "does not classify"));
        };
        match (Wanted::by(*reads), reads) {
            (Some(wanted), _) => {
                if truncate {
                    let message = format!(
                        "truncate is true; the model {} reads {}, and those are never cut",
                        model.name,
                        wanted.noun()
                    );
                    return Err(ApiError::invalid("truncate", message));
                }
                self.bind_blobs(inputs, wanted)
            }
            (None, Reads::Text(text)) => {
                if let Some(index) = inputs.iter().position(|one| matches!(one, Input::Blob(_))) {
                    let param = self.param(index);
                    let message = format!(
                        "{param} is a file; the model {} reads texts, sent as JSON",
                        model.name
                    );
                    return Err(ApiError::invalid(param, message));
                }
                check_inputs(MEMBER, inputs)?;
                check_tokens(MEMBER, inputs, truncate, (model, *text))
            }
            (None, _) => Ok(()),
        }
    }

    fn bind_blobs(&self, inputs: &mut [Input], wanted: Wanted) -> Result<(), ApiError> {
        for (index, input) in inputs.iter_mut().enumerate() {
            let param = self.param(index);
            let blob = match input {
                Input::Blob(blob) => blob.clone(),
                Input::Text(text) => wanted.decode(&param, text)?,
                Input::LongText(_) | Input::Tokens(_) | Input::Tensors(_) => {
                    let message = format!(
                        "{param} is a list of token ids; the model reads {}",
                        wanted.noun()
                    );
                    return Err(ApiError::invalid(param, message));
                }
            };
            wanted.check(&param, &blob)?;
            *input = Input::Blob(blob);
        }
        check_total(MEMBER, inputs)
    }

    pub(super) fn reply(&self, results: &Results<'_>) -> Reply {
        Reply::json(StatusCode::OK, self.body(results))
    }

    fn body(&self, results: &Results<'_>) -> Bytes {
        let model = results.model();
        let labels = labels(model);
        // What is reserved is a guess; what is written decides.
        let each = 96 + 64 * self.top_k.min(labels.len());
        let mut out = Vec::with_capacity(128 + (results.len() * each).min(MAX_RESERVED));
        let mut number = itoa::Buffer::new();
        out.extend_from_slice(br#"{"object":"list","data":["#);
        let mut tokens = 0;
        for (index, hit) in results.each().enumerate() {
            tokens += u64::from(hit.tokens);
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(br#"{"object":"classification","index":"#);
            out.extend_from_slice(number.format(index).as_bytes());
            let top = ranked::highest(&hit.output, self.top_k);
            if let Some(first) = top.first() {
                out.push(b',');
                write_members(&mut out, labels, *first);
            }
            out.extend_from_slice(br#","top":"#);
            write_ranked(&mut out, labels, &top);
            out.push(b'}');
        }
        write_end(&mut out, &model.name, tokens);
        out.into()
    }

    pub(super) fn tag(&self, hasher: &mut blake3::Hasher) {
        hasher.update(&[2]);
        hasher.update(&(self.top_k as u64).to_le_bytes());
    }
}

/// Most bytes that are reserved for an answer before it is written.
pub(super) const MAX_RESERVED: usize = 1 << 20;

/// The labels of a classifier.
pub(super) fn labels(model: &ModelInfo) -> &[String] {
    match &model.kind {
        ModelKind::Classify { labels, .. } => labels,
        ModelKind::Embed { .. } | ModelKind::Generic { .. } | ModelKind::Generate { .. } => &[],
    }
}

/// A list of labels with their scores.
pub(super) fn write_ranked(out: &mut Vec<u8>, labels: &[String], ranked: &[(usize, f32)]) {
    out.push(b'[');
    for (place, one) in ranked.iter().enumerate() {
        out.extend_from_slice(if place > 0 { b",{" } else { b"{" });
        write_members(out, labels, *one);
        out.push(b'}');
    }
    out.push(b']');
}

fn write_members(out: &mut Vec<u8>, labels: &[String], (place, score): (usize, f32)) {
    let label = labels.get(place).map_or("", String::as_str);
    out.extend_from_slice(br#""label":"#);
    serde_json::to_writer(&mut *out, label).expect("a string always serialises");
    out.extend_from_slice(br#","score":"#);
    vector::write_element(score, out);
}

#[cfg(test)]
mod tests;
