//! The thread that owns a session.
//!
//! A batch that fails is split in halves, and each half runs again, so that one poisonous item
//! fails alone. A tree of halves over n items has 2n - 1 nodes: that is the most runs a batch
//! can cost.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::breaker::Outcome;
use super::pool::{BatchError, Inferred, Job, Shared, State};
use super::shape::Shape;
use crate::inference::{Backend, BackendError, Output, Payload};

/// Starts a thread that serves until the pool is closed and empty.
pub(super) fn start(
    shared: Arc<Shared>,
    backend: Box<dyn Backend>,
    idle_shrink_after: Duration,
) -> io::Result<()> {
    let alive = Alive::new(Arc::clone(&shared));
    let driver = Driver {
        shared,
        backend,
        idle_shrink_after,
        is_shrunk: true,
    };
    std::thread::Builder::new()
        .name("brink-session".to_owned())
        .spawn(move || {
            let _alive = alive;
            driver.serve();
        })
        .map(drop)
}

/// Counts the thread for as long as it runs, however it ends.
struct Alive(Arc<Shared>);

impl Alive {
    fn new(shared: Arc<Shared>) -> Self {
        shared.alive.send_modify(|alive| *alive += 1);
        shared.metrics.session_started();
        Self(shared)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.metrics.session_ended();
        self.0.alive.send_modify(|alive| *alive -= 1);
        if *self.0.alive.borrow() == 0 {
            // Without a thread nobody would ever answer what waits.
            self.0.close();
            self.0.fail_waiting(&BatchError::SessionLost);
        }
    }
}

struct Driver {
    shared: Arc<Shared>,
    backend: Box<dyn Backend>,
    idle_shrink_after: Duration,
    /// Whether memory was given back since the last run.
    is_shrunk: bool,
}

/// What a session does next.
enum Work {
    Run(Batch),
    /// These items are too late; nothing else is due.
    Expire(Vec<Job>),
    Shrink,
    End,
}

/// A batch that was taken from the queue.
struct Batch {
    jobs: Vec<Job>,
    /// When that was.
    taken: Instant,
    /// When it will have run, by the costs.
    ends: Instant,
}

impl Driver {
    fn serve(mut self) {
        loop {
            match self.next_work() {
                Work::Run(batch) => self.run(batch),
                Work::Expire(jobs) => self.expire(jobs),
                Work::Shrink => self.shrink(),
                Work::End => return,
            }
        }
    }

    /// Waits for work.
    fn next_work(&self) -> Work {
        let idle_since = Instant::now();
        let shrink_at = (!self.is_shrunk).then(|| idle_since + self.idle_shrink_after);
        let mut state = self.shared.lock();
        loop {
            let now = Instant::now();
            if let Some(work) = self.take(&mut state, now) {
                return work;
            }
            if state.closed && state.schedule.queue.is_empty() {
                return Work::End;
            }
            if shrink_at.is_some_and(|at| at <= now) {
                return Work::Shrink;
            }
            let wake = [state.schedule.next_deadline(), shrink_at]
                .into_iter()
                .flatten()
                .min();
            let time = wake.map(|at| at.saturating_duration_since(now));
            state = self.wait(state, time);
        }
    }

    /// What is due now.
    fn take(&self, state: &mut State, now: Instant) -> Option<Work> {
        let taken = state.schedule.take(now);
        if taken.is_empty() {
            return None;
        }
        self.shared.publish(state);
        if taken.batch.is_empty() {
            return Some(Work::Expire(taken.expired));
        }
        // Few and cheap: their callers are gone already.
        self.expire(taken.expired);
        let ends = state.schedule.began(shape(&taken.batch), now);
        Some(Work::Run(Batch {
            jobs: taken.batch,
            taken: now,
            ends,
        }))
    }

    fn expire(&self, jobs: Vec<Job>) {
        for job in jobs {
            self.shared.metrics.refused("expired");
            job.finish(Err(BatchError::DeadlineExceeded));
        }
    }

    /// Waits for a change of the state, for at most that time.
    fn wait<'s>(
        &self,
        state: MutexGuard<'s, State>,
        time: Option<Duration>,
    ) -> MutexGuard<'s, State> {
        let changed = &self.shared.changed;
        match time {
            None => changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(time) => {
                let waited = changed.wait_timeout(state, time);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    fn shrink(&mut self) {
        self.is_shrunk = true;
        let shrunk = self.guarded(|backend| backend.shrink());
        if let Err(error) = shrunk {
            tracing::warn!(%error, "a session could not give memory back");
        }
    }

    fn run(&mut self, batch: Batch) {
        let Batch { jobs, taken, ends } = batch;
        self.is_shrunk = false;
        for job in &jobs {
            self.shared
                .metrics
                .waited(taken.saturating_duration_since(job.arrived));
        }
        let mut outcome = Outcome::Poisoned;
        let mut parts = vec![jobs];
        while let Some(mut part) = parts.pop() {
            match self.run_once(&part) {
                Ok((vectors, took)) => {
                    outcome = Outcome::Worked;
                    self.deliver(part, vectors, Timing { taken, took });
                }
                Err(error) if part.len() == 1 => {
                    if outcome == Outcome::Poisoned && error.is_the_models_fault() {
                        outcome = Outcome::Failed;
                    }
                    self.fail(part, &error);
                }
                Err(_) => {
                    let half = part.split_off(part.len() / 2);
                    parts.extend([half, part]);
                }
            }
        }
        self.ended(ends, outcome);
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

    fn run_once(&mut self, jobs: &[Job]) -> Result<(Vec<Output>, Duration), BackendError> {
        let payloads: Vec<&Payload> = jobs.iter().map(|job| &job.payload).collect();
        let started = Instant::now();
        let vectors = self.guarded(|backend| backend.run(&payloads))?;
        let took = started.elapsed();
        if vectors.len() != jobs.len() {
            return Err(BackendError::Shape {
                expected: jobs.len(),
                actual: vectors.len(),
            });
        }
        Ok((vectors, took))
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

    fn deliver(&self, jobs: Vec<Job>, vectors: Vec<Output>, timing: Timing) {
        let Timing { taken, took } = timing;
        let shape = shape(&jobs);
        let mut state = self.shared.lock();
        state.schedule.queue.ran(shape, took, Instant::now());
        self.shared.metrics.costs_are(state.schedule.queue.costs());
        drop(state);
        self.shared.metrics.ran(shape, took);
        let cost = took / u32::try_from(shape.items).unwrap_or(u32::MAX);
        for (job, vector) in jobs.into_iter().zip(vectors) {
            let inferred = Inferred {
                output: vector,
                size: u32::try_from(job.payload.size()).unwrap_or(u32::MAX),
                cost,
                started: taken,
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
            self.shared.metrics.failed(error.reason());
            job.finish(Err(BatchError::Backend(error.clone())));
        }
    }
}

#[derive(Clone, Copy)]
struct Timing {
    /// When the batch left the queue.
    taken: Instant,
    /// How long its run took.
    took: Duration,
}

fn shape(jobs: &[Job]) -> Shape {
    jobs.iter().map(|job| job.payload.size()).collect()
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests;
