//! How texts are written: whole answers, and chunks of a stream.
//!
//! A stream is made of server-sent events, one chunk each, and ends with `[DONE]`, as OpenAI's clients expect it. No
//! event has an `id`: those clients take one for more than it is. Comments keep a quiet stream alive.

use std::fmt::Write;

use brink_cache::UnixSeconds;
use brink_protocol::ModelInfo;
use brink_protocol::generate::{
    Delta, FinishReason, GenerateEvent, Logprob, TokenLogprob, Usage, Written,
};
use brink_protocol::refusal::Told;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::compact::CompactWriter;
use super::{Api, Texts};
use crate::error::ApiError;
use crate::error_form::ErrorForm;

/// Keeps proxies and clients from taking a quiet stream for a dead one.
pub(super) const HEARTBEAT: &str = ": ping\n\n";
/// The end of a stream.
const DONE: &str = "data: [DONE]\n\n";

/// What all parts of an answer begin with.
#[derive(Clone, Copy, Debug)]
pub struct Preface<'a> {
    /// What makes the answer's id.
    pub id: &'a str,
    /// When the text was begun.
    pub created: UnixSeconds,
    /// The model.
    pub model: &'a ModelInfo,
}

impl Preface<'_> {
    /// `{"id":…,"choices":[`, to which choices are added.
    fn write(&self, api: Api, is_chunk: bool) -> String {
        let (prefix, object) = match (api, is_chunk) {
            (Api::Chat, true) => ("chatcmpl", "chat.completion.chunk"),
            (Api::Chat, false) => ("chatcmpl", "chat.completion"),
            // Streams with events of their own have no such beginning.
            (Api::Completion | Api::Stream, _) => ("cmpl", "text_completion"),
        };
        let digest = self.model.digest.to_string();
        let mut out = String::with_capacity(256);
        let _ = write!(
            out,
            "{{\"id\":{},\"object\":\"{object}\",\"created\":{},\"model\":{},\"system_fingerprint\":\"fp_{}\",\"choices\":[",
            quoted(&format!("{prefix}-{}", self.id)),
            self.created.0,
            quoted(&self.model.name),
            &digest[..12],
        );
        out
    }
}

/// A whole answer.
pub(super) fn whole(asked: &Texts, preface: &Preface<'_>, texts: &[Written]) -> String {
    let mut out = preface.write(asked.api, false);
    let wants_logprobs = asked.sampling.logprobs.is_some();
    let mut total = Total::default();
    for (index, text) in texts.iter().enumerate() {
        total.add(index.is_multiple_of(asked.per_prompt), &text.usage);
        if index > 0 {
            out.push(',');
        }
        let reason = quoted(text.reason.name());
        let content = quoted(&text.text);
        let logprobs = logprobs(asked.api, wants_logprobs, &text.logprobs, &mut 0);
        let _ = match asked.api {
            Api::Chat => write!(
                out,
                "{{\"index\":{index},\"message\":{{\"role\":\"assistant\",\"content\":{content},\"refusal\":null}},\
                 \"logprobs\":{logprobs},\"finish_reason\":{reason}}}"
            ),
            Api::Completion | Api::Stream => write!(
                out,
                "{{\"text\":{content},\"index\":{index},\"logprobs\":{logprobs},\"finish_reason\":{reason}}}"
            ),
        };
    }
    let _ = write!(out, "],\"usage\":{}}}", total.json());
    out
}

/// Writes a stream, event by event, in the form of its route.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum StreamWriter {
    /// Chunks of OpenAI's API.
    Chunks(ChunkWriter),
    /// Events of our own.
    Compact(CompactWriter),
}

impl StreamWriter {
    /// Nothing is written yet.
    pub fn new(asked: &Texts, preface: &Preface<'_>) -> Self {
        match asked.api {
            Api::Chat | Api::Completion => Self::Chunks(ChunkWriter::new(asked, preface)),
            Api::Stream => {
                let model = preface.model.name.clone();
                Self::Compact(CompactWriter::new(Some(model), 0))
            }
        }
    }

    /// Appends an event of a choice. A failure ends the stream, see [`fail`](Self::fail).
    pub fn event(&mut self, index: usize, event: &GenerateEvent, out: &mut String) {
        match self {
            Self::Chunks(chunks) => chunks.event(index, event, out),
            Self::Compact(compact) => compact.event(event, out),
        }
    }

    /// Appends the end of a stream whose choices are all finished.
    pub fn end(&self, out: &mut String) {
        match self {
            Self::Chunks(chunks) => chunks.end(out),
            Self::Compact(_) => {}
        }
    }

    /// Appends the end of a stream that fails.
    pub fn fail(&self, error: &ApiError, out: &mut String) {
        match self {
            Self::Chunks(_) => ChunkWriter::fail(error, out),
            Self::Compact(_) => CompactWriter::fail(error, out),
        }
    }
}

/// Writes chunks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChunkWriter {
    api: Api,
    /// What each chunk begins with.
    preface: String,
    include_usage: bool,
    wants_logprobs: bool,
    per_prompt: usize,
    /// Characters of each choice so far, for the offsets of its tokens.
    offsets: Vec<usize>,
    total: Total,
}

impl ChunkWriter {
    fn new(asked: &Texts, preface: &Preface<'_>) -> Self {
        let preface = preface.write(asked.api, true);
        Self {
            api: asked.api,
            preface: format!("data: {preface}"),
            include_usage: asked.include_usage,
            wants_logprobs: asked.sampling.logprobs.is_some(),
            per_prompt: asked.per_prompt,
            offsets: Vec::new(),
            total: Total::default(),
        }
    }

