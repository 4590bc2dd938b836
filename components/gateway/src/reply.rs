//! A complete answer: always with its length, never chunked.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ALLOW, CONTENT_LENGTH,
    CONTENT_TYPE, RETRY_AFTER,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::cors;
use crate::error::ApiError;

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
    /// Every header but those that [`finish`](Self::finish) adds.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Reply {
    /// A JSON answer.
    pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::with_capacity(12);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Self {
            status,
            headers,
            body: body.into(),
        }
    }

    /// An answer without a body.
    pub fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    /// Adds a header whose value this crate made itself.
    pub fn with(mut self, name: HeaderName, value: String) -> Self {
        let value = HeaderValue::try_from(value).expect("our own header values are visible ASCII");
        self.headers.insert(name, value);
        self
    }

    /// Adds what every answer carries: its length, the request's id, and what a page of
    /// another origin may read.
    pub fn finish(mut self, request_id: &str, allow_origin: Option<&HeaderValue>) -> Self {
        let headers = &mut self.headers;
        // RFC 9110 §8.6: no Content-Length in a 204.
        if self.status != StatusCode::NO_CONTENT {
            headers
                .entry(CONTENT_LENGTH)
                .or_insert_with(|| HeaderValue::from(self.body.len()));
        }
        if let Ok(value) = HeaderValue::try_from(request_id) {
            headers.insert(X_REQUEST_ID, value);
        }
        if let Some(origin) = allow_origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(
                ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static(cors::EXPOSED),
            );
            if origin != "*" {
                headers.append(http::header::VARY, HeaderValue::from_static("origin"));
            }
        }
        self
    }

    /// Drops the body and keeps its length, for HEAD (RFC 9110 §9.3.2).
    pub fn without_body(mut self) -> Self {
        self.headers
            .insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        self.body = Bytes::new();
        self
    }
}

impl From<ApiError> for Reply {
    fn from(error: ApiError) -> Self {
        let mut reply = Self::json(error.status, error.to_json());
        if let Some(allow) = error.allow {
            reply.headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(milliseconds) = error.retry_after_ms {
            let seconds = milliseconds.div_ceil(1000).max(1);
            reply
                .headers
                .insert(RETRY_AFTER, HeaderValue::from(seconds));
            reply
                .headers
                .insert(RETRY_AFTER_MS, HeaderValue::from(milliseconds));
        }
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: HeaderValue = HeaderValue::from_static("*");

    #[test]
    fn every_answer_has_length_and_id() {
        let reply = Reply::json(StatusCode::OK, "{}").finish("abc", Some(&ANY));
        assert_eq!(reply.headers["content-length"], "2");
        assert_eq!(reply.headers["x-request-id"], "abc");
        assert_eq!(reply.headers["access-control-allow-origin"], "*");
    }

    #[test]
    fn head_keeps_the_length_of_the_body_it_lacks() {
        let reply = Reply::json(StatusCode::OK, "{}")
            .without_body()
            .finish("abc", Some(&ANY));
        assert_eq!(reply.headers["content-length"], "2");
        assert!(reply.body.is_empty());
    }

    #[test]
    fn retry_after_is_whole_seconds_and_never_zero() {
        let check = |milliseconds, seconds: &str| {
            let reply = Reply::from(ApiError::host_unavailable(milliseconds));
            assert_eq!(reply.headers["retry-after"], seconds);
            assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
        };
        check(1, "1");
        check(1000, "1");
        check(1001, "2");
    }
}
