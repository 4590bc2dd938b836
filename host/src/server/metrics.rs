//! What is measured about requests.

use std::sync::Arc;
use std::time::Duration;

use brink_cache::OutcomeCounts;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::results::{CacheItems, Tier};

/// Upper bounds of the duration histogram, in seconds: from a hit (tenths of a millisecond)
/// to a request that waited for its deadline.
const SECONDS: [f64; 16] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5,
    1.0, 5.0, 30.0,
];

/// What a request is counted under: a small, fixed set, since clients choose paths and every label
/// value costs memory for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Embeddings,
    Classify,
    Infer,
    V2,
    Tei,
    Models,
    Model,
    HostInfer,
    HostCatalog,
    Other,
}

impl Route {
    const ALL: [Self; 10] = [
        Self::Embeddings,
        Self::Classify,
        Self::Infer,
        Self::V2,
        Self::Tei,
        Self::Models,
        Self::Model,
        Self::HostInfer,
        Self::HostCatalog,
        Self::Other,
    ];

    pub(super) fn of(path: &str) -> Self {
        match path {
            "/v1/embeddings" => Self::Embeddings,
            "/v1/classify" => Self::Classify,
            "/" | "/embed" | "/similarity" | "/predict" | "/tokenize" | "/info" => Self::Tei,
            _ if path.starts_with("/v2/models/") && path.ends_with("/infer") => Self::Infer,
            _ if path.starts_with("/v2") => Self::V2,
            "/v1/models" => Self::Models,
            _ if path.starts_with("/v1/models/") => Self::Model,
            brink_protocol::INFER_PATH => Self::HostInfer,
            brink_protocol::CATALOG_PATH => Self::HostCatalog,
            _ => Self::Other,
        }
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Embeddings => "/v1/embeddings",
            Self::Classify => "/v1/classify",
            Self::Infer => "/v2/models/{name}/infer",
            Self::V2 => "/v2",
            Self::Tei => "text-embeddings-inference",
            Self::Models => "/v1/models",
            Self::Model => "/v1/models/{id}",
            Self::HostInfer => brink_protocol::INFER_PATH,
            Self::HostCatalog => brink_protocol::CATALOG_PATH,
            Self::Other => "other",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: &'static str,
}

/// What an exemplar says: which trace shows a request that took so long.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Exemplar {
    pub(super) trace_id: String,
}

/// The newest recorded request of each bucket is its exemplar. Without one it costs what a plain histogram costs.
type Durations = HistogramWithExemplars<Exemplar>;

struct RouteMetrics {
    succeeded: Counter,
    durations: Durations,
}

/// Counts and durations of requests; cheap to clone.
#[derive(Clone)]
pub struct HttpMetrics {
    requests: Family<RequestLabels, Counter>,
    /// What every hit needs, at its route's place in [`Route::ALL`], so that none looks it up.
    routes: Arc<[RouteMetrics]>,
    items: CacheItems,
}

impl HttpMetrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry, items: CacheItems) -> Self {
        let requests = Family::<RequestLabels, Counter>::default();
        let durations = Family::<RouteLabel, Durations, _>::new_with_constructor(
            (|| Durations::new(SECONDS.into_iter())) as fn() -> Durations,
        );
        registry.register("brink_requests", "Requests answered", requests.clone());
        registry.register(
            "brink_request_duration_seconds",
            "From a request's head to its answer's head",
            durations.clone(),
        );
        let routes = Route::ALL.map(|route| {
            let route = route.label();
            RouteMetrics {
                succeeded: requests.get_or_create_owned(&RequestLabels { route, status: 200 }),
                durations: durations.get_or_create_owned(&RouteLabel { route }),
            }
        });
        Self {
            requests,
            routes: Arc::new(routes),
            items,
        }
    }

    /// Counts one answer.
    pub(super) fn record(
        &self,
        route: Route,
        status: u16,
        elapsed: Duration,
        exemplar: Option<Exemplar>,
    ) {
        let metrics = &self.routes[route as usize];
        let seconds = elapsed.as_secs_f64();
        metrics.durations.observe(seconds, exemplar, None);
        if status == 200 {
            metrics.succeeded.inc();
        } else {
            let route = route.label();
            let labels = RequestLabels { route, status };
            self.requests.get_or_create(&labels).inc();
        }
    }

    /// Counts what a component said about a request's items.
    pub fn record_edge_items(&self, counts: &OutcomeCounts) {
        for (outcome, count) in counts.iter() {
            self.items.count(Tier::Edge, outcome, count.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_counted_under_a_fixed_set() {
        assert_eq!(Route::of("/v1/models/a/b").label(), "/v1/models/{id}");
        assert_eq!(Route::of("/etc/passwd").label(), "other");
        for (place, route) in Route::ALL.into_iter().enumerate() {
            assert_eq!(route as usize, place);
        }
    }

    #[test]
    fn the_kept_counters_are_those_that_are_shown() {
        let mut registry = Registry::default();
        let items = CacheItems::register(&mut registry);
        let metrics = HttpMetrics::register(&mut registry, items);
        let traced = Exemplar {
            trace_id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
        };
        metrics.record(Route::Models, 200, Duration::from_millis(2), Some(traced));
        metrics.record(Route::Models, 404, Duration::from_millis(2), None);
        metrics.record_edge_items(&OutcomeCounts::from_iter([brink_cache::Outcome::Hit]));
        let mut shown = String::new();
        prometheus_client::encoding::text::encode(&mut shown, &registry).unwrap();
        for line in [
            r#"brink_requests_total{route="/v1/models",status="200"} 1"#,
            r#"brink_requests_total{route="/v1/models",status="404"} 1"#,
            r#"brink_request_duration_seconds_count{route="/v1/models"} 2"#,
            r#"brink_request_duration_seconds_bucket{le="0.0025",route="/v1/models"} 2 # {trace_id="0af7651916cd43dd8448eb211c80319c"} 0.002"#,
            r#"brink_cache_items_total{tier="edge",outcome="hit"} 1"#,
            r#"brink_cache_items_total{tier="host",outcome="hit"} 0"#,
        ] {
            assert!(shown.contains(line), "{line} is missing in\n{shown}");
        }
    }
}
