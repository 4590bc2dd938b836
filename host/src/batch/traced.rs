//! Tells runs to the traces of their items. Without a traced item it looks at each once, and does nothing.

use std::time::Duration;

use tokio::time::Instant;

use super::metrics::ModelMetrics;
use super::pool::Job;
use crate::telemetry::{BatchRun, record_batch};

/// A run that took so long and ended now. To be called before the items are answered: whoever has the answer may
/// look for the spans.
pub(super) fn ran(jobs: &[Job], metrics: &ModelMetrics, taken: Instant, took: Duration) {
    let now = Instant::now();
    let started = now.checked_sub(took).unwrap_or(taken);
    record(jobs, metrics, [taken, started], None);
}

/// A run that failed now. Its halves failed before it, so all the time since it was taken is its own.
pub(super) fn failed(jobs: &[Job], metrics: &ModelMetrics, taken: Instant, reason: &'static str) {
    record(jobs, metrics, [taken, taken], Some(reason));
}

fn record(
    jobs: &[Job],
    metrics: &ModelMetrics,
    [taken, started]: [Instant; 2],
    error: Option<&'static str>,
) {
    let traced = jobs.iter();
    let traced = traced.filter_map(|job| Some((job.trace.as_ref()?, job.arrived)));
    record_batch(traced, || {
        let longest = jobs.iter().map(|job| job.payload.size()).max();
        BatchRun {
            model: metrics.model(),
            device: metrics.device().to_string(),
            items: jobs.len(),
            padded_tokens: jobs.len() * longest.unwrap_or(0),
            taken,
            started,
            error,
        }
    });
}
