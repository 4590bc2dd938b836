//! A complete answer, always with its length; or the head of one whose body follows.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::digest::{self, Algorithm};
use crate::error::ApiError;
use crate::error_form::ErrorForm;
use crate::head::Head;
use crate::{cors, request_id};

/// `Cache-Status` (RFC 9211).
pub const CACHE_STATUS: &str = "cache-status";
/// `Server-Timing` (W3C).
pub const SERVER_TIMING: &str = "server-timing";
/// The request's id.
pub const X_REQUEST_ID: &str = "x-request-id";
/// How many items were hit, missed, ...: a structured-field dictionary. Our host counts
/// edge outcomes from it, since a component has no other way to tell.
pub const BRINK_ITEMS: &str = "brink-items";
/// Which version of the policy decided, and by which rule: a structured-field dictionary.
pub const BRINK_POLICY: &str = "brink-policy";
/// `Retry-After` in milliseconds, as OpenAI's clients read it.
pub(crate) const RETRY_AFTER_MS: &str = "retry-after-ms";

/// What goes back to the client.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// Every header but those that [`finish`](Self::finish) adds, each name once and in lower case.
    /// A plain list: a dozen headers are written once and read once, so a map would only cost time.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// The whole body.
    pub body: Bytes,
}

impl Reply {
    /// A JSON answer.
    pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self::bytes(status, "application/json", body)
    }

    /// An answer of another kind.
    pub fn bytes(status: StatusCode, media: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: Vec::with_capacity(12),
            body: body.into(),
        }
        .with("content-type", media)
    }

    /// An answer without a body.
    pub fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// Adds a header. Its value is visible ASCII, made by this crate or checked by it.
    pub fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(own, _)| *own == name)?;
        Some(value)
    }

    /// Adds what every answer carries: its length, the request's id, and what a page of
    /// another origin may read. For HEAD the body is dropped and its length kept (RFC 9110 §9.3.2).
    pub fn finish(mut self, exchange: &Exchange) -> Self {
        // RFC 9110 §8.6: no Content-Length in a 204, and in a 304 that of the answer that is not sent.
        let is_bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&self.status);
        if !is_bodiless {
            let length = itoa::Buffer::new().format(self.body.len()).to_owned();
            self = self.with("content-length", length);
            if let Some(algorithm) = exchange.wants_digest {
                let digest = algorithm.field(&self.body);
                self = self.with(digest::REPR_DIGEST, digest);
            }
        }
        if exchange.head_only {
            self.body = Bytes::new();
        }
        self.finish_head(exchange)
    }

    /// The same for an answer whose body is written while it is sent: nobody knows its length.
    pub fn finish_head(mut self, exchange: &Exchange) -> Self {
        self = self.with(X_REQUEST_ID, exchange.request_id.clone());
        if let Some(origin) = &exchange.allow_origin {
            self = self
                .with("access-control-allow-origin", origin.clone())
                .with("access-control-expose-headers", cors::EXPOSED);
            if origin != "*" {
                self = self.vary("origin");
            }
        }
        self
    }

    /// Adds a name to the one `Vary` field.
    pub fn vary(self, name: &'static str) -> Self {
        self.join("vary", name)
    }

    /// Adds a member to the one field of that name, which is a list.
    pub(crate) fn join(mut self, name: &'static str, member: &str) -> Self {
        match self.headers.iter_mut().find(|(own, _)| *own == name) {
            Some((_, value)) => {
                let list = value.to_mut();
                list.push_str(", ");
                list.push_str(member);
                self
            }
            None => self.with(name, member.to_owned()),
        }
    }

    /// The headers as a map, for hosts that want one.
    pub fn header_map(&self) -> HeaderMap {
        let headers = self.headers.iter().map(|(name, value)| {
            let value = HeaderValue::from_str(value);
            let value = value.expect("our own header values are visible ASCII");
            (HeaderName::from_static(name), value)
        });
        headers.collect()
    }

    /// The head in the form that `brink:edge/fast` gives back.
    pub fn encode_head(&self) -> Vec<u8> {
        let size = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len() + 3);
        let mut head = Vec::with_capacity(3 + size.sum::<usize>());
        head.extend_from_slice(self.status.as_str().as_bytes());
        for (name, value) in &self.headers {
            head.push(b'\n');
            head.extend_from_slice(name.as_bytes());
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
    pub allow_origin: Option<String>,
    /// Whether only the head is wanted.
    pub head_only: bool,
    /// What the answer is to be hashed with, if the client wants that.
    pub wants_digest: Option<Algorithm>,
    /// In which form errors are told.
    pub errors: ErrorForm,
}

impl Exchange {
    /// Of a request, where the operator allows these origins (see [`cors::allow_origin`]).
    pub fn of(head: &Head<'_>, allowed_origins: &str) -> Self {
        Self {
            request_id: request_id::of(head),
            allow_origin: cors::allow_origin(allowed_origins, head.get("origin")),
            head_only: head.method == "HEAD",
            wants_digest: head
                .get(digest::WANT_REPR_DIGEST)
                .and_then(Algorithm::wanted),
            errors: ErrorForm::of(head.path),
        }
    }

    /// What a page of another origin may read of an answer that is not ours, where CORS is this edge's
    /// business.
    pub fn cors(&self, is_ours: bool) -> Vec<(&'static str, String)> {
        let allowed = self.allow_origin.iter().filter(|_| is_ours);
        allowed
            .flat_map(|origin| {
                let vary = (origin != "*").then(|| ("vary", "origin".to_owned()));
                let fields = [
                    ("access-control-allow-origin", origin.clone()),
                    ("access-control-expose-headers", cors::EXPOSED.to_owned()),
                ];
                fields.into_iter().chain(vary)
            })
            .collect()
    }

    /// The answer, an error in its form.
    pub fn reply(&self, answer: Result<Reply, ApiError>) -> Reply {
        answer.unwrap_or_else(|error| Reply::of_error(&error, self.errors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(head_only: bool) -> Exchange {
        Exchange {
            request_id: "abc".to_owned(),
            allow_origin: Some("*".to_owned()),
            head_only,
            wants_digest: None,
            errors: ErrorForm::OpenAi,
        }
    }

    #[test]
    fn errors_outside_of_openai_s_routes_are_problem_documents() {
        let head = Head::parse(b"GET /elsewhere").unwrap();
        let exchange = Exchange::of(&head, "*");
        let reply = exchange.reply(Err(ApiError::unknown_route("/elsewhere")));
        assert_eq!(
            reply.header("content-type"),
            Some("application/problem+json")
        );
        let problem: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(problem["status"], 404);
        assert_eq!(problem["title"], "Not Found");
        assert_eq!(problem["code"], "unknown_route");
        assert!(problem["detail"].as_str().unwrap().contains("/elsewhere"));
    }

    #[test]
    fn wanted_digest_is_that_of_the_whole_answer_also_for_head() {
        let head = Head::parse(b"HEAD /v1/models\nwant-repr-digest: sha-256=5").unwrap();
        let exchange = Exchange::of(&head, "*");
        let reply = Reply::json(StatusCode::OK, "{}").finish(&exchange);
        let expected = Algorithm::Sha256.field(b"{}");
        assert_eq!(reply.header("repr-digest"), Some(expected.as_str()));
        let unchanged = Reply::empty(StatusCode::NOT_MODIFIED).finish(&exchange);
        assert_eq!(unchanged.header("repr-digest"), None);
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
            .with("allow", "GET")
            .with("vary", "");
        assert_eq!(reply.encode_head(), b"204\nallow: GET\nvary: ");
    }
}
