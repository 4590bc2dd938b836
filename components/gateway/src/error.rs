//! Why a request gets no result. How that is written is said in [`error_form`](crate::error_form).

use brink_cache::tenant::{AuthError, TenantLimits, Wait};
use brink_protocol::limits::MAX_INPUTS;
use brink_protocol::{Fault, FaultCode, ModelInfo};
use http::StatusCode;

/// A request that gets no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// One sentence: which field, which limit, which value.
    pub message: String,
    /// The offending member of the request body, such as `input[3]`.
    pub param: Option<String>,
    /// A stable name for programs.
    pub code: &'static str,
    /// When to try again; becomes `Retry-After`.
    pub retry_after_ms: Option<u32>,
    /// Methods that the route has, for a 405.
    pub allow: Option<&'static str>,
    /// How to authenticate; becomes `WWW-Authenticate`.
    pub challenge: Option<&'static str>,
    /// Seconds since the host gave this error, if it comes from the cache.
    pub age: Option<u32>,
}

impl ApiError {
    /// The code of [`unknown_route`](Self::unknown_route).
    pub const UNKNOWN_ROUTE: &str = "unknown_route";
    /// The code of [`too_many_inputs`](Self::too_many_inputs).
    pub const TOO_MANY_INPUTS: &str = brink_protocol::refusal::TOO_MANY_INPUTS;

    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            param: None,
            code,
            retry_after_ms: None,
            allow: None,
            challenge: None,
            age: None,
        }
    }

    /// 400: a member of the body is not acceptable.
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            param: Some(param.into()),
            ..Self::new(StatusCode::BAD_REQUEST, "invalid_value", message)
        }
    }

    /// 400: more inputs than a request may have.
    pub fn too_many_inputs(member: &str) -> Self {
        let message = format!("{member} has more than {MAX_INPUTS} inputs, the most allowed");
        Self {
            code: Self::TOO_MANY_INPUTS,
            ..Self::invalid(member, message)
        }
    }

    /// 400: the body is no JSON at all.
    pub fn invalid_json(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_json", message)
    }

    /// 404: no such route.
    pub fn unknown_route(path: &str) -> Self {
        let message = format!(
            "there is no route {}; GET /openapi.json tells those that there are",
            shorten(path)
        );
        Self::new(StatusCode::NOT_FOUND, Self::UNKNOWN_ROUTE, message)
    }

    /// 404: no such model.
    pub fn unknown_model(name: &str) -> Self {
        let message = format!(
            "the model {} does not exist; GET /v1/models lists those that do",
            shorten(name)
        );
        Self {
            param: Some("model".to_owned()),
            ..Self::new(StatusCode::NOT_FOUND, "model_not_found", message)
        }
    }

    /// 404: the model exists, and not in that version.
    pub fn unknown_version(name: &str, version: &str, versions: &[&str]) -> Self {
        let message = format!(
            "the model {} has no version {}; it has {}",
            shorten(name),
            shorten(version),
            versions.join(", ")
        );
        Self {
            param: Some("version".to_owned()),
            ..Self::new(StatusCode::NOT_FOUND, "version_not_found", message)
        }
    }

    /// 400: the model does something else than what was asked for.
    pub fn wrong_task(model: &ModelInfo, lacks: &str) -> Self {
        let message = format!(
            "the model {} {lacks}: its task is {}",
            model.name,
            model.task().name()
        );
        Self::invalid("model", message)
    }

    /// 424: the protocol has such a route, and no model here can answer it.
    pub fn not_offered(path: &str, why: &str) -> Self {
        Self::new(
            StatusCode::FAILED_DEPENDENCY,
            "not_offered",
            format!("{path} is not offered: {why}"),
        )
    }

    /// 404: no model was named, and none does what the route is for.
    pub fn no_default_model(does: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "model_not_found",
            format!("no model here {does}; GET /v1/models lists those that there are"),
        )
    }

    /// 403: models come and go at the host, and not by requests of clients.
    pub fn models_are_the_operators() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "models_are_the_operators",
            "models are not loaded or unloaded here; the operator does that at the inference host (docs/operators.md)",
        )
    }

    /// 405: the route exists, the method does not.
    pub fn wrong_method(method: &str, allow: &'static str) -> Self {
        let message = format!(
            "the method {} is not allowed here; allowed: {allow}",
            shorten(method)
        );
        Self {
            allow: Some(allow),
            ..Self::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                message,
            )
        }
    }

    /// 400: a QUERY that does not say what its content is.
    pub fn no_content_type() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "content_type_missing",
            "QUERY needs the header content-type; allowed: application/json",
        )
    }

    /// 415: content of another kind than the route takes.
    pub fn wrong_content_type(media: &str, allowed: &str) -> Self {
        let message = format!("the content-type is {}; allowed: {allowed}", shorten(media));
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "content_type_not_allowed",
            message,
        )
    }

    /// 401: an API key is needed (RFC 9110 §15.5.2).
    pub fn unauthenticated(error: AuthError) -> Self {
        Self {
            challenge: Some(error.challenge()),
            ..Self::new(
                StatusCode::UNAUTHORIZED,
                "invalid_api_key",
                error.to_string(),
            )
        }
    }

    /// 503: API keys are required, and the operator has given none that could be read.
    pub fn no_tenants() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "no_tenants",
            "API keys are required here and no tenants are stored; the operator stores them with --tenants or PUT \
             /admin/tenants, or sets the variable authentication",
        )
    }

    /// 429: the tenant asks more often than it may.
    pub fn too_many_requests(tenant: &str, limits: TenantLimits, wait: Wait) -> Self {
        let allowed = limits.requests_per_second.map_or_else(String::new, |rate| {
            format!(
                ": it may make {} requests per second, and {} at once",
                rate.per_second, rate.burst
            )
        });
        Self {
            retry_after_ms: wait
                .ms
                .map(|ms| u32::try_from(ms).unwrap_or(u32::MAX).max(1)),
            ..Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limit_exceeded",
                format!("tenant {tenant} asks too often{allowed}"),
            )
        }
    }

    /// 413: what a request carries becomes more than an edge has room for, once it is read. `what` is the
    /// subject of the sentence.
    pub fn too_large_once_read(param: &str, what: &str, actual: u64, limit: u64) -> Self {
        let message =
            format!("{what} {actual} bytes or more once it is read; at most {limit} are allowed");
        Self {
            param: Some(param.to_owned()),
            ..Self::new(StatusCode::PAYLOAD_TOO_LARGE, "inputs_too_large", message)
        }
    }

    /// 413: the results are more than an edge has room for.
    pub fn answer_too_large(limit: usize) -> Self {
        let message = format!(
            "the answer has more than {limit} bytes, the most allowed; ask for fewer inputs at once, or for \
             tensors as binary data"
        );
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "answer_too_large", message)
    }

    /// 413: the body is above the limit.
    pub fn body_too_large(actual: u64, limit: u64) -> Self {
        let message =
            format!("the request body has {actual} bytes or more; at most {limit} are allowed");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
    }

    /// 400: the body ended early.
    pub fn body_broken() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "body_incomplete",
            "the request body ended before it was complete",
        )
    }

    /// 404: an input was named by its digest, and its result is not stored.
    pub fn input_not_stored(param: String) -> Self {
        let message = format!(
            "no usable result is stored for {param}, of which only the digest was sent; send the text with QUERY or POST"
        );
        Self {
            param: Some(param),
            ..Self::new(StatusCode::NOT_FOUND, "input_not_stored", message)
        }
    }

    /// 504: the client allowed a cached answer only, and there is none (RFC 9111 §5.2.1.7).
    pub fn only_if_cached(missing: usize, total: usize) -> Self {
        let message = format!(
            "only-if-cached was asked for and {missing} of {total} distinct inputs are not cached"
        );
        Self::new(StatusCode::GATEWAY_TIMEOUT, "not_cached", message)
    }

    /// 503: the inference host cannot be reached.
    pub fn host_unavailable(retry_after_ms: u32) -> Self {
        Self {
            retry_after_ms: Some(retry_after_ms),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "host_unavailable",
                "the inference host cannot be reached; cached results are still served",
            )
        }
    }

    /// 503: the model was replaced twice while one request was answered.
    pub fn model_changing() -> Self {
        Self {
            retry_after_ms: Some(1000),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "model_changing",
                "the model is being replaced; nothing was computed",
            )
        }
    }

    /// 504: the inference host did not answer in time.
    pub fn host_timeout(timeout_ms: u32) -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "deadline_exceeded",
            format!("the inference host did not answer within {timeout_ms} ms"),
        )
    }

    /// 502: the inference host answered something that this release does not understand.
    pub fn host_nonsense(what: &str) -> Self {
        Self::new(
            StatusCode::BAD_GATEWAY,
            "bad_upstream_answer",
            format!("the inference host's answer cannot be used: {what}"),
        )
    }

    /// What the host said. `input` is what the client calls the input that it is about.
    pub fn from_fault(fault: Fault, input: Option<String>) -> Self {
        let status = StatusCode::from_u16(fault.code.status()).unwrap_or(StatusCode::BAD_GATEWAY);
        let param = match fault.code {
            FaultCode::UnknownModel => Some("model".to_owned()),
            _ => input,
        };
        Self {
            status,
            message: fault.message,
            param,
            code: fault.code.name(),
            retry_after_ms: fault.retry_after_ms,
            allow: None,
            challenge: None,
            age: None,
        }
    }
}

/// Quotes a value that a client sent. Errors must name it, and must not echo megabytes.
pub fn shorten(value: &str) -> String {
    const LONGEST: usize = 64;
    match value.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}…", &value[..end]),
        None => format!("{value:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_at_a_character() {
        let check = |value: &str, longest: usize| {
            assert!(
                shorten(value).chars().count() <= longest,
                "{}",
                shorten(value)
            );
        };
        check(&"é".repeat(1_000_000), 67);
        assert_eq!(shorten("a\"b"), r#""a\"b""#);
    }

    #[test]
    fn faults_name_the_clients_own_input() {
        let fault = Fault {
            code: FaultCode::InputTooLong,
            message: "300 tokens".to_owned(),
            item: Some(0),
            retry_after_ms: None,
        };
        let error = ApiError::from_fault(fault, Some("input[7]".to_owned()));
        assert_eq!(error.param.as_deref(), Some("input[7]"));
        assert_eq!(error.status, StatusCode::BAD_REQUEST);
    }
}
