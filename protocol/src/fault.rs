//! Why a call failed, in a form that an edge can turn into its own API's errors.

use serde::{Deserialize, Serialize};

/// A failed call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What kind of failure.
    pub code: FaultCode,
    /// One sentence for people: what, which limit, which value.
    pub message: String,
    /// Index of the offending input in the *call's* list.
    pub item: Option<u32>,
    /// When it makes sense to try again, in milliseconds.
    pub retry_after_ms: Option<u32>,
}

/// Kinds of failure. Each has one HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FaultCode {
    /// The message or one of its values is not acceptable.
    BadRequest,
    /// No model of that name.
    UnknownModel,
    /// The model is not the one whose digest the caller expects: read the catalogue again.
    ModelChanged,
    /// An input has more tokens than the model takes.
    InputTooLong,
    /// A queue is full or the host is draining: nothing was computed.
    Overloaded,
    /// The deadline passed first.
    DeadlineExceeded,
    /// The model failed on this input.
    ModelFailed,
    /// The tenant has as many calls in flight as it may have.
    TooManyInFlight,
    /// The tenant's model time is used up.
    ModelTimeSpent,
    /// No text is kept under that id.
    UnknownStream,
}

impl FaultCode {
    /// The HTTP status of this kind. No `_` arm: a new kind does not compile until someone
    /// has chosen its status.
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::UnknownModel | Self::UnknownStream => 404,
            Self::ModelChanged => 409,
            Self::InputTooLong => 400,
            Self::Overloaded => 503,
            Self::DeadlineExceeded => 504,
            Self::ModelFailed => 500,
            Self::TooManyInFlight | Self::ModelTimeSpent => 429,
        }
    }

    /// A stable name for metrics, logs and OpenAI's `error.code`.
    pub fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::UnknownModel => "model_not_found",
            Self::ModelChanged => "model_changed",
            Self::InputTooLong => "input_too_long",
            Self::Overloaded => "overloaded",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::ModelFailed => "model_failed",
            Self::TooManyInFlight => "too_many_in_flight",
            Self::ModelTimeSpent => "model_time_spent",
            Self::UnknownStream => "stream_not_found",
        }
    }
}
