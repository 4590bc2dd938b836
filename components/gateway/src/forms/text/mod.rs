//! Texts that a model writes: `/v1/chat/completions` and `/v1/completions`, as OpenAI's API has them, and `/v1/streams`.
//!
//! An item is one choice: a prompt, and which of several texts for it. Each has an entry of its own, so a request for
//! three texts of which two are known computes one. Whether a text is streamed changes how it is written, and never its
//! entry.
//!
//! | module | does |
//! | --- | --- |
//! | `settings` | the members that both routes have; what is refused because it would change the text |
//! | `chat`, `completion`, `stream` | what is gone on from |
//! | [`write`](mod@write), [`compact`] | answers, chunks, and events of our own |

mod chat;
pub mod compact;
mod completion;
mod settings;
mod stream;
pub mod write;

use brink_cache::policy::Sampling as SamplingFacts;
use brink_protocol::generate::{Choice, Prompt, Sampling, Written};
use brink_protocol::{Input, ModelInfo, ModelKind};
use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Form;
use crate::error::ApiError;
use crate::head::Head;
use crate::items::{Request, Results};
use crate::reply::Reply;
use crate::request_id;
use write::{Preface, StreamWriter};

pub use chat::parse as read_chat;
pub use completion::parse as read_completion;
pub use stream::parse as read_stream;

/// Most texts that one request may ask for: prompts times `n`. OpenAI's limit of `n`.
pub const MAX_CHOICES: usize = 128;

/// The routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Api {
    /// `/v1/chat/completions`
    Chat,
    /// `/v1/completions`
    Completion,
    /// `/v1/streams`
    Stream,
}

/// How texts are made and written.
#[derive(Clone, Debug, PartialEq)]
pub struct Texts {
    /// Which route.
    pub api: Api,
    /// Whether the answer is a stream of chunks.
    pub is_streamed: bool,
    /// Whether a stream tells at its end what it took.
    pub include_usage: bool,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Texts for each prompt.
    pub per_prompt: usize,
    /// What makes the answer's id.
    pub id: String,
}

impl Texts {
    /// A request for these prompts.
    fn request(
        self,
        model: String,
        prompts: Vec<Prompt>,
        member: &str,
    ) -> Result<Request, ApiError> {
        let count = prompts.len().saturating_mul(self.per_prompt);
        if count > MAX_CHOICES {
            let message =
                format!("{member} and n ask for {count} texts; at most {MAX_CHOICES} are allowed");
            return Err(ApiError::invalid("n", message));
        }
        for prompt in &prompts {
            refuse(prompt.refusal())?;
        }
        let mut inputs = Vec::with_capacity(count);
        for prompt in prompts {
            for place in 0..self.per_prompt {
                let choice = Choice {
                    prompt: prompt.clone(),
                    seed_offset: self.seed_offset(place),
                };
                inputs.push(Input::Blob(choice.encode().into()));
            }
        }
        Ok(Request {
            inputs,
            model,
            version: None,
            truncate: false,
            form: Form::Texts(Box::new(self)),
        })
    }

    /// Texts of one prompt differ by their seed. Where none is drawn they are all the same, and one item.
    fn seed_offset(&self, place: usize) -> u32 {
        match self.sampling.is_greedy() {
            true => 0,
            false => u32::try_from(place).unwrap_or(u32::MAX),
        }
    }

    /// What the policy is told.
    pub(crate) fn facts(&self) -> SamplingFacts {
        SamplingFacts {
            temperature_is_zero: self.sampling.is_greedy(),
            has_seed: self.sampling.seed.is_some(),
        }
    }

