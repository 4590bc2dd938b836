//! Answers that the host gives by itself, before or instead of a component.

use axum::body::Body;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

/// A refusal in the shape of OpenAI's errors, which is what clients of the gateway parse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// A stable name for programs.
    pub code: &'static str,
    /// One sentence: which limit, which value.
    pub message: String,
    /// When to try again, in seconds.
    pub retry_after: Option<u32>,
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
            retry_after: Some(1),
        }
    }

    /// The whole answer.
    pub fn into_response(self) -> Response<Body> {
        let kind = if self.status.is_server_error() {
            "server_error"
        } else {
            "invalid_request_error"
        };
        let body = serde_json::to_vec(&Envelope {
            error: Inner {
                message: &self.message,
                r#type: kind,
                param: None,
                code: self.code,
            },
        })
        .expect("strings always serialise");
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        // Pages of other origins must be able to read why they were refused.
        headers.insert("access-control-allow-origin", HeaderValue::from_static("*"));
        headers.insert(
            "access-control-expose-headers",
            HeaderValue::from_static("retry-after, x-request-id"),
        );
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        *response.body_mut() = Body::from(body);
        response
    }
}
