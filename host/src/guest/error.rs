//! Why a request got no answer from a guest, and why an application cannot start.

use std::{path::PathBuf, time::Duration};

use http::StatusCode;

use super::{
    body::{BodyFault, BoxError},
    config::GuestConfigError,
    files::FilesError,
};

/// Why a request got no answer from a guest.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// No route matches the path.
    #[error("no route matches {path}")]
    NoRoute {
        /// The path, without its query.
        path: String,
    },
    /// As many guests run as are allowed. Nothing is queued: the caller may retry.
    #[error("all {max_instances} instances are busy")]
    Busy {
        /// The limit.
        max_instances: usize,
    },
    /// The guest sent no response head in time; it was stopped.
    #[error("component {component} did not answer within {timeout:?}")]
    TimedOut {
        /// Its id.
        component: String,
        /// The limit.
        timeout: Duration,
    },
    /// The guest trapped: a panic, too much memory, or a fault.
    #[error("component {component} trapped")]
    Trap {
        /// Its id.
        component: String,
        /// What happened, with the guest's backtrace.
        #[source]
        source: BoxError,
    },
    /// The guest reported an error instead of a response.
    #[error("component {component} failed: {code}")]
    Failed {
        /// Its id.
        component: String,
        /// The `wasi:http` error code.
        code: String,
    },
    /// The guest ended without a response.
    #[error("component {component} ended without a response")]
    NoResponse {
        /// Its id.
        component: String,
    },
    /// No instance could be made.
    #[error("component {component} could not be instantiated")]
    Instantiate {
        /// Its id.
        component: String,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// A guest was called from inside another guest's task.
    #[error("a guest cannot run inside another guest's task")]
    Nested,
    /// The request's body broke a limit or broke off.
    #[error(transparent)]
    Body(#[from] BodyFault),
}

impl GuestError {
    /// The status that a client sees. No `_` arm on purpose: a new variant does not
    /// compile until someone has chosen its status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NoRoute { .. } => StatusCode::NOT_FOUND,
            Self::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::TimedOut { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Trap { .. }
            | Self::Failed { .. }
            | Self::NoResponse { .. }
            | Self::Nested
            | Self::Instantiate { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Body(BodyFault::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(BodyFault::TimedOut { .. }) => StatusCode::REQUEST_TIMEOUT,
            Self::Body(BodyFault::Broken { .. }) => StatusCode::BAD_REQUEST,
        }
    }

    /// One word for spans. No `_` arm here either.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::NoRoute { .. } => "no-route",
            Self::Busy { .. } => "busy",
            Self::TimedOut { .. } => "timeout",
            Self::Trap { .. } => "trap",
            Self::Failed { .. } => "failed",
            Self::NoResponse { .. } => "no-response",
            Self::Nested => "nested",
            Self::Instantiate { .. } => "instantiate",
            Self::Body(_) => "body",
        }
    }

    /// How long a client should wait before it retries, for `Retry-After`.
    pub fn retry_after(&self) -> Option<Duration> {
        matches!(self, Self::Busy { .. }).then_some(Duration::from_secs(1))
    }
}

/// Why an application cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Limits that cannot work.
    #[error("the guest limits are wrong: {}", join(.0))]
    Config(Vec<GuestConfigError>),
    /// The engine cannot be set up with these limits.
    #[error("the WebAssembly engine cannot be set up")]
    Engine(#[source] BoxError),
    /// A component's file cannot be read.
    #[error("component {component}: cannot read {path}; build it first", path = path.display())]
    Source {
        /// Its id.
        component: String,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A component's file is not a component that can run here.
    #[error("component {component}: not a valid WebAssembly component")]
    Compile {
        /// Its id.
        component: String,
        /// Why not.
        #[source]
        source: BoxError,
    },
    /// A component imports what this host does not serve, or exports no HTTP handler.
    #[error("component {component}: its interfaces do not fit this host")]
    Interfaces {
        /// Its id.
        component: String,
        /// Which interface, and why.
        #[source]
        source: BoxError,
    },
    /// The manifest grants a store that the host does not have.
    #[error("component {component}: there is no key-value store {label:?}")]
    NoStore {
        /// Its id.
        component: String,
        /// The label.
        label: String,
    },
    /// A component's files cannot be mounted.
    #[error("component {component}: its files cannot be mounted")]
    Files {
        /// Its id.
        component: String,
        /// Why not.
        #[source]
        source: FilesError,
    },
}

fn join(errors: &[GuestConfigError]) -> String {
    let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
    lines.join("; ")
}
