//! A complete answer: always with its length, never chunked.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ALLOW, CONTENT_LENGTH,
    CONTENT_TYPE, RETRY_AFTER, VARY,
};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::error::ApiError;
use crate::head::Head;
use crate::{cors, request_id};

/// `Cache-Status` (RFC 9211).
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// `Server-Timing` (W3C).
pub const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
/// The request's id.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How many items were hit, missed, ...: a structured-field dictionary. Our host counts
/// edge outcomes from it, since a component has no other way to tell.
pub const BRINK_ITEMS: HeaderName = HeaderName::from_static("brink-items");
/// `Retry-After` in milliseconds, as OpenAI's clients read it.
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

/// What goes back to the client.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// Every header but those that [`finish`](Self::finish) adds, each name once. A list: a dozen
    /// headers are written once and read once, so a map would only cost time.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The whole body.
    pub body: Bytes,
}

impl Reply {
    /// A JSON answer.
    pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: Vec::with_capacity(12),
            body: body.into(),
        }
        .with_static(CONTENT_TYPE, "application/json")
    }

    /// An answer without a body.
    pub fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// Adds a header whose value is visible ASCII, made by this crate or checked by it.
    pub fn with(mut self, name: HeaderName, value: String) -> Self {
        let value = HeaderValue::try_from(value).expect("our own header values are visible ASCII");
        self.headers.push((name, value));
        self
    }

    /// Adds a header whose value never changes.
    pub fn with_static(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(own, _)| own == name)?;
        value.to_str().ok()
    }

    /// Adds what every answer carries: its length, the request's id, and what a page of
    /// another origin may read. For HEAD the body is dropped and its length kept (RFC 9110 §9.3.2).
    pub fn finish(mut self, exchange: &Exchange) -> Self {
        // RFC 9110 §8.6: no Content-Length in a 204.
        if self.status != StatusCode::NO_CONTENT {
            let length = HeaderValue::from(self.body.len());
            self.headers.push((CONTENT_LENGTH, length));
        }
        if exchange.head_only {
            self.body = Bytes::new();
        }
        if let Ok(value) = HeaderValue::try_from(&exchange.request_id) {
            self.headers.push((X_REQUEST_ID, value));
        }
        if let Some(origin) = &exchange.allow_origin {
            let any = origin == "*";
            self.headers
                .push((ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()));
            self = self.with_static(ACCESS_CONTROL_EXPOSE_HEADERS, cors::EXPOSED);
            if !any {
                self = self.with_static(VARY, "origin");
            }
        }
        self
    }

    /// The head in the form that `brink:edge/fast` gives back.
    pub fn encode_head(&self) -> Vec<u8> {
        let size =
            |(name, value): &(HeaderName, HeaderValue)| name.as_str().len() + value.len() + 3;
        let mut head = Vec::with_capacity(3 + self.headers.iter().map(size).sum::<usize>());
        head.extend_from_slice(self.status.as_str().as_bytes());
        for (name, value) in &self.headers {
            head.push(b'\n');
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
        }
        head
    }
}

/// What the answer to a request depends on besides its content.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The request's id.
    pub request_id: String,
    /// The origin that may read the answer.
    pub allow_origin: Option<HeaderValue>,
    /// Whether only the head is wanted.
    pub head_only: bool,
}

impl Exchange {
    /// Of a request, where the operator allows these origins (see [`cors::allow_origin`]).
    pub fn of(head: &Head<'_>, allowed_origins: &str) -> Self {
        Self {
            request_id: request_id::of(head),
            allow_origin: cors::allow_origin(allowed_origins, head.get("origin")),
            head_only: head.method == "HEAD",
        }
    }

    /// The whole answer.
    pub fn finish(&self, answer: Result<Reply, ApiError>) -> Reply {
        answer.unwrap_or_else(Reply::from).finish(self)
    }
}

impl From<ApiError> for Reply {
    fn from(error: ApiError) -> Self {
        let mut reply = Self::json(error.status, error.to_json());
        if let Some(allow) = error.allow {
            reply = reply.with_static(ALLOW, allow);
        }
        if let Some(milliseconds) = error.retry_after_ms {
            let seconds = milliseconds.div_ceil(1000).max(1);
            reply = reply
                .with(RETRY_AFTER, seconds.to_string())
                .with(RETRY_AFTER_MS, milliseconds.to_string());
        }
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(head_only: bool) -> Exchange {
        Exchange {
            request_id: "abc".to_owned(),
            allow_origin: Some(HeaderValue::from_static("*")),
            head_only,
        }
    }

    #[test]
    fn every_answer_has_length_and_id() {
        let reply = Reply::json(StatusCode::OK, "{}").finish(&exchange(false));
        assert_eq!(reply.header("content-length"), Some("2"));
        assert_eq!(reply.header("x-request-id"), Some("abc"));
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
        assert_eq!(reply.header("vary"), None);
    }

    #[test]
    fn head_keeps_the_length_of_the_body_it_lacks() {
        let reply = Reply::json(StatusCode::OK, "{}").finish(&exchange(true));
        assert_eq!(reply.header("content-length"), Some("2"));
        assert!(reply.body.is_empty());
    }

    #[test]
    fn the_encoded_head_has_one_line_for_each_header() {
        let reply = Reply::empty(StatusCode::NO_CONTENT)
            .with_static(ALLOW, "GET")
            .with_static(VARY, "");
        assert_eq!(reply.encode_head(), b"204\nallow: GET\nvary: ");
    }

    #[test]
    fn retry_after_is_whole_seconds_and_never_zero() {
        let check = |milliseconds, seconds: &str| {
            let reply = Reply::from(ApiError::host_unavailable(milliseconds));
            assert_eq!(reply.header("retry-after"), Some(seconds));
            assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
        };
        check(1, "1");
        check(1000, "1");
        check(1001, "2");
    }
}
