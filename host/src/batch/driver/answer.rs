//! Answers those who wait.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::shape;
use crate::batch::pool::{BatchError, Inferred, Job, Shared};
use crate::batch::traced;
use crate::inference::{BackendError, Output};

/// A part of a batch that is done with.
pub(super) enum Part {
    /// It was computed.
    Ran {
        jobs: Vec<Job>,
        outputs: Vec<Output>,
        /// When its batch began.
        began: Instant,
        /// How long this part's run took.
        took: Duration,
    },
    /// The model failed on an item.
    Failed {
        jobs: Vec<Job>,
        error: BackendError,
        /// When its batch began.
        began: Instant,
    },
}

pub(super) struct Answers(Arc<Shared>);

impl Answers {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    pub(super) fn give(&self, part: Part) {
        match part {
            Part::Ran {
                jobs,
                outputs,
                began,
                took,
            } => self.deliver(jobs, outputs, (began, took)),
            Part::Failed { jobs, error, began } => {
                traced::failed(&jobs, &self.0.metrics, began, error.reason());
                self.fail(jobs, &error);
            }
        }
    }

    fn deliver(&self, jobs: Vec<Job>, outputs: Vec<Output>, (began, took): (Instant, Duration)) {
        let shape = shape(&jobs);
        self.0.metrics.ran(shape, took);
        traced::ran(&jobs, &self.0.metrics, began, took);
        let cost = took / u32::try_from(shape.items).unwrap_or(u32::MAX);
        for (job, output) in jobs.into_iter().zip(outputs) {
            self.0
                .metrics
                .waited(began.saturating_duration_since(job.arrived));
            let inferred = Inferred {
                output,
                size: u32::try_from(job.payload.size()).unwrap_or(u32::MAX),
                cost,
                started: began,
                ran: took,
            };
            job.finish(Ok(inferred));
        }
    }

    fn fail(&self, jobs: Vec<Job>, error: &BackendError) {
        tracing::warn!(
            error = error as &dyn std::error::Error,
            "the model failed on an input"
        );
        for job in jobs {
            self.0.metrics.failed(error.reason());
            job.finish(Err(BatchError::Backend(error.clone())));
        }
    }
}
