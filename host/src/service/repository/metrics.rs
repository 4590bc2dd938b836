//! What is counted of models that come and go.

use std::time::Duration;

use brink_protocol::ModelInfo;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    model: String,
    version: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LoadLabels {
    model: String,
    outcome: &'static str,
}

/// The metrics of a repository.
#[derive(Clone, Debug)]
pub struct RepositoryMetrics {
    memory: Family<Labels, Gauge>,
    loads: Family<LoadLabels, Counter>,
    load_seconds: Histogram,
}

impl Default for RepositoryMetrics {
    fn default() -> Self {
        Self {
            memory: Family::default(),
            loads: Family::default(),
            load_seconds: Histogram::new(exponential_buckets(0.05, 2.0, 12)),
        }
    }
}

impl RepositoryMetrics {
    /// Registers every metric.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register_with_unit(
            "brink_model_memory",
            "What the process grew by when the model was loaded; absent while it is not in memory",
            Unit::Bytes,
            metrics.memory.clone(),
        );
        registry.register(
            "brink_model_loads",
            "Models that were loaded, by outcome",
            metrics.loads.clone(),
        );
        registry.register_with_unit(
            "brink_model_load",
            "Time until a model was loaded and warm",
            Unit::Seconds,
            metrics.load_seconds.clone(),
        );
        metrics
    }

    pub(super) fn loaded(&self, info: &ModelInfo, memory: u64, took: Duration) {
        let memory = i64::try_from(memory).unwrap_or(i64::MAX);
        self.memory.get_or_create(&labels(info)).set(memory);
        self.count(info, "loaded");
        self.load_seconds.observe(took.as_secs_f64());
    }

    pub(super) fn failed(&self, info: &ModelInfo) {
        self.count(info, "failed");
    }

    pub(super) fn unloaded(&self, info: &ModelInfo) {
        self.memory.remove(&labels(info));
        self.count(info, "unloaded");
    }

    fn count(&self, info: &ModelInfo, outcome: &'static str) {
        let labels = LoadLabels {
            model: info.name.clone(),
            outcome,
        };
        self.loads.get_or_create(&labels).inc();
    }
}

fn labels(info: &ModelInfo) -> Labels {
    Labels {
        model: info.name.clone(),
        version: info.version.clone(),
    }
}
