//! What is measured about requests.

use std::time::Duration;

use brink_cache::OutcomeCounts;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::results::{CacheItems, Tier};

/// Upper bounds of the duration histogram, in seconds: from a hit (tenths of a millisecond)
/// to a request that waited for its deadline.
const SECONDS: [f64; 16] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5,
    1.0, 5.0, 30.0,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: &'static str,
}

/// Counts and durations of requests; cheap to clone.
#[derive(Clone)]
pub struct HttpMetrics {
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabel, Histogram>,
    items: CacheItems,
}

impl HttpMetrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry, items: CacheItems) -> Self {
        let requests = Family::default();
        let durations =
            Family::new_with_constructor((|| Histogram::new(SECONDS)) as fn() -> Histogram);
        registry.register("brink_requests", "Requests answered", requests.clone());
        registry.register(
            "brink_request_duration_seconds",
            "From a request's head to its answer's head",
            durations.clone(),
        );
        Self {
            requests,
            durations,
            items,
        }
    }

    /// Counts one answer.
    pub fn record(&self, route: &'static str, status: u16, elapsed: Duration) {
        self.requests
            .get_or_create(&RequestLabels { route, status })
            .inc();
        self.durations
            .get_or_create(&RouteLabel { route })
            .observe(elapsed.as_secs_f64());
    }

    /// Counts what a component said about a request's items.
    pub fn record_edge_items(&self, counts: &OutcomeCounts) {
        for (outcome, count) in counts.iter() {
            self.items.count(Tier::Edge, outcome, count.into());
        }
    }
}
