//! A request on its way: waiting, being written, or put aside for another tenant.

use std::sync::Arc;
use std::time::Duration;

use brink_protocol::generate::{FinishReason, Usage};
use brink_protocol::{Fault, FaultCode};
use tokio::time::Instant;

use super::outbox::Writer;
use super::slots::Entry;
use super::writing::Writing;
use crate::inference::BackendError;

/// When to come back if nothing better is known.
const SOON_MS: u32 = 1_000;

/// A request that waits.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) tenant: Arc<str>,
    /// The prompt.
    pub(super) tokens: Vec<u32>,
    /// Most tokens of prompt and answer.
    pub(super) reserved: usize,
    pub(super) text: Running,
}

/// What is known of a text beside its tokens.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) writing: Writing,
    pub(super) outbox: Writer,
    pub(super) arrived: Instant,
    pub(super) deadline: Instant,
    pub(super) prompt_tokens: u32,
    /// Tokens of the prompt that were found in a slot.
    pub(super) cached_tokens: u32,
    /// When its first token was written, and its last.
    pub(super) first: Option<Instant>,
    pub(super) last: Instant,
    /// Its share of the model's time.
    pub(super) cost: Duration,
}

/// Why a text ends before its time.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// Nobody reads it.
    Abandoned,
    /// Its deadline passed.
    Late,
    /// The model fails on it.
    Model(BackendError),
    /// The host stops.
    Draining,
}

impl From<Job> for Box<Entry<Running>> {
    fn from(job: Job) -> Self {
        Entry::new(job.text, job.tenant, job.tokens, job.reserved)
    }
}

impl Running {
    /// Whether it must not go on.
    pub(super) fn failure(&self, now: Instant) -> Option<Failure> {
        if self.outbox.is_abandoned() {
            Some(Failure::Abandoned)
        } else if self.deadline <= now {
            Some(Failure::Late)
        } else {
            None
        }
    }

    /// The model worked for it.
    pub(super) fn charge(&mut self, cost: Duration) {
        self.cost += cost;
        self.outbox.cost(cost);
    }

    pub(super) fn finish(self, reason: FinishReason) {
        let usage = Usage {
            prompt_tokens: self.prompt_tokens,
            cached_tokens: self.cached_tokens,
            completion_tokens: self.writing.written(),
            first_token_us: self.first.map_or(0, |first| micros(first - self.arrived)),
            cost_us: micros(self.cost),
        };
        self.outbox.finish(reason, usage);
    }

    pub(super) fn fail(self, failure: &Failure) {
        if let Some(fault) = failure.fault() {
            self.outbox.fail(fault);
        }
    }
}

impl Failure {
    /// A stable name for metrics.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::Abandoned => "abandoned",
            Self::Late => "deadline",
            Self::Model(_) => "failed",
            Self::Draining => "draining",
        }
    }

    /// What the reader is told, if there is one.
    fn fault(&self) -> Option<Fault> {
        let fault = |code, message: &str, retry_after_ms| Fault {
            code,
            message: message.to_owned(),
            item: None,
            retry_after_ms,
        };
        match self {
            Self::Abandoned => None,
            Self::Late => Some(fault(
                FaultCode::DeadlineExceeded,
                "the deadline passed before the text was written",
                None,
            )),
            Self::Model(_) => Some(fault(
                FaultCode::ModelFailed,
                "the model failed on this text",
                None,
            )),
            Self::Draining => Some(fault(
                FaultCode::Overloaded,
                "the host is shutting down",
                Some(SOON_MS),
            )),
        }
    }
}

/// Microseconds as the protocol carries them; more than an hour is an hour.
fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}
