//! Runs of a model, which belong to many traces.
//!
//! ```text
//!  trace of a request:  infer --+-- queue  (from its first item's arrival to the batch)
//!                               '-- model  (the run)  <--.   links, both ways
//!  trace of its own:    batch  (the run, all items) <----'
//! ```
//!
//! The items of one call that are in one batch are told together: a call may have two thousand. All spans are
//! made when the run is over, from what was measured, so the session's thread does nothing for them before.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceState};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use tokio::time::Instant;

use super::SpanKind;
use super::span::{Span, Trace};

/// A run of a model that is over.
#[derive(Clone, Debug)]
pub struct BatchRun<'a> {
    /// The model's name.
    pub model: &'a str,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Items of all callers, traced or not.
    pub items: usize,
    /// Items times the longest.
    pub padded_tokens: usize,
    /// When the items left the queue.
    pub taken: Instant,
    /// When the run began.
    pub started: Instant,
    /// Why there is no result, in one word.
    pub error: Option<&'static str>,
}

/// What one call has in a batch.
struct Share<'a> {
    trace: &'a Trace,
    arrived: Instant,
    items: i64,
}

/// Tells a run that ends now to the traces of its items, each with the time when it came to the queue.
pub fn record_batch<'a>(
    items: impl Iterator<Item = (&'a Trace, Instant)>,
    run: impl FnOnce() -> BatchRun<'a>,
) {
    let shares = shares(items);
    let Some(first) = shares.first() else {
        return;
    };
    let (run, ended) = (run(), Instant::now());
    let mut batch = batch(first.trace, &run);
    for share in &shares {
        share.queued(run.taken, None);
        share.ran(&run, ended, &mut batch);
    }
    batch.end_at(ended);
}

/// Tells that an item left the queue without a run.
pub fn record_refused(trace: &Trace, arrived: Instant, error: &'static str) {
    let share = Share {
        trace,
        arrived,
        items: 1,
    };
    share.queued(Instant::now(), Some(error));
}

/// Items by the call that they belong to, in the order of the first of each.
fn shares<'a>(items: impl Iterator<Item = (&'a Trace, Instant)>) -> Vec<Share<'a>> {
    let mut shares: Vec<Share<'a>> = Vec::new();
    let mut places: HashMap<SpanId, usize> = HashMap::new();
    for (trace, arrived) in items.filter(|(trace, _)| trace.is_sampled()) {
        match places.entry(trace.span_id()) {
            Entry::Occupied(place) => {
                let share = &mut shares[*place.get()];
                share.items += 1;
                share.arrived = share.arrived.min(arrived);
            }
            Entry::Vacant(place) => {
                place.insert(shares.len());
                shares.push(Share {
                    trace,
                    arrived,
                    items: 1,
                });
            }
        }
    }
    shares
}

/// The run itself, in a trace of its own: it has no one parent.
fn batch(any: &Trace, run: &BatchRun<'_>) -> Span {
    let ids = RandomIdGenerator::default();
    let context = SpanContext::new(
        ids.new_trace_id(),
        ids.new_span_id(),
        TraceFlags::SAMPLED,
        false,
        TraceState::NONE,
    );
    let place = any.elsewhere(context);
    let mut span = Span::root("batch", SpanKind::Internal, run.started, &place);
    span.set("brink.model", run.model.to_owned());
    span.set("brink.device", run.device.clone());
    span.set("brink.items", run.items as i64);
    span.set("brink.padded_tokens", run.padded_tokens as i64);
    if let Some(error) = run.error {
        span.fail(error);
    }
    span
}

impl Share<'_> {
    fn queued(&self, until: Instant, error: Option<&'static str>) {
        let span = self
            .trace
            .span_since("queue", SpanKind::Internal, self.arrived);
        if let Some(mut span) = span {
            span.set("brink.items", self.items);
            if let Some(error) = error {
                span.fail(error);
            }
            span.end_at(until);
        }
    }

    fn ran(&self, run: &BatchRun<'_>, ended: Instant, batch: &mut Span) {
        let span = self
            .trace
            .span_since("model", SpanKind::Internal, run.started);
        if let Some(mut span) = span {
            span.set("brink.items", self.items);
            span.link(batch.context());
            batch.link(span.context());
            if let Some(error) = run.error {
                span.fail(error);
            }
            span.end_at(ended);
        }
    }
}
