//! `POST /v1/streams`: one text, in a stream that can be gone on with after the connection was lost.

use brink_protocol::Input;
use brink_protocol::generate::Prompt;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Api, Texts, chat, completion, settings};
use crate::error::ApiError;
use crate::forms::body;
use crate::head::Head;
use crate::items::Request;

#[derive(Deserialize)]
struct RawStream<'a> {
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt: Option<&'a RawValue>,
}

/// Reads a body of `/v1/streams`: that of `/v1/chat/completions` or of `/v1/completions`.
///
/// # Errors
/// The first mistake in it.
pub fn parse(head: &Head<'_>, bytes: &[u8]) -> Result<Request, ApiError> {
    let raw: RawStream<'_> = body::read(bytes)?;
    let prompt = match (raw.messages, raw.prompt) {
        (Some(_), None) => chat::conversation(bytes)?,
        (None, Some(_)) => one(completion::prompts(bytes)?)?,
        (Some(_), Some(_)) => {
            let message = "messages and prompt are given; give one of them";
            return Err(ApiError::invalid("messages", message));
        }
        (None, None) => {
            let message = "messages or prompt is missing";
            return Err(ApiError::invalid("messages", message));
        }
    };
    let api = Api::Stream;
    let (model, texts) = settings::read(api, head, bytes)?;
    if texts.per_prompt != 1 {
        let message = format!("n is {}; a stream has one text", texts.per_prompt);
        return Err(ApiError::invalid("n", message));
    }
    if texts.sampling.logprobs.is_some() {
        let message = "logprobs are not offered here; ask /v1/chat/completions";
        return Err(ApiError::invalid("logprobs", message));
    }
    let texts = Texts {
        is_streamed: true,
        ..texts
    };
    texts.request(model, vec![prompt], "messages")
}

fn one(mut prompts: Vec<Input>) -> Result<Prompt, ApiError> {
    let count = prompts.len();
    match prompts.pop() {
        Some(Input::Text(text)) if count == 1 => Ok(Prompt::Text(text)),
        Some(Input::Tokens(tokens)) if count == 1 => Ok(Prompt::Tokens(tokens)),
        _ => {
            let message = format!("prompt has {count} texts; a stream has one");
            Err(ApiError::invalid("prompt", message))
        }
    }
}
