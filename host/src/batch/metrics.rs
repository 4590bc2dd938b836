//! What the batcher counts.

use std::collections::HashSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::cost::CostModel;
use super::queue::Load;
use super::shape::Shape;
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
struct ReasonLabels {
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
    breaker_open: Family<ModelLabels, Gauge>,
    queue_seconds: Histogram,
    inference_seconds: Histogram,
    sessions: Family<SessionLabels, Gauge>,
    failures: Family<ReasonLabels, Counter>,
    refusals: Family<ReasonLabels, Counter>,
    run_seconds: Family<ModelLabels, Gauge<f64, AtomicU64>>,
    unit_seconds: Family<ModelLabels, Gauge<f64, AtomicU64>>,
    made: Arc<Mutex<Made>>,
}

/// Series that were made: families cannot be asked for theirs. As many as there are models, times the few
/// devices and reasons.
#[derive(Debug, Default)]
struct Made {
    models: HashSet<ModelLabels>,
    sessions: HashSet<SessionLabels>,
    failures: HashSet<ReasonLabels>,
    refusals: HashSet<ReasonLabels>,
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
            breaker_open: Family::default(),
            queue_seconds: Histogram::new(exponential_buckets(0.0005, 2.0, 17)),
            inference_seconds: Histogram::new(exponential_buckets(0.0005, 2.0, 15)),
            sessions: Family::default(),
            failures: Family::default(),
            refusals: Family::default(),
            run_seconds: Family::default(),
            unit_seconds: Family::default(),
            made: Arc::default(),
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
            "brink_breaker_open",
            "1 from when a model was given up until it works again",
            self.breaker_open.clone(),
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
        registry.register(
            "brink_batch_refusals",
            "Calls that were not admitted, and items that came too late (expired)",
            self.refusals.clone(),
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
        registry.register_with_unit(
            "brink_batch_run",
            "Time of a model run by itself, as measured",
            Unit::Seconds,
            self.run_seconds.clone(),
        );
        registry.register_with_unit(
            "brink_batch_unit",
            "Time of each padded token (element, picture) of a model run, as measured",
            Unit::Seconds,
            self.unit_seconds.clone(),
        );
    }

    /// Lets the series of models go that are served no more. Calls to them that are still answered count into
    /// nothing, but for a failure or refusal: that makes a series again, which goes with the next that leave.
    pub fn forget_all_but(&self, is_served: &dyn Fn(&str) -> bool) {
        let mut made = self.made();
        for labels in made.models.extract_if(|it| !is_served(&it.model)) {
            self.items.remove(&labels);
            self.queue_items.remove(&labels);
            self.queue_tokens.remove(&labels);
            self.queue_bytes.remove(&labels);
            self.breaker_open.remove(&labels);
            self.run_seconds.remove(&labels);
            self.unit_seconds.remove(&labels);
        }
        for labels in made.sessions.extract_if(|it| !is_served(&it.model)) {
            self.sessions.remove(&labels);
        }
        for labels in made.failures.extract_if(|it| !is_served(&it.model)) {
            self.failures.remove(&labels);
        }
        for labels in made.refusals.extract_if(|it| !is_served(&it.model)) {
            self.refusals.remove(&labels);
        }
    }

    /// Nothing is left half done under this lock.
    fn made(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The metrics of one model on one device.
    pub fn for_model(&self, model: &str, device: Device) -> ModelMetrics {
        let labels = ModelLabels {
            model: model.to_owned(),
        };
        let session = SessionLabels {
            model: model.to_owned(),
            device: device.to_string(),
        };
        let mut made = self.made();
        made.models.insert(labels.clone());
        made.sessions.insert(session.clone());
        ModelMetrics {
            items: self.items.get_or_create_owned(&labels),
            queue_items: self.queue_items.get_or_create_owned(&labels),
            queue_tokens: self.queue_tokens.get_or_create_owned(&labels),
            queue_bytes: self.queue_bytes.get_or_create_owned(&labels),
            breaker_open: self.breaker_open.get_or_create_owned(&labels),
            run_seconds: self.run_seconds.get_or_create_owned(&labels),
            unit_seconds: self.unit_seconds.get_or_create_owned(&labels),
            sessions: self.sessions.get_or_create_owned(&session),
            model: model.to_owned(),
            device,
            all: self.clone(),
        }
    }
}

/// [`BatchMetrics`] of one model: labels are resolved once, not per batch.
#[derive(Clone, Debug)]
pub struct ModelMetrics {
    model: String,
    device: Device,
    items: Counter,
    queue_items: Gauge,
    queue_tokens: Gauge,
    queue_bytes: Gauge,
    breaker_open: Gauge,
    run_seconds: Gauge<f64, AtomicU64>,
    unit_seconds: Gauge<f64, AtomicU64>,
    sessions: Gauge,
    all: BatchMetrics,
}

impl ModelMetrics {
    /// What the series are labelled with.
    pub(super) fn model(&self) -> &str {
        &self.model
    }

