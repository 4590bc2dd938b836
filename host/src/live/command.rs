//! What a client's messages mean (docs/websocket.md).
//!
//! Pure. A mistake is told with the member, the limit and the value where it is a number; nothing that a client wrote
//! is repeated but its own id, which it needs to know which request is meant.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::generate::PacedAt;
use crate::server::WEBSOCKET_PATH;

/// Longest id of a request, in bytes: it is repeated in every frame of the answer.
pub(super) const MAX_ID: usize = 64;
/// Longest path with its query, in bytes.
const MAX_PATH: usize = 2048;

/// What a message asks for.
#[derive(Debug)]
pub(super) enum Command {
    /// An answer.
    Ask(Arc<str>, Ask),
    /// Tokens at a pace, for benchmarks.
    Paced(Arc<str>, PacedAt),
    /// That a request ends.
    Cancel(Arc<str>),
}

/// A request as HTTP has them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) path: PathAndQuery,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Whether the answer's header fields are wanted as well.
    pub(super) wants_head: bool,
}

/// A message that asks for nothing that can be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    /// The request's id, if that much could be read.
    pub(super) id: Option<Arc<str>>,
    pub(super) message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(default)]
    cancel: bool,
    #[serde(borrow)]
    op: Option<Cow<'a, str>>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    path: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    headers: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(default)]
    head: bool,
}

/// What a short name stands for.
const OPERATIONS: [(&str, Method, &str); 4] = [
    ("chat", Method::POST, "/v1/chat/completions"),
    ("classify", Method::POST, "/v1/classify"),
    ("embeddings", Method::POST, "/v1/embeddings"),
    ("models", Method::GET, "/v1/models"),
];
/// The operation of benchmarks, which has no path.
const PACED: &str = "paced";

/// Fields that a request may have by itself; all others are those that the socket was opened with.
const FIELDS: [&str; 7] = [
    "accept",
    "cache-control",
    "if-none-match",
    "priority",
    "traceparent",
    "tracestate",
    "x-request-id",
];

/// Reads a client's message.
pub(super) fn read(message: &Bytes) -> Result<Command, Mistake> {
    let raw: Raw<'_> = serde_json::from_slice(message).map_err(|error| unreadable(&error))?;
    let id = raw
        .id
        .as_deref()
        .filter(|id| (1..=MAX_ID).contains(&id.len()));
    let Some(id) = id.map(Arc::<str>::from) else {
        let message = format!("id is wanted: a text of 1 to {MAX_ID} bytes");
        return Err(Mistake { id: None, message });
    };
    command(&raw, id.clone(), message).map_err(|message| Mistake {
        id: Some(id),
        message,
    })
}

fn unreadable(error: &serde_json::Error) -> Mistake {
    use serde_json::error::Category;
    let column = error.column();
    let message = match error.classify() {
        Category::Data => format!(
            "the message has a member of another name or kind than a request has, at byte {column}"
        ),
        Category::Syntax | Category::Eof | Category::Io => {
            format!("the message is no JSON object, at byte {column}")
        }
    };
    Mistake { id: None, message }
}

fn command(raw: &Raw<'_>, id: Arc<str>, message: &Bytes) -> Result<Command, String> {
    if raw.cancel {
        let alone = raw.op.is_none() && raw.path.is_none() && raw.body.is_none();
        return if alone {
            Ok(Command::Cancel(id))
        } else {
            Err("cancel goes with an id alone".to_owned())
        };
    }
    if raw.op.as_deref() == Some(PACED) {
        let body = raw.body.map_or("{}", RawValue::get);
        return Ok(Command::Paced(id, PacedAt::from_json(body)?));
    }
    let (method, path) = target(raw)?;
    let body = raw.body.map_or(Bytes::new(), |body| {
        message.slice_ref(body.get().as_bytes())
    });
    let ask = Ask {
        headers: fields(raw, !body.is_empty())?,
        method,
        path,
        body,
        wants_head: raw.head,
    };
    Ok(Command::Ask(id, ask))
}

fn target(raw: &Raw<'_>) -> Result<(Method, PathAndQuery), String> {
    match (&raw.op, &raw.path) {
        (Some(_), Some(_)) => Err("op and path are two names for one thing; give one".to_owned()),
        (None, None) => Err("op or path is wanted".to_owned()),
        (Some(op), None) => {
            if raw.method.is_some() {
                return Err("method goes with path, not with op".to_owned());
            }
            let found = OPERATIONS.iter().find(|(name, ..)| name == op);
            let (_, method, path) = found.ok_or_else(|| {
                let names = OPERATIONS.map(|(name, ..)| name).join(", ");
                format!("op is none of {names}")
            })?;
            Ok((method.clone(), PathAndQuery::from_static(path)))
        }
        (None, Some(path)) => Ok((method(raw)?, checked_path(path)?)),
    }
}

