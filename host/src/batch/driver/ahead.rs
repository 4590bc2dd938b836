//! A session of three threads, for a device that should never wait for the processor.
//!
//! ```text
//!  feeder: takes and prepares --one batch--> runner: runs --some parts--> answerer
//! ```
//!
//! At most one batch is ahead: the feeder holds it until the runner takes it out of its hands. A
//! full batch is taken as soon as the last one runs. One that is not full is left in the queue
//! until the run is nearly over, because it may still become larger, and is less work to prepare.
//!
//! Whatever ends early takes the others along: each end of a channel that is dropped ends the
//! thread at the other. Items on their way are dropped then, which tells those who wait.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tokio::time::Instant;

use super::answer::{Answers, Part};
use super::feed::{Feed, Free, Work};
use super::run::Runner;
use super::{Alive, Batch, panic_message, spawn};
use crate::batch::pool::Shared;
use crate::inference::{Backend, Payload, Prepare, Prepared};

/// Parts that were run and not answered yet. Answering takes microseconds; if it ever took longer
/// than so many runs, the runner would have to wait for it.
const MAX_UNANSWERED: usize = 4;
/// A batch that is not full is taken so much earlier than its preparation will take, and twice that
/// time: the end of a run is known about as well.
const MARGIN: Duration = Duration::from_millis(1);
/// Weight of the newest preparation.
const NEWEST: f64 = 0.2;

/// What the feeder hands to the runner.
enum Order {
    Run(Batch),
    Shrink,
}

/// Starts the three threads.
pub(super) fn start(
    shared: &Arc<Shared>,
    backend: Box<dyn Backend>,
    idle_shrink_after: Duration,
) -> io::Result<()> {
    // No place in the channel: what is ahead is in the feeder's hands.
    let (orders, taken) = sync_channel(0);
    let (parts, done) = sync_channel(MAX_UNANSWERED);
    let runs_ended = Arc::new(AtomicU64::new(0));
    let feeder = Feeder {
        feed: Feed::new(Arc::clone(shared), idle_shrink_after),
        preparer: backend.preparer(),
        preparation: Duration::ZERO,
        orders,
        handed_over: 0,
        runs_ended: Arc::clone(&runs_ended),
        last_ends: Instant::now(),
    };
    let runner = Runner::new(Arc::clone(shared), backend);
    let answers = Answers::new(Arc::clone(shared));
    // The answerer is the last to end.
    let alive = Alive::new(Arc::clone(shared));
    spawn("brink-answers", move || {
        let _alive = alive;
        done.into_iter().for_each(|part| answers.give(part));
    })?;
    let changed = Arc::clone(shared);
    spawn("brink-session", move || {
        run(runner, &taken, &parts, &|| {
            runs_ended.fetch_add(1, Ordering::Release);
            changed.wake();
        });
    })?;
    spawn("brink-feeder", move || feeder.serve())
}

/// The runner: nothing but runs.
fn run(mut runner: Runner, orders: &Receiver<Order>, parts: &SyncSender<Part>, ended: &dyn Fn()) {
    for order in orders {
        match order {
            Order::Shrink => runner.shrink(),
            Order::Run(batch) => {
                runner.run(batch, &mut |part| parts.send(part).is_ok());
                ended();
            }
        }
    }
}

/// Takes and prepares.
struct Feeder {
    feed: Feed,
    preparer: Option<Box<dyn Prepare>>,
    /// How long preparing takes of late.
    preparation: Duration,
    orders: SyncSender<Order>,
    handed_over: u64,
    runs_ended: Arc<AtomicU64>,
    /// When the batch that was handed over last will have run, by the costs.
    last_ends: Instant,
}

impl Feeder {
    fn serve(mut self) {
        loop {
            let order = match self.next() {
                Work::End => return,
                Work::Shrink => Order::Shrink,
                Work::Run(mut batch) => {
                    batch.prepared = self.prepare(&batch);
                    self.handed_over += 1;
                    self.last_ends = batch.ends;
                    Order::Run(batch)
                }
            };
            // Waits until the runner is free.
            if self.orders.send(order).is_err() {
                return;
            }
        }
    }

    fn next(&mut self) -> Work {
        let take_from = self.last_ends.checked_sub(2 * self.preparation + MARGIN);
        let busy = Free::Later {
            starts: self.last_ends,
            take_from: take_from.unwrap_or(self.last_ends),
        };
        let (ended, handed_over) = (&self.runs_ended, self.handed_over);
        self.feed.next_when(|| {
            if ended.load(Ordering::Acquire) < handed_over {
                busy
            } else {
                Free::Now
            }
        })
    }

    /// What can be done before the run. If that fails the run does it again, and fails with an
    /// error, or only on the half of the batch that is to blame.
    fn prepare(&mut self, batch: &Batch) -> Option<Prepared> {
        let preparer = self.preparer.as_mut()?;
        let payloads: Vec<&Payload> = batch.jobs.iter().map(|job| &job.payload).collect();
        let started = Instant::now();
        let prepared = catch_unwind(AssertUnwindSafe(|| preparer.prepare(&payloads)));
        let took = started.elapsed();
        self.preparation = self.preparation.mul_f64(1.0 - NEWEST) + took.mul_f64(NEWEST);
        match prepared {
            Ok(prepared) => prepared.ok(),
            Err(panic) => {
                tracing::warn!(panic = panic_message(&*panic), "a batch was not prepared");
                None
            }
        }
    }
}
