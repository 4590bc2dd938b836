//! What is counted of texts that are written.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::AtomicU64;

use super::slots::Occupancy;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    model: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    model: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    model: String,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    model: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabels {
    model: String,
    phase: &'static str,
}

/// The metrics of all models that write.
#[derive(Clone, Debug)]
pub struct GenerateMetrics {
    requests: Family<OutcomeLabels, Counter>,
    tokens: Family<KindLabels, Counter>,
    first_token_seconds: Histogram,
    token_seconds: Histogram,
    slots: Family<StateLabels, Gauge>,
    waiting: Family<ModelLabels, Gauge>,
    run_seconds: Family<PhaseLabels, Counter<f64, AtomicU64>>,
}

impl Default for GenerateMetrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            tokens: Family::default(),
            first_token_seconds: Histogram::new(exponential_buckets(0.005, 2.0, 16)),
            token_seconds: Histogram::new(exponential_buckets(0.002, 2.0, 14)),
            slots: Family::default(),
            waiting: Family::default(),
            run_seconds: Family::default(),
        }
    }
}

impl GenerateMetrics {
    /// Registers every metric.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "brink_generate_requests",
            "Texts that ended, by how",
            metrics.requests.clone(),
        );
        registry.register(
            "brink_generate_tokens",
            "Tokens that were read, found read already, and written",
            metrics.tokens.clone(),
        );
        registry.register_with_unit(
            "brink_generate_first_token",
            "Time from a request to its first token",
            Unit::Seconds,
            metrics.first_token_seconds.clone(),
        );
        registry.register_with_unit(
            "brink_generate_token",
            "Time between two tokens of a text",
            Unit::Seconds,
            metrics.token_seconds.clone(),
        );
        registry.register(
            "brink_generate_slots",
            "Slots, by what they are used for",
            metrics.slots.clone(),
        );
        registry.register(
            "brink_generate_waiting",
            "Requests that wait for a slot",
            metrics.waiting.clone(),
        );
        registry.register_with_unit(
            "brink_generate_run",
            "Time of model runs",
            Unit::Seconds,
            metrics.run_seconds.clone(),
        );
        metrics
    }

    /// The metrics of one model.
    pub fn for_model(&self, model: &str) -> WriterMetrics {
        let model = || model.to_owned();
        let kind = |kind| KindLabels {
            model: model(),
            kind,
        };
        let state = |state| StateLabels {
            model: model(),
            state,
        };
        let phase = |phase| PhaseLabels {
            model: model(),
            phase,
        };
        WriterMetrics {
            read: self.tokens.get_or_create_owned(&kind("prompt")),
            cached: self.tokens.get_or_create_owned(&kind("cached")),
            written: self.tokens.get_or_create_owned(&kind("written")),
            busy: self.slots.get_or_create_owned(&state("busy")),
            kept: self.slots.get_or_create_owned(&state("kept")),
            free: self.slots.get_or_create_owned(&state("free")),
            waiting: self
                .waiting
                .get_or_create_owned(&ModelLabels { model: model() }),
            prefill: self.run_seconds.get_or_create_owned(&phase("prefill")),
            decode: self.run_seconds.get_or_create_owned(&phase("decode")),
            model: model(),
            all: self.clone(),
        }
    }
}

/// [`GenerateMetrics`] of one model: labels are resolved once, not per token.
#[derive(Clone, Debug)]
pub struct WriterMetrics {
    model: String,
    read: Counter,
    cached: Counter,
    written: Counter,
    busy: Gauge,
    kept: Gauge,
    free: Gauge,
    waiting: Gauge,
    prefill: Counter<f64, AtomicU64>,
    decode: Counter<f64, AtomicU64>,
    all: GenerateMetrics,
}

impl WriterMetrics {
    /// A text ended, or was refused.
    pub(super) fn ended(&self, outcome: &'static str) {
        let labels = OutcomeLabels {
            model: self.model.clone(),
            outcome,
        };
        self.all.requests.get_or_create(&labels).inc();
    }

    /// Makes a series of what is counted only when it happens.
    #[cfg(test)]
    pub(crate) fn end_any(&self) {
        self.ended("stop");
    }

    pub(super) fn prefilled(&self, tokens: usize, took: Duration) {
        self.read.inc_by(tokens as u64);
        self.prefill.inc_by(took.as_secs_f64());
    }

    pub(super) fn found(&self, tokens: usize) {
        self.cached.inc_by(tokens as u64);
    }

    pub(super) fn stepped(&self, took: Duration) {
        self.decode.inc_by(took.as_secs_f64());
    }

    /// A token was written; the first of its text, or so long after the one before.
    pub(super) fn wrote(&self, since: Duration, is_first: bool) {
        self.written.inc();
        let times = if is_first {
            &self.all.first_token_seconds
        } else {
            &self.all.token_seconds
        };
        times.observe(since.as_secs_f64());
    }

    pub(super) fn slots_are(&self, slots: Occupancy) {
        for (gauge, count) in [
            (&self.busy, slots.busy),
            (&self.kept, slots.kept),
            (&self.free, slots.free),
        ] {
            gauge.set(count as i64);
        }
    }

    pub(super) fn waiting_are(&self, requests: usize) {
        self.waiting.set(requests as i64);
    }
}