fn method(raw: &Raw<'_>) -> Result<Method, String> {
    match raw.method.as_deref() {
        None if raw.body.is_some() => Ok(Method::POST),
        None => Ok(Method::GET),
        Some("GET") => Ok(Method::GET),
        Some("POST") => Ok(Method::POST),
        Some("PUT") => Ok(Method::PUT),
        Some("DELETE") => Ok(Method::DELETE),
        Some("QUERY") => Method::from_bytes(b"QUERY").map_err(|error| error.to_string()),
        Some(_) => Err("method is none of GET, POST, PUT, DELETE, QUERY".to_owned()),
    }
}

fn checked_path(path: &str) -> Result<PathAndQuery, String> {
    if path.len() > MAX_PATH {
        let length = path.len();
        return Err(format!(
            "path has {length} bytes; at most {MAX_PATH} are allowed"
        ));
    }
    let parsed = Some(path).filter(|path| path.starts_with('/'));
    let parsed = parsed.and_then(|path| path.parse::<PathAndQuery>().ok());
    let parsed = parsed.ok_or("path is no path that begins with \"/\"")?;
    if parsed.path().trim_end_matches('/') == WEBSOCKET_PATH {
        return Err(format!("{WEBSOCKET_PATH} cannot be asked through itself"));
    }
    Ok(parsed)
}

fn fields(raw: &Raw<'_>, has_body: bool) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    if has_body {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    for (name, value) in &raw.headers {
        let Some(field) = FIELDS.iter().find(|field| *field == name) else {
            return Err(format!("headers may have only {}", FIELDS.join(", ")));
        };
        let value = HeaderValue::from_str(value)
            .map_err(|_| format!("headers: the value of {field} is no header value"))?;
        headers.insert(*field, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(message: &str) -> Ask {
        match read(&Bytes::from(message.to_owned())) {
            Ok(Command::Ask(_, ask)) => ask,
            other => panic!("{message}: {other:?}"),
        }
    }

    #[test]
    fn short_names_and_paths_ask_the_same() {
        let short = ask(r#"{"id":"1","op":"embeddings","body":{"input": "a"}}"#);
        let long =
            ask(r#"{"id":"1","method":"POST","path":"/v1/embeddings","body":{"input": "a"}}"#);
        assert_eq!(short, long);
        assert_eq!(short.body, r#"{"input": "a"}"#);
        assert_eq!(short.headers["content-type"], "application/json");
        let models = ask(r#"{"id":"1","path":"/v1/models?x=1"}"#);
        assert_eq!(
            (models.method, models.path.query()),
            (Method::GET, Some("x=1"))
        );
        let own = ask(r#"{"id":"1","op":"models","headers":{"priority":"u=1"},"head":true}"#);
        assert!(own.wants_head && own.headers["priority"] == "u=1");
    }

    #[test]
    fn a_mistake_names_the_member_and_repeats_nothing() {
        let check = |message: &str, expected: &str| {
            let mistake = read(&Bytes::from(message.to_owned())).unwrap_err();
            assert!(
                mistake.message.contains(expected),
                "{message}: {}",
                mistake.message
            );
            assert!(!mistake.message.contains("secret"), "{}", mistake.message);
        };
        let long = "x".repeat(65);
        check("secret", "no JSON object");
        check("[1]", "another name or kind");
        check("{\"id\":\"1\"", "no JSON object");
        check(r#"{"id":"1","secret":1}"#, "another name or kind");
        check(r#"{"op":"chat"}"#, "id is wanted");
        check(r#"{"id":7,"op":"chat"}"#, "another name or kind");
        check(
            &format!(r#"{{"id":"{long}","op":"chat"}}"#),
            "1 to 64 bytes",
        );
        check(r#"{"id":"1"}"#, "op or path is wanted");
        check(r#"{"id":"1","op":"secret"}"#, "none of chat, classify");
        check(r#"{"id":"1","op":"chat","path":"/x"}"#, "give one");
        check(
            r#"{"id":"1","op":"chat","method":"GET"}"#,
            "method goes with path",
        );
        check(r#"{"id":"1","path":"secret"}"#, "begins with");
        check(r#"{"id":"1","path":"/v1/ws"}"#, "through itself");
        check(r#"{"id":"1","path":"/x","method":"TRACE"}"#, "none of GET");
        check(
            r#"{"id":"1","path":"/x","headers":{"cookie":"secret"}}"#,
            "headers may have only",
        );
        check(
            "{\"id\":\"1\",\"path\":\"/x\",\"headers\":{\"priority\":\"a\\nb\"}}",
            "no header value",
        );
        check(r#"{"id":"1","cancel":true,"op":"chat"}"#, "an id alone");
        check(r#"{"id":"1","op":"paced","body":{"rate":0}}"#, "rate");
        check(
            &format!(r#"{{"id":"1","path":"/{}"}}"#, "x".repeat(2048)),
            "at most 2048",
        );
    }

    #[test]
    fn a_request_whose_id_could_be_read_is_told_by_it() {
        let mistake = read(&Bytes::from_static(br#"{"id":"7","op":"x"}"#)).unwrap_err();
        assert_eq!(mistake.id.as_deref(), Some("7"));
    }
}
