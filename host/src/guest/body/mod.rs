//! Request and response bodies on their way through the host: their limits, and
//! reading small ones before an instance is taken ([`ReadAhead`]).

mod read_ahead;
#[cfg(test)]
mod tests;

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use wasmtime_wasi_http::Error as HttpError;

pub(super) use read_ahead::ReadAhead;

/// Anything that a body of the caller may fail with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a body may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    /// Most bytes of data.
    pub max_bytes: u64,
    /// Longest wait for the next frame.
    pub idle_timeout: Duration,
    /// Longest time for the whole body, counted from the first wait.
    pub total_timeout: Duration,
}

/// Which limit a body broke, or how it failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// More data than allowed.
    #[error("the body is larger than {max_bytes} bytes")]
    TooLarge {
        /// The limit.
        max_bytes: u64,
    },
    /// It did not arrive in time.
    #[error("the body did not arrive within {timeout:?}")]
    TimedOut {
        /// The limit that was broken.
        timeout: Duration,
    },
    /// The sender broke off.
    #[error("the body broke off: {reason}")]
    Broken {
        /// Why, as the connection says it.
        reason: String,
    },
}

impl BodyFault {
    /// What the guest sees when it reads on.
    fn to_guest(&self) -> HttpError {
        match self {
            Self::TooLarge { max_bytes } => HttpError::HttpRequestBodySize(Some(*max_bytes)),
            Self::TimedOut { .. } => HttpError::ConnectionReadTimeout,
            Self::Broken { .. } => HttpError::ConnectionTerminated,
        }
    }
}

/// Where a [`LimitedBody`] notes its fault: the guest answers a body that failed
/// as it likes, and the host has to know the true reason.
#[derive(Clone, Debug, Default)]
pub struct FaultCell(Arc<OnceLock<BodyFault>>);

impl FaultCell {
    /// The fault, once there is one.
    pub fn get(&self) -> Option<&BodyFault> {
        self.0.get()
    }
}

/// A body with limits. It ends with an error when it breaks one, and notes which.
#[derive(Debug)]
pub struct LimitedBody<B> {
    body: B,
    limits: BodyLimits,
    received: u64,
    fault: FaultCell,
    timer: Option<Timer>,
}

/// Exists only once a body had to be waited for: a body that is there costs no timer.
#[derive(Debug)]
struct Timer {
    /// When the whole body has to be there.
    total_deadline: Instant,
    /// Whether the current wait has its deadline already.
    armed: bool,
    sleep: Pin<Box<Sleep>>,
}

impl<B> LimitedBody<B> {
    /// Puts `limits` around `body`.
    pub fn new(body: B, limits: BodyLimits) -> Self {
        Self {
            body,
            limits,
            received: 0,
            fault: FaultCell::default(),
            timer: None,
        }
    }

    /// Where a fault will be noted.
    pub fn fault(&self) -> FaultCell {
        self.fault.clone()
    }

    fn fail(&self, fault: BodyFault) -> BodyFault {
        self.fault.0.get_or_init(|| fault).clone()
    }

    /// Polls the time limits; called only while the body is pending.
    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<BodyFault> {
        let limits = self.limits;
        let timer = self.timer.get_or_insert_with(|| {
            let total_deadline = Instant::now() + limits.total_timeout;
            Timer {
                total_deadline,
                armed: false,
                sleep: Box::pin(tokio::time::sleep_until(total_deadline)),
            }
        });
        if !timer.armed {
            let idle_deadline = Instant::now() + limits.idle_timeout;
            timer
                .sleep
                .as_mut()
                .reset(idle_deadline.min(timer.total_deadline));
            timer.armed = true;
        }
        ready!(timer.sleep.as_mut().poll(cx));
        let timeout = if Instant::now() >= timer.total_deadline {
            limits.total_timeout
        } else {
            limits.idle_timeout
        };
        Poll::Ready(BodyFault::TimedOut { timeout })
    }

    fn count(&mut self, frame: &Frame<Bytes>) -> Result<(), BodyFault> {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        self.received = self.received.saturating_add(bytes as u64);
        if self.received > self.limits.max_bytes {
            let max_bytes = self.limits.max_bytes;
            return Err(BodyFault::TooLarge { max_bytes });
        }
        Ok(())
    }
}

impl<B> Body for LimitedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        if let Some(fault) = self.fault.get() {
            return Poll::Ready(Some(Err(fault.clone())));
        }
        let result = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => {
                let fault = ready!(self.poll_timeout(cx));
                return Poll::Ready(Some(Err(self.fail(fault))));
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(result)) => result,
        };
        if let Some(timer) = &mut self.timer {
            timer.armed = false;
        }
        let counted = match result {
            Ok(frame) => self.count(&frame).map(|()| frame),
            Err(error) => Err(BodyFault::Broken {
                reason: error.into().to_string(),
            }),
        };
        Poll::Ready(Some(counted.map_err(|fault| self.fail(fault))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
