//! The forms in which clients ask: each reads a request into items, and writes an answer from results.
//!
//! | module | form |
//! | --- | --- |
//! | [`openai`] | embeddings as OpenAI's API has them |
//! | [`classify`] | labels with scores, in the same style |
//! | [`infer`] | tensors, as the Open Inference Protocol has them |
//! | [`tei`] | embeddings, similarities and classes of text-embeddings-inference |
//! | [`text`] | texts that a model writes, as OpenAI's API has them |
//!
//! A form decides nothing about caching: the same item asked for in two forms has one entry. Not here:
//! keys, look-ups and calls to the host, see [`items`](crate::items).

pub mod classify;
pub mod infer;
pub mod openai;
pub mod tei;
pub mod text;

pub(crate) mod at_most;
pub(crate) mod body;
pub(crate) mod input;
mod predicted;
mod query;
mod ranked;
pub(crate) mod vector;

use std::time::Duration;

use brink_cache::policy::Sampling;
use brink_protocol::{Fault, Input, ModelInfo};
use bytes::Bytes;

use crate::default_model::Purpose;
use crate::error::ApiError;
use crate::head::Head;
use crate::items::{Request, Results};
use crate::reply::Reply;
use crate::route::{Items, Verb};

impl Items {
    /// Reads a request of this route. `limit` is the most bytes that a body may have once it is read: one that was
    /// compressed, and tensors that were written in JSON.
    ///
    /// # Errors
    /// The first mistake in it.
    pub(crate) fn read(
        &self,
        head: &Head<'_>,
        body: Bytes,
        limit: u64,
    ) -> Result<Request, ApiError> {
        match self {
            Self::Embeddings(Verb::Get) => openai::from_query(head.query.unwrap_or_default()),
            Self::Embeddings(Verb::Query) => {
                check_content_type(head)?;
                openai::parse(&body)
            }
            // Clients of OpenAI's API are not all careful with the field.
            Self::Embeddings(Verb::Post) => openai::parse(&body),
            Self::Classify => classify::read(head, body),
            Self::Infer(target) => infer::read(head, body, target, limit),
            Self::Embed => tei::embed(&body),
            Self::Similarity => tei::similarity(&body),
            Self::Predict => tei::predict(&body),
            Self::Chat => text::read_chat(head, &body),
            Self::Completion => text::read_completion(head, &body),
            Self::Stream => text::read_stream(head, &body),
        }
    }
}

/// RFC 10008 §2: without a media type that is right, the content of a QUERY means nothing.
fn check_content_type(head: &Head<'_>) -> Result<(), ApiError> {
    let media = media_type(head).ok_or_else(ApiError::no_content_type)?;
    if media.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(ApiError::wrong_content_type(media, "application/json"))
}

/// What the body is, without parameters (RFC 9110 §8.3).
fn media_type<'a>(head: &Head<'a>) -> Option<&'a str> {
    let value = head.get("content-type")?;
    value.split(';').next().map(str::trim)
}

/// How a client asked, and how its answer is written.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// `/v1/embeddings`
    OpenAi(openai::Embeddings),
    /// `/v1/classify`
    Classify(classify::Classify),
    /// `/v2/models/{name}/infer`
    Infer(Box<infer::Infer>),
    /// `/embed`, `/similarity` and `/predict`
    Tei(tei::Tei),
    /// `/v1/chat/completions` and `/v1/completions`
    Texts(Box<text::Texts>),
}

impl Form {
    /// Holds items against the model, as far as that needs no tokenizer, and makes them where only the
    /// model says what they are.
    ///
    /// # Errors
    /// What of the request this model does not take.
    pub(crate) fn bind(
        &self,
        inputs: &mut Vec<Input>,
        truncate: bool,
        model: &ModelInfo,
    ) -> Result<(), ApiError> {
        match self {
            Self::OpenAi(form) => form.check(inputs, truncate, model),
            Self::Classify(form) => form.bind(inputs, truncate, model),
            Self::Infer(form) => form.bind(inputs, model),
            Self::Tei(form) => form.check(inputs, truncate, model),
            Self::Texts(form) => form.check(model),
        }
    }

    /// Gives up what it keeps of the inputs, once they are not bound to a model again.
    pub(crate) fn forget_inputs(&mut self) {
        match self {
            Self::Infer(form) => form.forget_inputs(),
            Self::OpenAi(_) | Self::Classify(_) | Self::Tei(_) | Self::Texts(_) => {}
        }
    }

    /// What the client calls its input of that index.
    pub(crate) fn param(&self, index: usize) -> String {
        match self {
            Self::OpenAi(_) => format!("input[{index}]"),
            Self::Classify(form) => form.param(index),
            Self::Infer(form) => form.param(index),
            Self::Tei(form) => form.param(index),
            Self::Texts(form) => form.param(index),
        }
    }

    /// The answer.
    ///
    /// # Errors
    /// 400 when the results have no such form.
    pub(crate) fn reply(&self, results: &Results<'_>) -> Result<Reply, ApiError> {
        match self {
            Self::OpenAi(form) => Ok(form.reply(results)),
            Self::Classify(form) => Ok(form.reply(results)),
            Self::Infer(form) => form.reply(results),
            Self::Tei(form) => Ok(form.reply(results)),
            Self::Texts(form) => Ok(form.reply(results)),
        }
    }

    /// Bytes that differ where two forms write the same results differently.
    pub(crate) fn tag(&self, hasher: &mut blake3::Hasher) {
        match self {
            Self::OpenAi(form) => form.tag(hasher),
            Self::Classify(form) => form.tag(hasher),
            Self::Infer(form) => form.tag(hasher),
            Self::Tei(form) => form.tag(hasher),
            // Asked for by POST alone, whose answers have no tag.
            Self::Texts(_) => {}
        }
    }

    /// What the model of a request has to do that names none; `None` where each request names one.
    pub(crate) fn purpose(&self) -> Option<Purpose> {
        match self {
            Self::Tei(form) => Some(form.purpose()),
            Self::OpenAi(_) | Self::Classify(_) | Self::Infer(_) | Self::Texts(_) => None,
        }
    }

    /// How urgent the request is, where its body says so.
    pub(crate) fn urgency(&self) -> Option<u8> {
        match self {
            Self::Infer(form) => form.urgency(),
            Self::OpenAi(_) | Self::Classify(_) | Self::Tei(_) | Self::Texts(_) => None,
        }
    }

    /// How long the request may take, where its body says so.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        match self {
            Self::Infer(form) => form.timeout(),
            Self::OpenAi(_) | Self::Classify(_) | Self::Tei(_) | Self::Texts(_) => None,
        }
    }

    /// How texts are made, if these are texts.
    pub(crate) fn texts(&self) -> Option<&text::Texts> {
        match self {
            Self::Texts(form) => Some(form),
            Self::OpenAi(_) | Self::Classify(_) | Self::Infer(_) | Self::Tei(_) => None,
        }
    }

    /// How results are sampled, as far as a policy asks.
    pub(crate) fn sampling_facts(&self) -> Sampling {
        self.texts().map(text::Texts::facts).unwrap_or_default()
    }

    /// An error of the host, told to this client. `index` is that of the input it is about.
    pub(crate) fn error(&self, fault: Fault, index: Option<usize>) -> ApiError {
        ApiError::from_fault(fault, index.map(|index| self.param(index)))
    }
}
