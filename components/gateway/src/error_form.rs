//! How errors are written: each API has a form of its own, told by the path.

use std::borrow::Cow;

use http::StatusCode;
use serde::Serialize;

use crate::error::ApiError;
use crate::reply::{CACHE_STATUS, RETRY_AFTER_MS, Reply};
use crate::route::TEI_PATHS;

/// In which form a client expects errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorForm {
    /// As OpenAI's API does, below `/v1/`: `{"error": {message, type, param, code}}`.
    OpenAi,
    /// As the Open Inference Protocol has them, below `/v2`: `{"error": "..."}`.
    Infer,
    /// As text-embeddings-inference does, on its routes: `{"error": "...", "error_type": "..."}`, and statuses of
    /// its own.
    Tei,
    /// A problem document (RFC 9457), anywhere else.
    Problem,
}

impl ErrorForm {
    /// The form of a path.
    pub fn of(path: &str) -> Self {
        if path.starts_with("/v1/") {
            Self::OpenAi
        } else if path == "/v2" || path.starts_with("/v2/") {
            Self::Infer
        } else if TEI_PATHS.contains(&path) {
            Self::Tei
        } else {
            Self::Problem
        }
    }

    fn reply(self, error: &ApiError) -> Reply {
        match self {
            Self::OpenAi => Reply::json(error.status, openai(error)),
            Self::Infer => Reply::json(error.status, line(error)),
            Self::Tei => {
                let (status, kind) = tei_status(error);
                Reply::json(status, tei(error, kind))
            }
            Self::Problem => Reply::bytes(error.status, "application/problem+json", problem(error)),
        }
    }
}

impl Reply {
    /// An error, told in this form.
    pub fn of_error(error: &ApiError, form: ErrorForm) -> Self {
        let mut reply = form.reply(error);
        if let Some(allow) = error.allow {
            reply = reply.with("allow", allow);
        }
        if let Some(challenge) = error.challenge {
            reply = reply.with("www-authenticate", challenge);
        }
        if let Some(age) = error.age {
            let age = itoa::Buffer::new().format(age).to_owned();
            reply = reply
                .with("age", age)
                .with(CACHE_STATUS, "brink-edge; hit; detail=negative");
        }
        if let Some(milliseconds) = error.retry_after_ms {
            let seconds = milliseconds.div_ceil(1000).max(1);
            reply = reply
                .with("retry-after", seconds.to_string())
                .with(RETRY_AFTER_MS, milliseconds.to_string());
        }
        reply
    }
}

fn openai(error: &ApiError) -> Vec<u8> {
    #[derive(Serialize)]
    struct Envelope<'a> {
        error: Body<'a>,
    }
    #[derive(Serialize)]
    struct Body<'a> {
        message: &'a str,
        r#type: &'a str,
        param: Option<&'a str>,
        code: &'a str,
    }
    written(&Envelope {
        error: Body {
            message: &error.message,
            r#type: openai_type(error.status),
            param: error.param.as_deref(),
            code: error.code,
        },
    })
}

/// OpenAI's coarse class of an error.
fn openai_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    }
}

/// Of one type for each code.
fn problem(error: &ApiError) -> Vec<u8> {
    #[derive(Serialize)]
    struct Problem<'a> {
        r#type: String,
        title: &'a str,
        status: u16,
        detail: &'a str,
        code: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        param: Option<&'a str>,
    }
    written(&Problem {
        r#type: format!("urn:brink:problem:{}", error.code),
        title: error.status.canonical_reason().unwrap_or("Error"),
        status: error.status.as_u16(),
        detail: &error.message,
        code: error.code,
        param: error.param.as_deref(),
    })
}

fn line(error: &ApiError) -> Vec<u8> {
    #[derive(Serialize)]
    struct Line<'a> {
        error: Cow<'a, str>,
    }
    written(&Line {
        error: sentence(error),
    })
}

fn tei(error: &ApiError, kind: &'static str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Tei<'a> {
        error: Cow<'a, str>,
        error_type: &'static str,
    }
    written(&Tei {
        error: sentence(error),
        error_type: kind,
    })
}

