//! The thread of a model that writes.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::engine::{Engine, World};
use super::generator::Shared;
use super::job::{Failure, Job};

/// Starts a thread that writes until everything is written and nothing more is let in.
pub(super) fn start(
    shared: Arc<Shared>,
    engine: Engine,
    idle_shrink_after: Duration,
) -> io::Result<()> {
    let mut driver = Driver {
        _alive: Alive(Arc::clone(&shared)),
        shared,
        engine,
        idle_shrink_after,
        shrunk: true,
    };
    let thread = std::thread::Builder::new().name("brink-writer".to_owned());
    thread.spawn(move || driver.serve()).map(drop)
}

struct Driver {
    /// First, so that the texts of the engine end after what waits was failed.
    _alive: Alive,
    shared: Arc<Shared>,
    engine: Engine,
    idle_shrink_after: Duration,
    /// Whether memory was given back since the last run.
    shrunk: bool,
}

/// What the thread is to do.
enum Work {
    Turn,
    GiveUp,
    Shrink,
    End,
}

impl Driver {
    fn serve(&mut self) {
        loop {
            match self.next() {
                Work::Turn => {
                    self.shrunk = false;
                }
                Work::GiveUp => {
                    self.shared.fail_waiting(&Failure::Draining);
                    self.engine.give_up();
                    self.publish();
                    return;
                }
                Work::Shrink => {
                    self.shrink();
                    continue;
                }
                Work::End => return,
            }
            while self.engine.turn(&mut Outside(&self.shared)) {
                self.publish();
                if self.shared.lock().given_up {
                    break;
                }
            }
            self.publish();
        }
    }

    /// Waits until there is something to do.
    fn next(&self) -> Work {
        let mut state = self.shared.lock();
        loop {
            if state.given_up {
                return Work::GiveUp;
            }
            if !state.queue.is_empty() {
                return Work::Turn;
            }
            if state.closed {
                return Work::End;
            }
            let changed = &self.shared.changed;
            if self.shrunk {
                state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let waited = changed.wait_timeout(state, self.idle_shrink_after);
            let (woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if timeout.timed_out() && state.queue.is_empty() && !state.closed {
                return Work::Shrink;
            }
        }
    }

    fn shrink(&mut self) {
        self.shrunk = true;
        if let Err(error) = self.engine.shrink() {
            let error = &error as &(dyn std::error::Error + 'static);
            tracing::warn!(error, "a model gave no memory back");
        }
    }

    fn publish(&self) {
        let (slots, others) = self.engine.occupancy();
        let mut state = self.shared.lock();
        state.token_time = self.engine.pace().time_for(1);
        let waiting = state.queue.load().items + others;
        drop(state);
        self.shared.metrics.slots_are(slots);
        self.shared.metrics.waiting_are(waiting);
    }
}

/// The queue, and the clock.
struct Outside<'s>(&'s Shared);

impl World for Outside<'_> {
    fn next_job(&mut self, now: Instant) -> Option<Job> {
        let mut taken = self.0.lock().queue.take(now);
        for late in taken.expired {
            self.0.metrics.ended(Failure::Late.outcome());
            late.text.fail(&Failure::Late);
        }
        taken.batch.pop()
    }

    fn now(&self) -> Instant {
        Instant::now()
    }
}

/// Tells that the thread has ended, however it ends.
struct Alive(Arc<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.fail_waiting(&Failure::Draining);
        self.0.alive.send_replace(false);
    }
}