    fn event(&mut self, index: usize, event: &GenerateEvent, out: &mut String) {
        match event {
            GenerateEvent::Kept { .. } => {}
            GenerateEvent::Started { .. } => {
                if self.api == Api::Chat {
                    let delta = r#"{"role":"assistant","content":""}"#;
                    self.choice(index, (delta, "null"), None, out);
                }
            }
            GenerateEvent::Delta(delta) => self.delta(index, delta, out),
            GenerateEvent::Idle => out.push_str(HEARTBEAT),
            GenerateEvent::Finished { reason, usage } => {
                self.total.add(index.is_multiple_of(self.per_prompt), usage);
                let empty = match self.api {
                    Api::Chat => "{}",
                    Api::Completion | Api::Stream => "\"\"",
                };
                self.choice(index, (empty, "null"), Some(*reason), out);
            }
            GenerateEvent::Failed(fault) => {
                Self::fail(&ApiError::from_fault(fault.clone(), None), out);
            }
        }
    }

    fn delta(&mut self, index: usize, delta: &Delta, out: &mut String) {
        if delta.text.is_empty() && (delta.logprobs.is_empty() || !self.wants_logprobs) {
            return;
        }
        if self.offsets.len() <= index {
            self.offsets.resize(index + 1, 0);
        }
        let offset = &mut self.offsets[index];
        let logprobs = logprobs(self.api, self.wants_logprobs, &delta.logprobs, offset);
        let text = quoted(&delta.text);
        let delta = match self.api {
            Api::Chat => format!("{{\"content\":{text}}}"),
            Api::Completion | Api::Stream => text,
        };
        self.choice(index, (&delta, &logprobs), None, out);
    }

    /// `told` is the delta and its probabilities, in JSON.
    fn choice(
        &self,
        index: usize,
        told: (&str, &str),
        reason: Option<FinishReason>,
        out: &mut String,
    ) {
        let (delta, logprobs) = told;
        let member = match self.api {
            Api::Chat => "delta",
            Api::Completion | Api::Stream => "text",
        };
        let reason = reason.map_or("null".to_owned(), |reason| quoted(reason.name()));
        let usage = if self.include_usage {
            ",\"usage\":null"
        } else {
            ""
        };
        let _ = write!(
            out,
            "{}{{\"index\":{index},\"{member}\":{delta},\"logprobs\":{logprobs},\"finish_reason\":{reason}}}]{usage}}}\n\n",
            self.preface
        );
    }

    fn end(&self, out: &mut String) {
        if self.include_usage {
            let _ = write!(
                out,
                "{}],\"usage\":{}}}\n\n",
                self.preface,
                self.total.json()
            );
        }
        out.push_str(DONE);
    }

    /// The end of a stream that fails: clients take an event with an error for one.
    fn fail(error: &ApiError, out: &mut String) {
        out.push_str("data: ");
        out.push_str(&error_json(error));
        out.push_str("\n\n");
        out.push_str(DONE);
    }
}

/// An error as the body of an answer would have it.
pub(super) fn error_json(error: &ApiError) -> String {
    let written = ErrorForm::OpenAi.write(&Told {
        status: error.status.as_u16(),
        reason: error.status.canonical_reason().unwrap_or("Error"),
        code: error.code,
        message: &error.message,
        param: error.param.as_deref(),
    });
    String::from_utf8_lossy(&written.body).into_owned()
}

/// What all choices took. A prompt counts once, however many texts there are for it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Total {
    prompt: u64,
    cached: u64,
    completion: u64,
}

impl Total {
    fn add(&mut self, is_first_of_prompt: bool, usage: &Usage) {
        if is_first_of_prompt {
            self.prompt += u64::from(usage.prompt_tokens);
            self.cached += u64::from(usage.cached_tokens);
        }
        self.completion += u64::from(usage.completion_tokens);
    }

    fn json(&self) -> Value {
        json!({
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        })
    }
}

/// The `logprobs` of a choice. `offset` is moved behind the tokens.
fn logprobs(api: Api, wanted: bool, tokens: &[TokenLogprob], offset: &mut usize) -> String {
    if !wanted {
        return "null".to_owned();
    }
    let value = match api {
        Api::Chat => {
            let content: Vec<_> = tokens.iter().map(chat_logprob).collect();
            json!({"content": content, "refusal": null})
        }
        Api::Completion | Api::Stream => completion_logprobs(tokens, offset),
    };
    value.to_string()
}

fn chat_logprob(token: &TokenLogprob) -> Value {
    let mut value = token_json(&token.chosen);
    value["top_logprobs"] = token.top.iter().map(token_json).collect();
    value
}

fn token_json(token: &Logprob) -> Value {
    json!({"token": text_of(token), "logprob": token.logprob, "bytes": token.bytes})
}

fn completion_logprobs(tokens: &[TokenLogprob], offset: &mut usize) -> Value {
    let mut offsets = Vec::with_capacity(tokens.len());
    for token in tokens {
        offsets.push(*offset);
        *offset += text_of(&token.chosen).chars().count();
    }
    let top = |token: &TokenLogprob| -> Map<String, Value> {
        let pairs = token.top.iter();
        pairs
            .map(|one| (text_of(one), one.logprob.into()))
            .collect()
    };
    json!({
        "tokens": tokens.iter().map(|token| text_of(&token.chosen)).collect::<Vec<_>>(),
        "token_logprobs": tokens.iter().map(|token| token.chosen.logprob).collect::<Vec<_>>(),
        "top_logprobs": tokens.iter().map(top).collect::<Vec<_>>(),
        "text_offset": offsets,
    })
}

/// A token need not be whole characters; its bytes are told beside it.
fn text_of(token: &Logprob) -> String {
    String::from_utf8_lossy(&token.bytes).into_owned()
}

/// A JSON string.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
