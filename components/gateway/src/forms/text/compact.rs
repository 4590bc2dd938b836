//! Texts in few bytes, with a place to go on from: the events of `/v1/streams`.
//!
//! A token takes some 30 bytes where a chunk of OpenAI's API takes some 250. The `id` of an event is how many bytes of the
//! text (UTF-8) are read with it; browsers send the last one back as `Last-Event-ID`, and the stream goes on there.

use std::fmt::Write;

use brink_protocol::generate::{GenerateEvent, Usage};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::write::{HEARTBEAT, error_json, quoted};
use crate::error::ApiError;

/// The `id` of the last event: there is nothing to go on with.
pub const END: &str = "end";

/// Writes the events of one text.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CompactWriter {
    /// Told with the beginning, where it is known.
    model: Option<String>,
    is_open: bool,
    /// Bytes of the text so far.
    cursor: u64,
}

impl CompactWriter {
    /// From that byte of a text on.
    pub fn new(model: Option<String>, cursor: u64) -> Self {
        Self {
            model,
            is_open: false,
            cursor,
        }
    }

    /// Appends an event.
    pub fn event(&mut self, event: &GenerateEvent, out: &mut String) {
        match event {
            GenerateEvent::Kept { id } => self.open(&quoted(id), out),
            GenerateEvent::Started { prompt_tokens, .. } => {
                // A stored text is kept nowhere else: whoever loses it asks again, and gets it at once.
                if !self.is_open {
                    self.open("null", out);
                }
                let model = self
                    .model
                    .as_deref()
                    .map(|model| format!("\"model\":{},", quoted(model)));
                let _ = write!(
                    out,
                    "event: start\nid: {}\ndata: {{{}\"prompt_tokens\":{prompt_tokens}}}\n\n",
                    self.cursor,
                    model.unwrap_or_default(),
                );
            }
            GenerateEvent::Delta(delta) if delta.text.is_empty() => {}
            GenerateEvent::Delta(delta) => {
                self.cursor += delta.text.len() as u64;
                let _ = write!(
                    out,
                    "id: {}\ndata: {{\"t\":{}}}\n\n",
                    self.cursor,
                    quoted(&delta.text)
                );
            }
            GenerateEvent::Idle => out.push_str(HEARTBEAT),
            GenerateEvent::Finished { reason, usage } => {
                let end = json!({"finish_reason": reason.name(), "usage": usage_json(usage)});
                let _ = write!(out, "event: end\nid: {END}\ndata: {end}\n\n");
            }
            GenerateEvent::Failed(fault) => {
                Self::fail(&ApiError::from_fault(fault.clone(), None), out);
            }
        }
    }

    fn open(&mut self, id: &str, out: &mut String) {
        self.is_open = true;
        let _ = write!(out, "event: open\ndata: {{\"id\":{id}}}\n\n");
    }

    /// Appends the end of a stream that fails.
    pub fn fail(error: &ApiError, out: &mut String) {
        let _ = write!(out, "event: error\ndata: {}\n\n", error_json(error));
    }
}

fn usage_json(usage: &Usage) -> serde_json::Value {
    json!({
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens.saturating_add(usage.completion_tokens),
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    })
}
