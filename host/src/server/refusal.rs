//! Answers that the host gives by itself, before or instead of a component.

use std::time::Duration;

use axum::body::Body;
use brink_protocol::refusal::{ErrorForm, Told};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

/// `Retry-After` in milliseconds, as OpenAI's clients read it. The gateway's errors carry it too.
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

/// A refusal. It is written as the gateway would write it on the same path, because that is what its clients parse.
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

    /// The body that the answer has where errors have the form of OpenAI's API.
    pub fn body(&self) -> Vec<u8> {
        ErrorForm::OpenAi.write(&self.told()).body
    }

    fn told(&self) -> Told<'_> {
        Told {
            status: self.status.as_u16(),
            reason: self.status.canonical_reason().unwrap_or("Error"),
            code: self.code,
            message: &self.message,
            param: None,
        }
    }

    /// The whole answer, in the form of the request's path.
    pub fn into_response(self, form: ErrorForm) -> Response<Body> {
        let written = form.write(&self.told());
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::from_u16(written.status).unwrap_or(self.status);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(written.media));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(written.body.len()));
        // Pages of other origins must be able to read why they were refused.
        headers.insert("access-control-allow-origin", HeaderValue::from_static("*"));
        headers.insert(
            "access-control-expose-headers",
            HeaderValue::from_static("retry-after, retry-after-ms, x-request-id"),
        );
        if let Some(wait) = self.retry_after {
            tell_when(headers, wait);
        }
        *response.body_mut() = Body::from(written.body);
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
    use serde_json::{Value, json};

    use super::*;

    #[tokio::test]
    async fn every_path_is_refused_in_the_form_of_its_api() {
        let openai = |kind: &str, code: &str| json!({"error": {"message": "m", "type": kind, "param": null, "code": code}});
        let problem = json!({"type": "urn:brink:problem:overloaded", "title": "Service Unavailable", "status": 503,
            "detail": "m", "code": "overloaded"});
        let tei = |kind: &str| json!({"error": "m", "error_type": kind});
        let cases = [
            (
                "/v1/embeddings",
                503,
                "overloaded",
                503,
                openai("server_error", "overloaded"),
            ),
            (
                "/v1/x",
                413,
                "body_too_large",
                413,
                openai("invalid_request_error", "body_too_large"),
            ),
            (
                "/v2/models/m/infer",
                413,
                "body_too_large",
                413,
                json!({"error": "m"}),
            ),
            ("/v2", 500, "component_failed", 500, json!({"error": "m"})),
            ("/embed", 503, "overloaded", 429, tei("Overloaded")),
            ("/similarity", 413, "body_too_large", 413, tei("Validation")),
            ("/predict", 400, "body_incomplete", 422, tei("Validation")),
            ("/tokenize", 408, "body_timeout", 408, tei("Validation")),
            ("/", 504, "deadline_exceeded", 424, tei("Backend")),
            ("/info", 500, "component_failed", 424, tei("Backend")),
            ("/admin/policy", 503, "overloaded", 503, problem),
        ];
        for (path, status, code, told, expected) in cases {
            let refusal = Refusal {
                status: StatusCode::from_u16(status).unwrap(),
                code,
                message: "m".to_owned(),
                retry_after: None,
            };
            let response = refusal.into_response(ErrorForm::of(path));
            assert_eq!(response.status(), told, "{path}");
            let is_problem = response.headers()["content-type"] == "application/problem+json";
            assert_eq!(is_problem, path.starts_with("/admin"), "{path}");
            let body = axum::body::to_bytes(response.into_body(), usize::MAX)
                .await
                .unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body, expected, "{path}");
        }
    }

    #[test]
    fn time_to_come_back_is_told_in_seconds_and_milliseconds() {
        let check = |milliseconds: u64, seconds: &str| {
            let refusal = Refusal {
                retry_after: Some(Duration::from_millis(milliseconds)),
                ..Refusal::overloaded(1)
            };
            let response = refusal.into_response(ErrorForm::OpenAi);
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
