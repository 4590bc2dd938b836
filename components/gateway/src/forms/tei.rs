//! The routes of text-embeddings-inference: `/embed`, `/similarity` and `/predict`.
//!
//! What would change a result and cannot be had here is refused: vectors that are not normalised, raw scores,
//! prompts, texts cut at their beginning, pairs of texts.
//!
//! Not here: `/tokenize`, see [`tokenize`](crate::tokenize), and `/info`, see [`tei_info`](crate::tei_info).

use brink_protocol::limits::MAX_INPUTS;
use brink_protocol::{Input, ModelInfo, ModelKind, Reads};
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;

use super::at_most::AtMost;
use super::classify::{MAX_RESERVED, labels, write_ranked};
use super::input::{Inputs, check_count, check_each, check_inputs, check_tokens};
use super::openai::{EncodingFormat, check_dimensions, dimensions};
use super::predicted::Predicted;
use super::{Form, body, ranked, vector};
use crate::default_model::Purpose;
use crate::error::ApiError;
use crate::items::{Request, Results};
use crate::reply::Reply;

/// The member that holds the inputs.
const MEMBER: &str = "inputs";

/// Which route was asked, and how its answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tei {
    /// `/embed`: a list of vectors.
    Embed {
        /// Elements per vector, if fewer than the model's.
        dimensions: Option<u32>,
    },
    /// `/similarity`: how near each text is to the first one.
    Similarity,
    /// `/predict`: labels with scores.
    Predict {
        /// Whether the answer is a list of one list for each input.
        is_list: bool,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEmbed {
    inputs: Option<Inputs>,
    model: Option<String>,
    truncate: Option<bool>,
    truncation_direction: Option<String>,
    prompt_name: Option<String>,
    normalize: Option<bool>,
    dimensions: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSimilarity {
    inputs: Compared,
    model: Option<String>,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Compared {
    source_sentence: String,
    sentences: AtMost<String, MAX_INPUTS>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    truncate: Option<bool>,
    truncation_direction: Option<String>,
    prompt_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPredict {
    inputs: Option<Predicted>,
    model: Option<String>,
    truncate: Option<bool>,
    truncation_direction: Option<String>,
    raw_scores: Option<bool>,
}

/// Reads a body of `/embed`.
///
/// # Errors
/// The first mistake in it.
pub fn embed(bytes: &[u8]) -> Result<Request, ApiError> {
    let raw: RawEmbed = body::read(bytes)?;
    let inputs = raw.inputs.ok_or_else(missing)?.0;
    check_inputs(MEMBER, &inputs)?;
    if raw.normalize == Some(false) {
        let message =
            "normalize is false; models here give vectors of length one, and keep no other";
        return Err(ApiError::invalid("normalize", message));
    }
    check_parameters(
        raw.truncation_direction.as_deref(),
        raw.prompt_name.as_deref(),
    )?;
    let dimensions = raw.dimensions.map(dimensions).transpose()?;
    Ok(request(
        inputs,
        raw.model,
        raw.truncate,
        Tei::Embed { dimensions },
    ))
}

/// Reads a body of `/similarity`.
///
/// # Errors
/// The first mistake in it.
pub fn similarity(bytes: &[u8]) -> Result<Request, ApiError> {
    let raw: RawSimilarity = body::read(bytes)?;
    let Parameters {
        truncate,
        truncation_direction,
        prompt_name,
    } = raw.parameters;
    check_parameters(truncation_direction.as_deref(), prompt_name.as_deref())?;
    if raw.inputs.sentences.count == 0 {
        let message = "inputs.sentences is an empty array; at least one is needed";
        return Err(ApiError::invalid("inputs.sentences", message));
    }
    let texts = [raw.inputs.source_sentence]
        .into_iter()
        .chain(raw.inputs.sentences.kept);
    let inputs: Vec<_> = texts.map(Input::Text).collect();
    check_count(MEMBER, &inputs)?;
    check_each(&inputs, |index| Tei::Similarity.param(index))?;
    Ok(request(inputs, raw.model, truncate, Tei::Similarity))
}

/// Reads a body of `/predict`.
///
/// # Errors
/// The first mistake in it.
pub fn predict(bytes: &[u8]) -> Result<Request, ApiError> {
    let raw: RawPredict = body::read(bytes)?;
    let Predicted { texts, is_list } = raw.inputs.ok_or_else(missing)?;
    let inputs: Vec<_> = texts.into_iter().map(Input::Text).collect();
    check_inputs(MEMBER, &inputs)?;
    if raw.raw_scores == Some(true) {
        let message = "raw_scores is true; models here give probabilities, and keep nothing else";
        return Err(ApiError::invalid("raw_scores", message));
    }
    check_parameters(raw.truncation_direction.as_deref(), None)?;
    Ok(request(
        inputs,
        raw.model,
        raw.truncate,
        Tei::Predict { is_list },
    ))
}

fn request(
    inputs: Vec<Input>,
    model: Option<String>,
    truncate: Option<bool>,
    form: Tei,
) -> Request {
    Request {
        inputs,
        model: model.unwrap_or_default(),
        version: None,
        truncate: truncate.unwrap_or(false),
        form: Form::Tei(form),
    }
}

fn missing() -> ApiError {
    ApiError::invalid(MEMBER, "the member inputs is missing")
}

/// Checks the parameters of texts.
pub(crate) fn check_parameters(
    direction: Option<&str>,
    prompt: Option<&str>,
) -> Result<(), ApiError> {
    if direction.is_some_and(|direction| !direction.eq_ignore_ascii_case("right")) {
        let message = "truncation_direction is not \"Right\"; texts are cut at their end only";
        return Err(ApiError::invalid("truncation_direction", message));
    }
    if prompt.is_some() {
        let message = "prompt_name is given; models here have no prompts: put it before the text";
        return Err(ApiError::invalid("prompt_name", message));
    }
    Ok(())
}

impl Tei {
    /// What the model of a request has to do that names none.
    pub(super) fn purpose(self) -> Purpose {
        match self {
            Self::Embed { .. } | Self::Similarity => Purpose::Embed,
            Self::Predict { .. } => Purpose::ClassifyTexts,
        }
    }

    pub(super) fn param(self, index: usize) -> String {
        match (self, index.checked_sub(1)) {
            (Self::Similarity, None) => "inputs.source_sentence".to_owned(),
            (Self::Similarity, Some(index)) => format!("inputs.sentences[{index}]"),
            (Self::Embed { .. } | Self::Predict { .. }, _) => format!("{MEMBER}[{index}]"),
        }
    }

    pub(super) fn check(
        self,
        inputs: &[Input],
        truncate: bool,
        model: &ModelInfo,
    ) -> Result<(), ApiError> {
        let text = match (self, &model.kind) {
            (Self::Embed { .. } | Self::Similarity, ModelKind::Embed { text, dimensions }) => {
                let wanted = match self {
                    Self::Embed { dimensions } => dimensions,
                    Self::Similarity | Self::Predict { .. } => None,
                };
                check_dimensions(wanted, *dimensions, model)?;
                text
            }
            (Self::Embed { .. } | Self::Similarity, _) => {
                return Err(ApiError::wrong_task(model, "makes no embeddings"));
            }
            (
                Self::Predict { .. },
                ModelKind::Classify {
                    reads: Reads::Text(text),
                    ..
                },
            ) => text,
            (Self::Predict { .. }, ModelKind::Classify { .. }) => {
                let message = format!("the model {} classifies no texts", model.name);
                return Err(ApiError::invalid("model", message));
            }
            (Self::Predict { .. }, _) => {
                return Err(ApiError::wrong_task(model, "does not classify"));
            }
        };
        check_tokens(MEMBER, inputs, truncate, (model, *text))
    }

    pub(super) fn reply(self, results: &Results<'_>) -> Reply {
        let body = match self {
            Self::Embed { dimensions } => vectors(results, dimensions),
            Self::Similarity => similarities(results),
            Self::Predict { is_list } => predictions(results, is_list),
        };
        Reply::json(StatusCode::OK, body)
    }

    /// Answers to POST alone have this form, and those are never validated.
    pub(super) fn tag(self, hasher: &mut blake3::Hasher) {
        hasher.update(&[4]);
    }
}

fn vectors(results: &Results<'_>, dimensions: Option<u32>) -> Bytes {
    let all = results.model().dimensions();
    let dimensions = dimensions.or(all).unwrap_or_default() as usize;
    let each = vector::written_size(dimensions * vector::ELEMENT, EncodingFormat::Float);
    let mut out = Vec::with_capacity(2 + each * results.len());
    list(results.each(), &mut out, |hit, out| {
        let vector = vector::shortened(&hit.output, dimensions);
        vector::write(&vector, EncodingFormat::Float, out);
    });
    out.into()
}

fn similarities(results: &Results<'_>) -> Bytes {
    let mut out = Vec::with_capacity(2 + 14 * results.len());
    let mut hits = results.each();
    if let Some(source) = hits.next() {
        list(hits, &mut out, |hit, out| {
            vector::write_element(vector::cosine(&source.output, &hit.output), out);
        });
    }
    out.into()
}

fn predictions(results: &Results<'_>, is_list: bool) -> Bytes {
    let labels = labels(results.model());
    let mut out = Vec::with_capacity(2 + (results.len() * labels.len() * 64).min(MAX_RESERVED));
    let write = |output: &[u8], out: &mut Vec<u8>| {
        write_ranked(out, labels, &ranked::highest(output, labels.len()));
    };
    match (is_list, results.each().next()) {
        (false, Some(only)) => write(&only.output, &mut out),
        _ => list(results.each(), &mut out, |hit, out| write(&hit.output, out)),
    }
    out.into()
}

fn list<T>(items: impl Iterator<Item = T>, out: &mut Vec<u8>, write: impl Fn(T, &mut Vec<u8>)) {
    out.push(b'[');
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(b']');
}
