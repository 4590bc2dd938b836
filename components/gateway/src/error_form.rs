//! Errors as answers. How each API writes them, both sides know: see [`brink_protocol::refusal`].

use brink_protocol::refusal::Told;
use http::StatusCode;

use crate::error::ApiError;
use crate::reply::{CACHE_STATUS, RETRY_AFTER_MS, Reply};

pub use brink_protocol::refusal::ErrorForm;

impl Reply {
    /// An error, told in this form.
    pub fn of_error(error: &ApiError, form: ErrorForm) -> Self {
        let written = form.write(&Told {
            status: error.status.as_u16(),
            reason: error.status.canonical_reason().unwrap_or("Error"),
            code: error.code,
            message: &error.message,
            param: error.param.as_deref(),
        });
        let status = StatusCode::from_u16(written.status).unwrap_or(error.status);
        let mut reply = Self::bytes(status, written.media, written.body);
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
