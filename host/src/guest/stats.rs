//! Counters of one component, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one component's instances. Gauges are named so; everything else only grows.
#[derive(Debug, Default)]
pub struct PoolStats {
    /// Gauge: instances that answer a request, or finish work after one.
    pub busy: AtomicU64,
    /// Gauge: warm instances that wait for a request.
    pub idle: AtomicU64,
    /// Gauge: instances that finish work after their response (part of `busy`).
    pub background: AtomicU64,
    /// Instances made.
    pub created: AtomicU64,
    /// Requests that got an instance.
    pub requests: AtomicU64,
    /// Requests refused because all instances were busy.
    pub refused: AtomicU64,
    /// Requests whose guest sent no head in time.
    pub timed_out: AtomicU64,
    /// Guests that trapped, at whatever moment.
    pub trapped: AtomicU64,
    /// Instances dropped in the middle of a request: traps, time-outs, and clients that left.
    pub discarded: AtomicU64,
    /// Work after a response that was cut off, because it took too long or too much of it ran.
    pub background_cut: AtomicU64,
    /// Requests that the synchronous door answered.
    pub door_answered: AtomicU64,
    /// Calls that it asked for.
    pub door_calls: AtomicU64,
    /// Gauge: those under way.
    pub door_calling: AtomicU64,
    /// Requests that it answered after a call to an upstream.
    pub door_resumed: AtomicU64,
    /// Answers that are passed on as they come, without an instance.
    pub door_streamed: AtomicU64,
    /// Requests that the synchronous door was asked about, and that went through `wasi:http`.
    pub door_passed: AtomicU64,
    /// Calls of the synchronous door that trapped, took too long, or gave no valid answer.
    pub door_failed: AtomicU64,
    /// Requests that went through `wasi:http` at once, because the door kept failing.
    pub door_skipped: AtomicU64,
}

pub(super) fn add(counter: &AtomicU64) {
    // Relaxed everywhere: the counters order nothing, they are only read for reports.
    counter.fetch_add(1, Ordering::Relaxed);
}

pub(super) fn subtract(counter: &AtomicU64, amount: usize) {
    counter.fetch_sub(amount as u64, Ordering::Relaxed);
}
