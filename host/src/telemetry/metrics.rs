//! What is counted of spans: whether the traces are whole.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    reason: &'static str,
}

/// Counters of spans. All are there from the start, at zero, whether traces are on or off.
#[derive(Clone, Debug)]
pub struct TraceMetrics {
    exported: Counter,
    queue_full: Counter,
    export_failed: Counter,
}

impl TraceMetrics {
    /// Registers every metric.
    pub fn register(registry: &mut Registry) -> Self {
        let exported = Counter::default();
        let dropped = Family::<Labels, Counter>::default();
        registry.register(
            "brink_trace_spans_exported",
            "Spans that the collector took",
            exported.clone(),
        );
        registry.register(
            "brink_trace_spans_dropped",
            "Spans that the collector never got",
            dropped.clone(),
        );
        let because = |reason| dropped.get_or_create_owned(&Labels { reason });
        Self {
            exported,
            queue_full: because("queue-full"),
            export_failed: because("export-failed"),
        }
    }

    pub(super) fn exported(&self, spans: usize) {
        self.exported.inc_by(spans as u64);
    }

    pub(super) fn queue_was_full(&self) {
        self.queue_full.inc();
    }

    pub(super) fn export_failed(&self, spans: usize) {
        self.export_failed.inc_by(spans as u64);
    }
}
