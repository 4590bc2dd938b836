//! The answer that a stored response gives to a client, whose own conditions are evaluated here
//! (RFC 9111 §4.3.2).

use super::fields::Fields;
use super::head::{StoredResponse, date_of};
use super::request::RequestHead;
use crate::http::IfNoneMatch;
use crate::http::response::LARGEST;
use crate::time::UnixSeconds;

/// What goes to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The stored status, or 304.
    pub status: u16,
    /// The fields, with the current `Age`.
    pub fields: Fields,
    /// Whether the stored content follows.
    pub sends_body: bool,
}

/// Fields of a 304 (RFC 9110 §15.4.5). The targeted field is among them, because it guides updates
/// of caches as `Cache-Control` does.
const OF_NOT_MODIFIED: [&str; 8] = [
    "age",
    "cache-control",
    "cdn-cache-control",
    "content-location",
    "date",
    "etag",
    "expires",
    "vary",
];

/// What the stored response answers to a GET or HEAD request.
pub fn answer(stored: &StoredResponse, request: &RequestHead<'_>, now: UnixSeconds) -> Answer {
    let mut fields = stored.head.fields.clone();
    let age = stored.head.age(now).as_secs().min(LARGEST);
    fields.insert("age", age.to_string());
    if client_has(stored, request) {
        return not_modified(&fields);
    }
    let status = stored.head.status;
    // RFC 9110 §8.6: never with 204. HEAD tells what GET would have sent.
    fields.remove("content-length");
    if status != 204 {
        fields.append("content-length", stored.body.len().to_string());
    }
    Answer {
        status,
        fields,
        sends_body: request.method != "HEAD" && status != 204,
    }
}

fn not_modified(fields: &Fields) -> Answer {
    let has_tag = fields.contains("etag");
    let is_needed = |name: &str| {
        // Without a tag, the date is what the client's cache can tell its responses by.
        OF_NOT_MODIFIED.contains(&name) || (name == "last-modified" && !has_tag)
    };
    Answer {
        status: 304,
        fields: fields.filtered(is_needed),
        sends_body: false,
    }
}

/// Whether the client's conditions say that it has the stored representation. `If-None-Match`
/// goes before `If-Modified-Since`, even where it cannot be read (RFC 9110 §13.2.2).
fn client_has(stored: &StoredResponse, request: &RequestHead<'_>) -> bool {
    if stored.head.status != 200 {
        return false;
    }
    if let Some(value) = request.fields.joined_bytes("if-none-match") {
        // Not the text with replacements: two tags that are no text must not become one.
        let value = std::str::from_utf8(&value);
        let condition = value.ok().and_then(IfNoneMatch::parse);
        return condition.is_some_and(|condition| condition.has(stored.head.entity_tag().as_ref()));
    }
    let mut lines = request.fields.all("if-modified-since");
    if lines.next().is_none() || lines.next().is_some() {
        return false;
    }
    let modified = stored.head.last_modified().unwrap_or(stored.head.date());
    date_of(request.fields, "if-modified-since").is_some_and(|since| modified <= since)
}