    /// What can change the text besides its prompt, each by the name that the API has for it; what is left at its default
    /// is the same as what is not there. Without temperature no token is drawn, so what would shape the draw is left out.
    pub(crate) fn parameters(&self) -> Map<String, Value> {
        let own = &self.sampling;
        let usual = Sampling::default();
        let mut members = Map::new();
        let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
        if let Some(most) = own.max_tokens {
            put("max_tokens", most.into());
        }
        if own.temperature != usual.temperature {
            put("temperature", own.temperature.into());
        }
        if !own.is_greedy() {
            if own.top_p != usual.top_p {
                put("top_p", own.top_p.into());
            }
            if own.top_k != usual.top_k {
                put("top_k", own.top_k.into());
            }
            if own.min_p != usual.min_p {
                put("min_p", own.min_p.into());
            }
            // As text: a number beyond 2^53 has no canonical form (RFC 8785 §3.2.2.3).
            if let Some(seed) = own.seed {
                put("seed", seed.to_string().into());
            }
        }
        if own.presence_penalty != usual.presence_penalty {
            put("presence_penalty", own.presence_penalty.into());
        }
        if own.frequency_penalty != usual.frequency_penalty {
            put("frequency_penalty", own.frequency_penalty.into());
        }
        if !own.stop.is_empty() {
            put("stop", json!(own.stop));
        }
        if let Some(top) = own.logprobs {
            put("logprobs", top.into());
        }
        members
    }

    /// How the tokens of a choice are chosen.
    pub(crate) fn sampling(&self, choice: &Choice) -> Sampling {
        let seed = self.sampling.seed;
        Sampling {
            seed: seed.map(|seed| seed.wrapping_add(choice.seed_offset.into())),
            ..self.sampling.clone()
        }
    }

    pub(crate) fn check(&self, model: &ModelInfo) -> Result<(), ApiError> {
        match model.kind {
            ModelKind::Generate { chat, .. } if self.api == Api::Chat && !chat => {
                Err(ApiError::invalid(
                    "model",
                    format!(
                        "the model {} has no template for messages; ask /v1/completions",
                        model.name
                    ),
                ))
            }
            ModelKind::Generate { .. } => Ok(()),
            _ => Err(ApiError::wrong_task(model, "writes no text")),
        }
    }

    /// What the client calls the prompt of a choice.
    pub(super) fn param(&self, index: usize) -> String {
        match self.api {
            Api::Chat | Api::Stream => "messages".to_owned(),
            Api::Completion => match index / self.per_prompt {
                0 => "prompt".to_owned(),
                place => format!("prompt[{place}]"),
            },
        }
    }

    pub(super) fn reply(&self, results: &Results<'_>) -> Reply {
        let created = results.each().map(|hit| hit.created).min();
        let preface = Preface {
            id: &self.id,
            created: created.unwrap_or_default(),
            model: results.model(),
        };
        // Results were held against the model before: all of them are texts.
        let texts = results.each().map(|hit| Written::decode(&hit.output));
        let texts: Vec<Written> = texts.flatten().collect();
        if !self.is_streamed {
            let body = write::whole(self, &preface, &texts);
            return Reply::json(StatusCode::OK, body);
        }
        let mut writer = StreamWriter::new(self, &preface);
        let mut body = String::new();
        for (index, text) in texts.into_iter().enumerate() {
            for event in text.into_events() {
                writer.event(index, &event, &mut body);
            }
        }
        writer.end(&mut body);
        event_stream(body)
    }
}

/// An answer in chunks; `body` has those that are there already.
pub(crate) fn event_stream(body: impl Into<Bytes>) -> Reply {
    Reply::bytes(StatusCode::OK, "text/event-stream", body)
        .with("cache-control", "no-cache")
        // Some proxies would gather the answer otherwise.
        .with("x-accel-buffering", "no")
}

/// The first word of these refusals is the member's name.
fn refuse(refusal: Option<String>) -> Result<(), ApiError> {
    match refusal {
        None => Ok(()),
        Some(message) => {
            let member = message.split(' ').next().unwrap_or_default().to_owned();
            Err(ApiError::invalid(member, message))
        }
    }
}

/// What makes the ids of an answer to this request.
fn id(head: &Head<'_>) -> String {
    request_id::of(head)
}
