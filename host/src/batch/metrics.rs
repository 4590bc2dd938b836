//! What the batcher counts.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::queue::Load;
use crate::inference::Device;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    model: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SessionLabels {
    model: String,
    device: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    model: String,
    reason: &'static str,
}

/// The batcher's metrics, of all models.
#[derive(Clone, Debug)]
pub struct BatchMetrics {
    items: Family<ModelLabels, Counter>,
    batch_items: Histogram,
    padding_ratio: Histogram,
    queue_items: Family<ModelLabels, Gauge>,
    queue_tokens: Family<ModelLabels, Gauge>,
    queue_bytes: Family<ModelLabels, Gauge>,
    queue_seconds: Histogram,
    inference_seconds: Histogram,
    sessions: Family<SessionLabels, Gauge>,
    failures: Family<FailureLabels, Counter>,
}

impl BatchMetrics {
    /// Registers every metric.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            items: Family::default(),
            batch_items: Histogram::new(exponential_buckets(1.0, 2.0, 10)),
            padding_ratio: Histogram::new([1.0, 1.05, 1.1, 1.15, 1.2, 1.3, 1.5, 2.0, 3.0]),
            queue_items: Family::default(),
            queue_tokens: Family::default(),
            queue_bytes: Family::default(),
            queue_seconds: Histogram::new(exponential_buckets(0.0005, 2.0, 17)),
            inference_seconds: Histogram::new(exponential_buckets(0.0005, 2.0, 15)),
            sessions: Family::default(),
            failures: Family::default(),
        };
        metrics.register_items(registry);
        metrics.register_times(registry);
        metrics
    }

    fn register_items(&self, registry: &mut Registry) {
        registry.register(
            "brink_inference_items",
            "Items that the model computed",
            self.items.clone(),
        );
        registry.register(
            "brink_batch_items",
            "Items of a model run",
            self.batch_items.clone(),
        );
        registry.register(
            "brink_batch_padding_ratio",
            "Padded tokens per real token of a model run",
            self.padding_ratio.clone(),
        );
        registry.register(
            "brink_queue_depth",
            "Items waiting for a model run",
            self.queue_items.clone(),
        );
        registry.register(
            "brink_queue_tokens",
            "Tokens waiting for a model run",
            self.queue_tokens.clone(),
        );
        registry.register_with_unit(
            "brink_queue",
            "Memory of the payloads waiting for a model run",
            Unit::Bytes,
            self.queue_bytes.clone(),
        );
        registry.register(
            "brink_sessions",
            "Sessions that serve, by the device that really runs",
            self.sessions.clone(),
        );
        registry.register(
            "brink_inference_failures",
            "Items that the model failed on",
            self.failures.clone(),
        );
    }

    fn register_times(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "brink_queue",
            "Time of an item from the queue's end to a batch",
            Unit::Seconds,
            self.queue_seconds.clone(),
        );
        registry.register_with_unit(
            "brink_inference",
            "Time of a model run",
            Unit::Seconds,
            self.inference_seconds.clone(),
        );
    }

    /// The metrics of one model on one device.
    pub fn for_model(&self, model: &str, device: Device) -> ModelMetrics {
        let labels = ModelLabels {
            model: model.to_owned(),
        };
        ModelMetrics {
            items: self.items.get_or_create_owned(&labels),
            queue_items: self.queue_items.get_or_create_owned(&labels),
            queue_tokens: self.queue_tokens.get_or_create_owned(&labels),
            queue_bytes: self.queue_bytes.get_or_create_owned(&labels),
            sessions: self.sessions.get_or_create_owned(&SessionLabels {
                model: model.to_owned(),
                device: device.to_string(),
            }),
            model: model.to_owned(),
            all: self.clone(),
        }
    }
}

/// [`BatchMetrics`] of one model: labels are resolved once, not per batch.
#[derive(Clone, Debug)]
pub struct ModelMetrics {
    model: String,
    items: Counter,
    queue_items: Gauge,
    queue_tokens: Gauge,
    queue_bytes: Gauge,
    sessions: Gauge,
    all: BatchMetrics,
}

/// A model run that succeeded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) items: usize,
    pub(super) real_tokens: usize,
    pub(super) padded_tokens: usize,
    pub(super) took: Duration,
}

impl ModelMetrics {
    pub(super) fn queue_is(&self, load: Load) {
        self.queue_items.set(load.items as i64);
        self.queue_tokens.set(load.tokens as i64);
        self.queue_bytes.set(load.bytes as i64);
    }

    pub(super) fn waited(&self, time: Duration) {
        self.all.queue_seconds.observe(time.as_secs_f64());
    }

    pub(super) fn ran(&self, run: Run) {
        self.items.inc_by(run.items as u64);
        self.all.batch_items.observe(run.items as f64);
        let ratio = run.padded_tokens as f64 / run.real_tokens.max(1) as f64;
        self.all.padding_ratio.observe(ratio);
        self.all.inference_seconds.observe(run.took.as_secs_f64());
    }

    pub(super) fn failed(&self, reason: &'static str) {
        let labels = FailureLabels {
            model: self.model.clone(),
            reason,
        };
        self.all.failures.get_or_create(&labels).inc();
    }

    pub(super) fn session_started(&self) {
        self.sessions.inc();
    }

    pub(super) fn session_ended(&self) {
        self.sessions.dec();
    }
}
