//! Answers from components.

use std::net::SocketAddr;

use axum::body::Body;
use brink_protocol::refusal::ErrorForm;
use http::{Request, Response};

use super::connection::{Answer, RequestBody};
use super::refusal::Refusal;
use crate::guest::{BodyFault, GuestError, GuestHost};

/// The application's components behind a listener.
#[derive(Clone)]
pub struct Guests(pub GuestHost);

impl Answer for Guests {
    async fn answer<B: RequestBody>(
        &self,
        request: Request<B>,
        client: SocketAddr,
    ) -> Response<Body> {
        let form = ErrorForm::of(request.uri().path());
        match self.0.handle(request, client).await {
            Ok(response) => response.map(Body::new),
            Err(error) => {
                report(&error);
                refusal(&error).into_response(form)
            }
        }
    }
}

/// What an operator must know: a client's mistakes are its own business.
fn report(error: &GuestError) {
    if error.status().is_server_error() {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::warn!(%error, cause, "a component gave no answer");
    }
}

fn refusal(error: &GuestError) -> Refusal {
    Refusal {
        status: error.status(),
        code: code(error),
        message: message(error),
        retry_after: error.retry_after(),
    }
}

fn code(error: &GuestError) -> &'static str {
    match error {
        GuestError::NoRoute { .. } => "unknown_route",
        GuestError::Busy { .. } => "overloaded",
        GuestError::TimedOut { .. } => "deadline_exceeded",
        GuestError::Trap { .. }
        | GuestError::Failed { .. }
        | GuestError::NoResponse { .. }
        | GuestError::Instantiate { .. }
        | GuestError::Nested => "component_failed",
        GuestError::Body(BodyFault::TooLarge { .. }) => "body_too_large",
        GuestError::Body(BodyFault::TimedOut { .. }) => "body_timeout",
        GuestError::Body(BodyFault::Broken { .. }) => "body_incomplete",
    }
}

/// Backtraces and error codes of components are for the log; clients learn that it failed.
fn message(error: &GuestError) -> String {
    match error {
        GuestError::Trap { .. }
        | GuestError::Failed { .. }
        | GuestError::NoResponse { .. }
        | GuestError::Instantiate { .. }
        | GuestError::Nested => {
            "the component failed on this request; the request's id finds it in the log".to_owned()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn failures_have_a_status_and_keep_internals_back() {
        let check = |error: GuestError, status: u16, code: &str, hidden: &str| {
            let refusal = refusal(&error);
            assert_eq!((refusal.status.as_u16(), refusal.code), (status, code));
            assert!(
                hidden.is_empty() || !refusal.message.contains(hidden),
                "{}",
                refusal.message
            );
        };
        let component = || "gateway".to_owned();
        check(
            GuestError::Trap {
                component: component(),
                source: "wasm backtrace".into(),
            },
            500,
            "component_failed",
            "backtrace",
        );
        check(GuestError::Busy { max_instances: 5 }, 503, "overloaded", "");
        let timeout = Duration::from_secs(1);
        check(
            GuestError::TimedOut {
                component: component(),
                timeout,
            },
            504,
            "deadline_exceeded",
            "",
        );
        check(
            BodyFault::TooLarge { max_bytes: 5 }.into(),
            413,
            "body_too_large",
            "",
        );
        check(
            BodyFault::TimedOut { timeout }.into(),
            408,
            "body_timeout",
            "",
        );
    }
}