/// Its status and type of an error. What it has no status for keeps ours.
fn tei_status(error: &ApiError) -> (StatusCode, &'static str) {
    match (error.code, error.status.as_u16()) {
        (ApiError::TOO_MANY_INPUTS, _) => (StatusCode::PAYLOAD_TOO_LARGE, "Validation"),
        ("overloaded", _) => (StatusCode::TOO_MANY_REQUESTS, "Overloaded"),
        (_, 400) => (StatusCode::UNPROCESSABLE_ENTITY, "Validation"),
        (_, 424 | 500 | 502) | ("deadline_exceeded", _) => {
            (StatusCode::FAILED_DEPENDENCY, "Backend")
        }
        (_, 429) => (error.status, "Overloaded"),
        (_, 503) => (error.status, "Unhealthy"),
        (_, 400..=499) => (error.status, "Validation"),
        _ => (error.status, "Backend"),
    }
}

/// The message, with the offending member before it where it does not name that itself: for forms that
/// have no other place for it.
fn sentence(error: &ApiError) -> Cow<'_, str> {
    match &error.param {
        Some(param) if !error.message.contains(param.as_str()) => {
            format!("{param}: {}", error.message).into()
        }
        _ => (&*error.message).into(),
    }
}

fn written(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("strings always serialise")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(error: &ApiError, form: ErrorForm) -> (u16, Value) {
        let reply = Reply::of_error(error, form);
        let body = serde_json::from_slice(&reply.body).unwrap();
        (reply.status.as_u16(), body)
    }

    #[test]
    fn every_api_has_its_form() {
        let check = |path: &str, expected: Value| {
            let error = ApiError::invalid("dimensions", "too large");
            assert_eq!(told(&error, ErrorForm::of(path)).1, expected, "{path}");
        };
        let openai = json!({"error": {"message": "too large", "type": "invalid_request_error",
            "param": "dimensions", "code": "invalid_value"}});
        check("/v1/embeddings", openai);
        check(
            "/v2/models/m/infer",
            json!({"error": "dimensions: too large"}),
        );
        check("/v2", json!({"error": "dimensions: too large"}));
        check(
            "/embed",
            json!({"error": "dimensions: too large", "error_type": "Validation"}),
        );
        assert_eq!(ErrorForm::of("/embedded"), ErrorForm::Problem);
        assert_eq!(ErrorForm::of("/v2x"), ErrorForm::Problem);
    }

    #[test]
    fn statuses_of_text_embeddings_inference_are_its_own() {
        let check = |error: ApiError, status: u16, kind: &str| {
            let (told, body) = told(&error, ErrorForm::Tei);
            assert_eq!(
                (told, &body["error_type"]),
                (status, &json!(kind)),
                "{error:?}"
            );
        };
        check(ApiError::invalid("inputs", "x"), 422, "Validation");
        check(ApiError::invalid_json("x"), 422, "Validation");
        check(ApiError::too_many_inputs("inputs"), 413, "Validation");
        check(ApiError::body_too_large(2, 1), 413, "Validation");
        check(ApiError::unknown_model("x"), 404, "Validation");
        check(ApiError::host_unavailable(1), 503, "Unhealthy");
        check(ApiError::host_timeout(1), 424, "Backend");
        check(ApiError::host_nonsense("x"), 424, "Backend");
        check(ApiError::only_if_cached(1, 1), 504, "Backend");
        let fault = |code| brink_protocol::Fault {
            code,
            message: String::new(),
            item: None,
            retry_after_ms: Some(10),
        };
        let of = |code| ApiError::from_fault(fault(code), None);
        check(of(brink_protocol::FaultCode::Overloaded), 429, "Overloaded");
        check(of(brink_protocol::FaultCode::ModelFailed), 424, "Backend");
        check(
            of(brink_protocol::FaultCode::InputTooLong),
            422,
            "Validation",
        );
    }

    #[test]
    fn retry_after_is_whole_seconds_and_never_zero() {
        let check = |milliseconds, seconds: &str| {
            let error = ApiError::host_unavailable(milliseconds);
            let reply = Reply::of_error(&error, ErrorForm::OpenAi);
            assert_eq!(reply.header("retry-after"), Some(seconds));
            assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
        };
        check(1, "1");
        check(1000, "1");
        check(1001, "2");
    }
}
