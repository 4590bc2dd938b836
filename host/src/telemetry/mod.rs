//! Traces of requests, sent to a collector over OTLP (HTTP, protobuf). Off unless an endpoint is set.
//!
//! ```text
//!  request -> Telemetry::receive -> Span (server) -> Trace, carried in the request's extensions
//!                                     |-- children: fast door, component, key-value, outbound, infer, queue, model
//!                                     '-- ended: queue of spans (bounded) -> export (a task) -> collector
//! ```
//!
//! A [`Trace`] says where work belongs and is what modules pass on; a [`Span`] is a piece of work that will be
//! told. Off, a request costs one branch: there is no [`Trace`], so nothing below makes a span. Not sampled, it
//! costs a [`Trace`] that says so to upstreams. Ending a span never waits: when the queue is full it is dropped,
//! and counted.
//!
//! Spans hold what was measured and names of fixed sets (routes, models, components). Inputs, query strings,
//! keys, header fields and tenants are never in them (`docs/tracing.md`).
//!
//! Not here: what the server, the guests and the batcher say about their own work. The crates of OpenTelemetry
//! are named in this module and nowhere else.

mod batch;
mod clock;
mod config;
mod context;
mod export;
mod key_value;
mod metrics;
mod span;
#[cfg(test)]
pub(crate) mod testing;

use std::sync::Arc;

use http::HeaderMap;
use opentelemetry::trace::{SpanContext, TraceFlags, TraceState};
use opentelemetry_sdk::trace::{
    IdGenerator, RandomIdGenerator, Sampler, SamplingDecision, ShouldSample,
};
use tokio::time::Instant;

pub use batch::{BatchRun, record_batch, record_refused};
pub use config::{Endpoint, TelemetryConfig, Trust};
pub use export::TelemetryError;
pub use key_value::{Access, KeyValueCalls};
pub use metrics::TraceMetrics;
pub use opentelemetry::trace::SpanKind;
pub use span::{Span, Trace, method_name};

use clock::Clock;
use export::{Exporter, Sink};

/// Makes and exports traces, or does nothing. Cheap to clone; clones share the queue of spans.
#[derive(Clone, Debug, Default)]
pub struct Telemetry(Option<Arc<Pipeline>>);

#[derive(Debug)]
struct Pipeline {
    sink: Arc<Sink>,
    sampler: Sampler,
    /// Read once, when this was made.
    clock: Clock,
}

/// What becomes of a request from outside.
#[derive(Debug)]
pub enum Received {
    /// Traces are off.
    Off,
    /// It is not recorded; those whom it asks are told so.
    Unsampled(Trace),
    /// It is recorded, from now on.
    Sampled(Span),
}

impl Telemetry {
    /// Starts exporting, if an endpoint is set. To be called inside the runtime: the exporter is a task of it.
    ///
    /// # Errors
    /// When the environment variables `OTEL_EXPORTER_OTLP_*` contradict what is possible here.
    pub fn start(config: &TelemetryConfig, metrics: TraceMetrics) -> Result<Self, TelemetryError> {
        let Some(endpoint) = &config.endpoint else {
            return Ok(Self(None));
        };
        let exporter = Exporter::new(endpoint, config)?;
        Ok(Self(Some(Arc::new(Pipeline {
            sink: Arc::new(exporter.start(config, metrics)),
            sampler: Sampler::TraceIdRatioBased(config.sample_ratio),
            clock: Clock::read(),
        }))))
    }

    /// Begins the span of a request whose header fields are these.
    ///
    /// If clients are trusted, a `traceparent` of theirs is continued, and its decision to sample holds. If not,
    /// the request begins a trace of its own, which is linked to theirs: nobody outside may decide what is recorded.
    pub fn receive(&self, headers: &HeaderMap, trust: Trust) -> Received {
        let Some(pipeline) = &self.0 else {
            return Received::Off;
        };
        pipeline.receive(context::read(headers), trust)
    }

    /// Returns when every span that has ended before was sent or dropped.
    pub async fn flush(&self) {
        if let Some(pipeline) = &self.0 {
            pipeline.sink.flush().await;
        }
    }

    /// [`flush`](Self::flush), for as long as there is time; what is left then is lost.
    pub async fn shut_down(&self, deadline: Instant) {
        if tokio::time::timeout_at(deadline, self.flush())
            .await
            .is_err()
        {
            tracing::warn!("the last spans could not be sent before the deadline");
        }
    }
}

impl Pipeline {
    fn receive(&self, theirs: Option<SpanContext>, trust: Trust) -> Received {
        match (theirs, trust) {
            (Some(parent), Trust::Parent) if parent.is_sampled() => {
                let clock = Clock::read();
                let parent = Trace::new(parent, &self.sink, clock);
                match parent.span_since("request", SpanKind::Server, clock.at()) {
                    Some(span) => Received::Sampled(span),
                    None => Received::Unsampled(parent),
                }
            }
            (Some(parent), Trust::Parent) => self.unsampled(parent),
            (theirs, _) => self.root(theirs),
        }
    }

    fn root(&self, linked: Option<SpanContext>) -> Received {
        let root = self.decide();
        if !root.is_sampled() {
            return self.unsampled(root);
        }
        let clock = Clock::read();
        let place = Trace::new(root, &self.sink, clock);
        let mut span = Span::root("request", SpanKind::Server, clock.at(), &place);
        if let Some(linked) = linked {
            span.link(&linked);
        }
        Received::Sampled(span)
    }

    /// Nothing of it is timed, so any clock will do.
    fn unsampled(&self, context: SpanContext) -> Received {
        Received::Unsampled(Trace::new(context, &self.sink, self.clock))
    }

    /// The context of a new trace, sampled or not by its random id: other services that use the same ratio
    /// decide alike.
    fn decide(&self) -> SpanContext {
        let ids = RandomIdGenerator::default();
        let trace_id = ids.new_trace_id();
        let sampled = self
            .sampler
            .should_sample(None, trace_id, "", &SpanKind::Server, &[], &[]);
        let sampled = sampled.decision == SamplingDecision::RecordAndSample;
        let flags = TraceFlags::default().with_sampled(sampled);
        let state = TraceState::NONE;
        SpanContext::new(trace_id, ids.new_span_id(), flags, false, state)
    }
}

#[cfg(test)]
mod tests;