    /// What the sessions are labelled with.
    pub(super) fn device(&self) -> Device {
        self.device
    }

    pub(super) fn queue_is(&self, load: Load) {
        self.queue_items.set(load.items as i64);
        self.queue_tokens.set(load.tokens as i64);
        self.queue_bytes.set(load.bytes as i64);
    }

    pub(super) fn breaker_is_open(&self, is_open: bool) {
        self.breaker_open.set(is_open.into());
    }

    pub(super) fn waited(&self, time: Duration) {
        self.all.queue_seconds.observe(time.as_secs_f64());
    }

    /// A run of this shape succeeded.
    pub(super) fn ran(&self, shape: Shape, took: Duration) {
        self.items.inc_by(shape.items as u64);
        self.all.batch_items.observe(shape.items as f64);
        let ratio = shape.padded() as f64 / shape.real.max(1) as f64;
        self.all.padding_ratio.observe(ratio);
        self.all.inference_seconds.observe(took.as_secs_f64());
    }

    /// What runs cost by now.
    pub(super) fn costs_are(&self, costs: &CostModel) {
        self.run_seconds.set(costs.run_seconds().unwrap_or(0.0));
        self.unit_seconds.set(costs.unit_seconds().unwrap_or(0.0));
    }

    /// Makes a series of what is counted only when it happens.
    #[cfg(test)]
    pub(crate) fn refuse_any(&self) {
        self.refused("queue-full");
    }

    /// Items of a call, or one of them, were not computed.
    pub(super) fn refused(&self, reason: &'static str) {
        let labels = ReasonLabels {
            model: self.model.clone(),
            reason,
        };
        self.all.refusals.get_or_create(&labels).inc();
        self.all.made().refusals.insert(labels);
    }

    pub(super) fn failed(&self, reason: &'static str) {
        let labels = ReasonLabels {
            model: self.model.clone(),
            reason,
        };
        self.all.failures.get_or_create(&labels).inc();
        self.all.made().failures.insert(labels);
    }

    pub(super) fn session_started(&self) {
        self.sessions.inc();
    }

    pub(super) fn session_ended(&self) {
        self.sessions.dec();
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn series_of_a_model_go_when_it_is_served_no_more_and_begin_anew_when_it_is() {
        let mut registry = Registry::default();
        let metrics = BatchMetrics::register(&mut registry);
        let shown = || {
            let mut text = String::new();
            encode(&mut text, &registry).expect("a string takes all");
            text
        };
        let use_it = |model: &str| {
            let model = metrics.for_model(model, Device::Cpu);
            model.session_started();
            model.refused("queue-full");
            model.failed("runtime");
            model
        };
        let (_stays, goes) = (use_it("stays"), use_it("goes"));
        metrics.forget_all_but(&|model| model == "stays");
        assert!(!shown().contains("model=\"goes\""), "{}", shown());
        let left = shown().matches("model=\"stays\"").count();
        assert_eq!(left, 10, "{}", shown());

        // Its last sessions end and nobody sees it.
        goes.session_ended();
        assert!(!shown().contains("model=\"goes\""));
        use_it("goes");
        let sessions = "brink_sessions{model=\"goes\",device=\"cpu\"} 1";
        assert!(shown().contains(sessions), "{}", shown());
    }
}
