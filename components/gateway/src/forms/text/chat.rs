//! Conversations.

use brink_protocol::generate::{MAX_MESSAGES, Message, Prompt, Role};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::settings;
use super::{Api, refuse};
use crate::error::{ApiError, shorten};
use crate::forms::at_most::AtMost;
use crate::forms::body;
use crate::head::Head;
use crate::items::Request;

/// The member that holds the conversation.
const MEMBER: &str = "messages";
/// Most parts of one message's content; more are counted and refused.
const MAX_PARTS: usize = 256;

#[derive(Deserialize)]
struct RawChat<'a> {
    #[serde(borrow)]
    messages: Option<AtMost<RawMessage<'a>, MAX_MESSAGES>>,
}

#[derive(Deserialize)]
struct RawMessage<'a> {
    role: Option<String>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_calls: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
}

/// Reads a body of `/v1/chat/completions`.
///
/// # Errors
/// The first mistake in it.
pub fn parse(head: &Head<'_>, bytes: &[u8]) -> Result<Request, ApiError> {
    let (model, texts) = settings::read(Api::Chat, head, bytes)?;
    texts.request(model, vec![conversation(bytes)?], MEMBER)
}

/// The conversation in a body.
pub(super) fn conversation(bytes: &[u8]) -> Result<Prompt, ApiError> {
    let chat: RawChat<'_> = body::read(bytes)?;
    let messages = chat
        .messages
        .ok_or_else(|| ApiError::invalid(MEMBER, "the member messages is missing"))?;
    if messages.count > MAX_MESSAGES {
        let count = messages.count;
        let message = format!("messages has {count} elements; 1 to {MAX_MESSAGES} are allowed");
        refuse(Some(message))?;
    }
    let messages = messages.kept.into_iter().enumerate();
    let messages: Result<_, _> = messages.map(|(place, raw)| message(place, &raw)).collect();
    Ok(Prompt::Messages(messages?))
}

fn message(place: usize, raw: &RawMessage<'_>) -> Result<Message, ApiError> {
    let at = |member: &str| format!("{MEMBER}[{place}].{member}");
    let role = role(&at("role"), raw.role.as_deref())?;
    if raw
        .tool_calls
        .is_some_and(|calls| !matches!(calls.get(), "null" | "[]"))
    {
        let param = at("tool_calls");
        let message = format!("{param} is given; tools are not offered here");
        return Err(ApiError::invalid(param, message));
    }
    let content = content(&at("content"), raw.content)?;
    Ok(Message { role, content })
}

/// `developer` is the newer name for what `system` is.
fn role(param: &str, role: Option<&str>) -> Result<Role, ApiError> {
    match role {
        Some("system" | "developer") => Ok(Role::System),
        Some("user") => Ok(Role::User),
        Some("assistant") => Ok(Role::Assistant),
        Some(other) => Err(ApiError::invalid(
            param,
            format!(
                "{param} is {}; allowed: \"system\", \"developer\", \"user\", \"assistant\"",
                shorten(other)
            ),
        )),
        None => Err(ApiError::invalid(param, format!("{param} is missing"))),
    }
}

/// A string, or parts that are texts; those are put below each other.
fn content(param: &str, value: Option<&RawValue>) -> Result<String, ApiError> {
    let wrong = |message: String| ApiError::invalid(param, message);
    let text = value.map_or("null", RawValue::get);
    match text.as_bytes().first() {
        Some(b'"') => {
            serde_json::from_str(text).map_err(|_| wrong(format!("{param} is no valid string")))
        }
        Some(b'[') => {
            let parts: AtMost<Part, MAX_PARTS> = serde_json::from_str(text).map_err(|_| {
                wrong(format!(
                    "{param} is an array of something else than {{\"type\", \"text\"}}"
                ))
            })?;
            if parts.count > MAX_PARTS {
                let count = parts.count;
                return Err(wrong(format!(
                    "{param} has {count} parts; at most {MAX_PARTS} are allowed"
                )));
            }
            let parts = parts.kept.into_iter().enumerate();
            let texts: Result<Vec<_>, _> = parts
                .map(|(place, part)| text_of(param, place, part))
                .collect();
            Ok(texts?.join("\n"))
        }
        Some(b'n') => Err(wrong(format!("{param} is missing"))),
        _ => Err(wrong(format!(
            "{param} must be a string or an array of parts"
        ))),
    }
}

fn text_of(param: &str, place: usize, part: Part) -> Result<String, ApiError> {
    let param = format!("{param}[{place}]");
    match (part.kind.as_str(), part.text) {
        ("text", Some(text)) => Ok(text),
        ("text", None) => {
            let message = format!("{param}.text is missing");
            Err(ApiError::invalid(param, message))
        }
        (kind, _) => {
            let message = format!(
                "{param}.type is {}; models here read texts: only \"text\" is allowed",
                shorten(kind)
            );
            Err(ApiError::invalid(param, message))
        }
    }
}
