//! Answers that the host gives by itself, before or instead of a component.

use std::time::Duration;

use axum::body::Body;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde::Serialize;

/// `Retry-After` in milliseconds, as OpenAI's clients read it. The gateway's errors carry it too.
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

/// A refusal in the shape of OpenAI's errors, which is what clients of the gateway parse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// A stable name for programs.
    pub code: &'static str,
    /// One sentence: which limit, which value.
    pub message: String,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: Inner<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    message: &'a str,
    r#type: &'a str,
    param: Option<&'a str>,
    code: &'a str,
}

impl Refusal {
    /// Too many requests in flight.
    pub fn overloaded(limit: usize) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "overloaded",
            message: format!("{limit} requests are in flight already; no more are accepted"),
            retry_after: Some(Duration::from_secs(1)),
        }
    }

    /// `{"message", "type", "param", "code"}`, as JSON.
    pub fn error(&self) -> Vec<u8> {
        serde_json::to_vec(&self.inner()).expect("strings always serialise")
    }

    fn inner(&self) -> Inner<'_> {
        let kind = if self.status.is_server_error() {
            "server_error"
        } else {
            "invalid_request_error"
        };
        Inner {
            message: &self.message,
            r#type: kind,
            param: None,
            code: self.code,
        }
    }

    /// The whole answer.
    pub fn into_response(self) -> Response<Body> {
        let envelope = Envelope {
            error: self.inner(),
        };
        let body = serde_json::to_vec(&envelope).expect("strings always serialise");
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        // Pages of other origins must be able to read why they were refused.
        headers.insert("access-control-allow-origin", HeaderValue::from_static("*"));
        headers.insert(
            "access-control-expose-headers",
            HeaderValue::from_static("retry-after, retry-after-ms, x-request-id"),
        );
        if let Some(wait) = self.retry_after {
            tell_when(headers, wait);
        }
        *response.body_mut() = Body::from(body);
        response
    }
}

/// Whole seconds are rounded up and never zero: a client that reads only them must not come too
/// early.
fn tell_when(headers: &mut HeaderMap, wait: Duration) {
    let milliseconds = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    let seconds = milliseconds.div_ceil(1000).max(1);
    headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    headers.insert(RETRY_AFTER_MS, HeaderValue::from(milliseconds));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_to_come_back_is_told_in_seconds_and_milliseconds() {
        let check = |milliseconds: u64, seconds: &str| {
            let refusal = Refusal {
                retry_after: Some(Duration::from_millis(milliseconds)),
                ..Refusal::overloaded(1)
            };
            let response = refusal.into_response();
            let headers = response.headers();
            assert_eq!(headers["retry-after"], seconds);
            assert_eq!(headers["retry-after-ms"], milliseconds.to_string());
            let exposed = headers["access-control-expose-headers"].to_str().unwrap();
            assert!(exposed.contains("retry-after-ms"), "{exposed}");
        };
        check(1, "1");
        check(1000, "1");
        check(1001, "2");
    }
}
