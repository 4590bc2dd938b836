//! The threads of a session.
//!
//! On a processor one thread does everything: it takes a batch, runs it and answers. A second one
//! would take the core from the first, and a batch that is taken while another runs is fixed too
//! early: what comes meanwhile would have made it better.
//!
//! A device of its own should never wait for the processor. There a session is a chain of three
//! threads ([`ahead`]): one takes and prepares the next batch while the second runs the last one,
//! and the third answers.

use std::any::Any;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::pool::{BatchError, Job, Shared};
use super::shape::Shape;
use crate::inference::{Backend, Prepared};

mod ahead;
mod answer;
mod feed;
mod run;

use answer::Answers;
use feed::{Feed, Work};
use run::Runner;

/// A batch that was taken from the queue.
struct Batch {
    jobs: Vec<Job>,
    /// What was made of it before its run, if anything was.
    prepared: Option<Prepared>,
    /// When it will have run, by the costs.
    ends: Instant,
}

/// How a session runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionOptions {
    /// Idle time after which memory is given back.
    pub(super) idle_shrink_after: Duration,
    /// Whether the next batch is prepared while one runs.
    pub(super) prefetch: bool,
    /// By how much its thread gives way to others.
    pub(super) niceness: u8,
}

/// Starts threads that serve until the pool is closed and empty.
pub(super) fn start(
    shared: &Arc<Shared>,
    backend: Box<dyn Backend>,
    options: SessionOptions,
) -> io::Result<()> {
    if options.prefetch {
        return ahead::start(shared, backend, options.idle_shrink_after);
    }
    let alive = Alive::new(Arc::clone(shared));
    let mut session = Session {
        feed: Feed::new(Arc::clone(shared), options.idle_shrink_after),
        runner: Runner::new(Arc::clone(shared), backend),
        answers: Answers::new(Arc::clone(shared)),
    };
    spawn("brink-session", move || {
        let _alive = alive;
        give_way(options.niceness);
        session.serve();
    })
}

/// All of a session in one thread.
struct Session {
    feed: Feed,
    runner: Runner,
    answers: Answers,
}

impl Session {
    fn serve(&mut self) {
        loop {
            match self.feed.next() {
                Work::Run(batch) => self.runner.run(batch, &mut |part| {
                    self.answers.give(part);
                    true
                }),
                Work::Shrink => self.runner.shrink(),
                Work::End => return,
            }
        }
    }
}

/// Counts a session for as long as it answers, however it ends.
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
            // Without a session nobody would ever answer what waits.
            self.0.close();
            self.0.fail_waiting(&BatchError::SessionLost);
        }
    }
}

fn spawn(name: &str, serve: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(serve).map(drop)
}

/// Lowers the priority of this thread alone: computing takes whatever time is left, and those who only ask
/// for what is there do not wait behind it.
fn give_way(niceness: u8) {
    #[cfg(target_os = "linux")]
    if niceness > 0 {
        // On Linux the process "none" is the calling thread (setpriority(2), "C library/kernel differences").
        if let Err(error) = rustix::process::setpriority_process(None, i32::from(niceness)) {
            tracing::warn!(%error, niceness, "the threads of sessions keep their priority");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = niceness;
}

fn shape(jobs: &[Job]) -> Shape {
    jobs.iter().map(|job| job.size).collect()
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests;
