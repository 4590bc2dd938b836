//! What goes wrong with origins.

use std::time::Duration;

use brink_cache::policy::PathRefusal;
use http::StatusCode;

use crate::error::ApiError;

impl ApiError {
    /// 400: a path that an origin could resolve to what the policy does not open.
    pub fn path_refused(refusal: PathRefusal) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "path_refused", refusal.to_string())
    }

    /// 508: a request that goes from edge to edge in a circle (RFC 8586).
    pub fn loop_detected(hops: usize) -> Self {
        Self::new(
            StatusCode::LOOP_DETECTED,
            "loop_detected",
            format!(
                "the request has passed {hops} edges, the most allowed: an origin leads back to this edge"
            ),
        )
    }

    /// 502: an origin cannot be reached.
    pub fn origin_unreachable(origin: &str) -> Self {
        Self {
            retry_after_ms: Some(1000),
            ..Self::new(
                StatusCode::BAD_GATEWAY,
                "origin_unreachable",
                format!("the origin {origin} cannot be reached, or its answer is no HTTP"),
            )
        }
    }

    /// 502: an origin's answer does not fit what was asked.
    pub fn origin_nonsense(origin: &str) -> Self {
        Self::new(
            StatusCode::BAD_GATEWAY,
            "bad_origin_answer",
            format!(
                "the answer of the origin {origin} has no result for each input, or cannot be read"
            ),
        )
    }

    /// 502: the runtime does not let requests to an origin out.
    pub fn origin_not_allowed(origin: &str) -> Self {
        Self::new(
            StatusCode::BAD_GATEWAY,
            "origin_not_allowed",
            format!(
                "requests to the origin {origin} are not let out; the operator adds its host to allowed_outbound_hosts \
                 in spin.toml"
            ),
        )
    }

    /// 504: an origin did not answer in time.
    pub fn origin_timeout(origin: &str, timeout: Duration) -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "origin_timeout",
            format!(
                "the origin {origin} did not answer within {} ms",
                timeout.as_millis()
            ),
        )
    }

    /// 504: the client allowed a stored response only, and none may be used (RFC 9111 §5.2.1.7).
    pub fn origin_only_if_cached() -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "not_cached",
            "only-if-cached was asked for and no stored response may be used",
        )
    }
}
