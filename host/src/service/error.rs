//! Why an input got no result.

use std::time::Duration;

use brink_protocol::{Fault, FaultCode};

use crate::batch::{BatchError, Bound, Full};
use crate::inference::{BackendError, InputError};
use crate::results::collapse::TooManyFlights;

/// When to come back if nothing better is known.
const SOON: Duration = Duration::from_secs(1);

/// Why an input got no result. `Clone`, because one failure answers all who wait for it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum InferError {
    /// The input is not one for this model.
    #[error(transparent)]
    Input(#[from] InputError),
    /// It was not computed, or not in time.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Too much is being computed already.
    #[error(transparent)]
    TooManyFlights(#[from] TooManyFlights),
    /// Its inputs would take more memory once they are read than a call may have.
    #[error(
        "the inputs take {bytes} bytes once they are read; at most {max_bytes} are allowed in one call \
         (service.max_decoded_mib): send fewer at once"
    )]
    TooMuchDecoded {
        /// What they would take.
        bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// The call's deadline passed.
    #[error("the deadline passed before there was a result")]
    DeadlineExceeded,
    /// Whoever computed it went away, again and again.
    #[error("the computation was given up")]
    Lost,
}

impl InferError {
    /// Whether only the request that led the computation has this error. Another one may do
    /// better, so followers try again.
    pub(super) fn is_the_leaders_alone(&self) -> bool {
        match self {
            Self::Input(_) => false,
            Self::Batch(error) => match error {
                BatchError::Backend(_) => false,
                BatchError::QueueFull { .. }
                | BatchError::TooLate { .. }
                | BatchError::BreakerOpen { .. }
                | BatchError::Draining
                | BatchError::DeadlineExceeded
                | BatchError::SessionLost => true,
            },
            // Others may have asked for less beside it.
            Self::TooMuchDecoded { .. }
            | Self::TooManyFlights(_)
            | Self::DeadlineExceeded
            | Self::Lost => true,
        }
    }

    /// What the caller is told. The matches have no `_` arm: a new error does not compile until
    /// someone has chosen its code.
    pub(super) fn into_fault(self, item: Option<u32>) -> Fault {
        let retry_after = self.retry_after();
        Fault {
            code: self.code(),
            message: self.message(),
            item,
            retry_after_ms: retry_after
                .map(|time| u32::try_from(time.as_millis()).unwrap_or(u32::MAX).max(1)),
        }
    }

    /// What mends it is the cause's to say, where the client can mend it.
    fn message(&self) -> String {
        match self {
            Self::Batch(BatchError::Backend(error @ BackendError::OutputTooLarge { .. })) => {
                error.to_string()
            }
            _ => self.to_string(),
        }
    }

    fn code(&self) -> FaultCode {
        match self {
            Self::Input(InputError::TooLong { .. }) => FaultCode::InputTooLong,
            Self::Input(
                InputError::UnknownToken { .. }
                | InputError::Kind { .. }
                | InputError::Tokenizer(_)
                | InputError::TooManyBytes { .. }
                | InputError::Image(_)
                | InputError::Tensors(_),
            )
            | Self::TooMuchDecoded { .. }
            | Self::Batch(BatchError::Backend(
                BackendError::Refused(_) | BackendError::OutputTooLarge { .. },
            )) => FaultCode::BadRequest,
            Self::Batch(BatchError::Backend(_)) => FaultCode::ModelFailed,
            Self::Batch(BatchError::DeadlineExceeded) | Self::DeadlineExceeded => {
                FaultCode::DeadlineExceeded
            }
            Self::Batch(BatchError::QueueFull {
                full:
                    Full {
                        bound: Bound::Tenant,
                        ..
                    },
                ..
            }) => FaultCode::TooManyInFlight,
            Self::Batch(
                BatchError::QueueFull { .. }
                | BatchError::TooLate { .. }
                | BatchError::BreakerOpen { .. }
                | BatchError::Draining
                | BatchError::SessionLost,
            )
            | Self::TooManyFlights(_)
            | Self::Lost => FaultCode::Overloaded,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Batch(
                BatchError::QueueFull { retry_after, .. }
                | BatchError::TooLate { retry_after, .. }
                | BatchError::BreakerOpen { retry_after },
            ) => Some(*retry_after),
            _ => (self.code() == FaultCode::Overloaded).then_some(SOON),
        }
    }
}
