//! Runs batches on a session.
//!
//! A batch that fails is split in halves, and each half runs again, so that one poisonous item
//! fails alone. A tree of halves over n items has 2n - 1 nodes: that is the most runs a batch
//! can cost.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::answer::Part;
use super::{Batch, panic_message, shape};
use crate::batch::breaker::Outcome;
use crate::batch::pool::{BatchError, Job, Shared};
use crate::inference::{Backend, BackendError, Output, Payload, Prepared};

/// A session, alone with its backend.
pub(super) struct Runner {
    shared: Arc<Shared>,
    backend: Box<dyn Backend>,
}

impl Runner {
    pub(super) fn new(shared: Arc<Shared>, backend: Box<dyn Backend>) -> Self {
        Self { shared, backend }
    }

    /// Gives memory of past runs back.
    pub(super) fn shrink(&mut self) {
        let shrunk = self.guarded(|backend| backend.shrink());
        if let Err(error) = shrunk {
            tracing::warn!(%error, "a session could not give memory back");
        }
    }

    /// Runs a batch and hands over its parts as they are done. `give` says whether somebody still
    /// takes them; if not, the rest is dropped, which tells those who wait.
    pub(super) fn run(&mut self, batch: Batch, give: &mut dyn FnMut(Part) -> bool) {
        let began = Instant::now();
        let mut outcome = Outcome::Poisoned;
        // A batch that was taken ahead may have lost everybody meanwhile.
        if batch.jobs.iter().all(|job| job.reply.is_closed()) {
            return self.ended(batch.ends, outcome);
        }
        let mut prepared = batch.prepared;
        let mut parts = vec![batch.jobs];
        while let Some(mut part) = parts.pop() {
            let done = match self.run_once(&part, prepared.take()) {
                Ok((outputs, took)) => {
                    outcome = Outcome::Worked;
                    Part::Ran {
                        jobs: part,
                        outputs,
                        began,
                        took,
                    }
                }
                Err(error) if part.len() == 1 => {
                    if outcome == Outcome::Poisoned && error.is_the_models_fault() {
                        outcome = Outcome::Failed;
                    }
                    Part::Failed {
                        jobs: part,
                        error,
                        began,
                    }
                }
                Err(_) => {
                    let half = part.split_off(part.len() / 2);
                    parts.extend([half, part]);
                    continue;
                }
            };
            if !give(done) {
                break;
            }
        }
        self.ended(batch.ends, outcome);
    }

    /// Tells what came of a batch. If the model is given up for it, what waits is too.
    fn ended(&self, expected: Instant, outcome: Outcome) {
        let mut state = self.shared.lock();
        let was_trusted = state.schedule.is_trusted();
        let opened = state.schedule.ended(expected, outcome, Instant::now());
        let is_trusted = state.schedule.is_trusted();
        self.shared.publish(&state);
        drop(state);
        if let Some(retry_after) = opened {
            tracing::error!(?retry_after, "a model only fails and is left alone");
            self.shared
                .fail_waiting(&BatchError::BreakerOpen { retry_after });
        }
        if !was_trusted {
            if is_trusted {
                tracing::info!("a model that only failed works again");
            }
            // Other sessions may have been kept from trying.
            self.shared.changed.notify_all();
        }
    }

    fn run_once(
        &mut self,
        jobs: &[Job],
        prepared: Option<Prepared>,
    ) -> Result<(Vec<Output>, Duration), BackendError> {
        let payloads: Vec<&Payload> = jobs.iter().map(|job| &job.payload).collect();
        let started = Instant::now();
        let outputs = self.guarded(|backend| match prepared {
            Some(prepared) => backend.run_prepared(&payloads, prepared),
            None => backend.run(&payloads),
        })?;
        let took = started.elapsed();
        if outputs.len() != jobs.len() {
            return Err(BackendError::Shape {
                expected: jobs.len(),
                actual: outputs.len(),
            });
        }
        let mut state = self.shared.lock();
        state.schedule.queue.ran(shape(jobs), took, Instant::now());
        self.shared.metrics.costs_are(state.schedule.queue.costs());
        Ok((outputs, took))
    }

    /// Turns a panic into an error: it must not take the thread, and with it the model, down.
    fn guarded<T>(
        &mut self,
        call: impl FnOnce(&mut dyn Backend) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let backend = &mut *self.backend;
        catch_unwind(AssertUnwindSafe(|| call(backend)))
            .unwrap_or_else(|panic| Err(BackendError::Panicked(panic_message(&*panic).into())))
    }
}
