//! `brink warm-up`: sends recorded requests to an edge, so that it has their results before clients
//! ask for them.
//!
//! ```text
//!  List --one thread reads, in order--> up to N requests at a time --> Tally
//!                                       each with tries of its own
//! ```
//!
//! An edge computes what occurs twice once, so the list is sent as it is. Nothing is kept but the
//! lines under way. Not here: what is stored, and for how long. The edge's policy decides that.

mod edge;
mod list;
mod retry;
mod tally;

use std::num::NonZeroUsize;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

pub use edge::{Edge, EdgeError};
use list::Line;
pub use list::{List, MAX_LINE_BYTES};
pub use tally::Tally;

/// Lines that are read ahead of the requests: enough for a reader that is slower now and then.
const LINES_AHEAD: usize = 16;

/// How the list is sent.
#[derive(Clone, Debug)]
pub struct Options {
    /// Takes the place of each body's member `model`; `None` leaves it.
    pub model: Option<String>,
    /// Most requests at the same time.
    pub concurrency: NonZeroUsize,
    /// Time between two lines of progress.
    pub progress_every: Duration,
}

/// Sends every line of `list`, and tells `tell` mistakes, failures and progress, a line at a time.
///
/// A line that fails does not end the run: the tally counts it.
pub async fn run(
    list: List,
    edge: &Edge,
    options: Options,
    tell: &mut (dyn FnMut(String) + Send),
) -> Tally {
    let started = Instant::now();
    let mut tally = Tally::new(list.total());
    let mut ticks = every(options.progress_every);
    let mut lines = read_ahead(list, options.model);
    let mut reading = true;
    let mut under_way = FuturesUnordered::new();
    while reading || !under_way.is_empty() {
        let room = under_way.len() < options.concurrency.get();
        tokio::select! {
            line = lines.recv(), if reading && room => match line {
                Some(Line { number, body: Ok(body) }) => under_way.push(send(edge, number, body)),
                Some(Line { number, body: Err(mistake) }) => {
                    tally.mistake(number, &mistake).into_iter().for_each(&mut *tell);
                }
                None => reading = false,
            },
            Some((number, answered)) = under_way.next() => {
                tally.request(number, &answered).into_iter().for_each(&mut *tell);
            }
            _ = ticks.tick() => tell(tally.progress()),
        }
    }
    tally.ended(started.elapsed());
    tally
}

async fn send(edge: &Edge, number: u64, body: Bytes) -> (u64, edge::Answered) {
    (number, retry::patiently(|| edge.ask(body.clone())).await)
}

/// Reads in a thread of its own: files and standard input block. The thread ends with the list, or
/// when nobody receives any more.
fn read_ahead(list: List, model: Option<String>) -> mpsc::Receiver<Line> {
    let (sender, receiver) = mpsc::channel(LINES_AHEAD);
    tokio::task::spawn_blocking(move || {
        for line in list.requests(model) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

#[cfg(test)]
mod tests;
