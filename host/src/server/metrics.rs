//! What is measured about requests.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use brink_cache::{Outcome, OutcomeCounts};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::route::Route;
use crate::results::{CacheItems, Tier};

/// Upper bounds of the duration histogram, in seconds: from a hit (tenths of a millisecond)
/// to a request that waited for its deadline.
const SECONDS: [f64; 16] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5,
    1.0, 5.0, 30.0,
];

/// How a request's items were come by, which divides its durations: a hit takes a hundredth of a miss, so one
/// distribution of both says nothing about either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cache {
    /// All items were stored.
    Hit,
    /// One or more were not.
    Miss,
    /// It had no items, or they are not told.
    None,
}

impl Cache {
    const ALL: [Self; 3] = [Self::Hit, Self::Miss, Self::None];

    pub(super) fn of(counts: Option<&OutcomeCounts>) -> Self {
        match counts {
            None => Self::None,
            Some(counts) if counts.total() == 0 => Self::None,
            Some(counts) if counts.get(Outcome::Hit) == counts.total() => Self::Hit,
            Some(_) => Self::Miss,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::None => "none",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DurationLabels {
    route: &'static str,
    cache: &'static str,
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
    /// By [`Cache`]; made by the first request, because most routes have one or two of them.
    durations: [OnceLock<Durations>; Cache::ALL.len()],
}

/// A request that was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    pub(super) route: Route,
    pub(super) cache: Cache,
    pub(super) status: u16,
    pub(super) elapsed: Duration,
}

/// Counts and durations of requests; cheap to clone.
#[derive(Clone)]
pub struct HttpMetrics {
    requests: Family<RequestLabels, Counter>,
    durations: Family<DurationLabels, Durations, fn() -> Durations>,
    /// What every hit needs, at its route's place in [`Route::ALL`], so that none looks it up.
    routes: Arc<[RouteMetrics]>,
    items: CacheItems,
}

impl HttpMetrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry, items: CacheItems) -> Self {
        let requests = Family::<RequestLabels, Counter>::default();
        let durations = Family::<DurationLabels, Durations, _>::new_with_constructor(
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
                durations: Default::default(),
            }
        });
        Self {
            requests,
            durations,
            routes: Arc::new(routes),
            items,
        }
    }

    /// Counts one answer.
    pub(super) fn record(&self, answered: Answered, exemplar: Option<Exemplar>) {
        let Answered { route, status, .. } = answered;
        let metrics = &self.routes[route as usize];
        let seconds = answered.elapsed.as_secs_f64();
        self.durations_of(answered).observe(seconds, exemplar, None);
        if status == 200 {
            metrics.succeeded.inc();
        } else {
            let route = route.label();
            let labels = RequestLabels { route, status };
            self.requests.get_or_create(&labels).inc();
        }
    }

    /// One request, so that every metric has a series.
    #[cfg(test)]
    pub(crate) fn record_any(&self) {
        let answered = Answered {
            route: Route::Other,
            cache: Cache::None,
            status: 404,
            elapsed: Duration::ZERO,
        };
        self.record(answered, None);
    }

    fn durations_of(&self, answered: Answered) -> &Durations {
        let Answered { route, cache, .. } = answered;
        self.routes[route as usize].durations[cache as usize].get_or_init(|| {
            self.durations.get_or_create_owned(&DurationLabels {
                route: route.label(),
                cache: cache.label(),
            })
        })
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
    fn a_request_is_a_hit_if_all_of_it_was_stored() {
        let check = |outcomes: &[Outcome], cache: Cache| {
            let counts = outcomes.iter().copied().collect();
            assert_eq!(Cache::of(Some(&counts)), cache, "{outcomes:?}");
        };
        check(&[Outcome::Hit, Outcome::Hit], Cache::Hit);
        check(&[Outcome::Hit, Outcome::Collapsed], Cache::Miss);
        check(&[Outcome::Bypass], Cache::Miss);
        check(&[], Cache::None);
        assert_eq!(Cache::of(None), Cache::None);
    }

    #[test]
    fn the_kept_counters_are_those_that_are_shown() {
        let mut registry = Registry::default();
        let items = CacheItems::register(&mut registry);
        let metrics = HttpMetrics::register(&mut registry, items);
        let traced = Exemplar {
            trace_id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
        };
        let answered = Answered {
            route: Route::Embeddings,
            cache: Cache::Hit,
            status: 200,
            elapsed: Duration::from_millis(2),
        };
        metrics.record(answered, Some(traced));
        let (status, cache) = (404, Cache::None);
        metrics.record(
            Answered {
                status,
                cache,
                ..answered
            },
            None,
        );
        metrics.record_edge_items(&OutcomeCounts::from_iter([brink_cache::Outcome::Hit]));
        let mut shown = String::new();
        prometheus_client::encoding::text::encode(&mut shown, &registry).unwrap();
        for line in [
            r#"brink_requests_total{route="/v1/embeddings",status="200"} 1"#,
            r#"brink_requests_total{route="/v1/embeddings",status="404"} 1"#,
            r#"brink_requests_total{route="/v1/models",status="200"} 0"#,
            r#"brink_request_duration_seconds_count{route="/v1/embeddings",cache="hit"} 1"#,
            r#"brink_request_duration_seconds_count{route="/v1/embeddings",cache="none"} 1"#,
            r#"brink_request_duration_seconds_bucket{le="0.0025",route="/v1/embeddings",cache="hit"} 1 # {trace_id="0af7651916cd43dd8448eb211c80319c"} 0.002"#,
            r#"brink_cache_items_total{tier="edge",outcome="hit"} 1"#,
            r#"brink_cache_items_total{tier="host",outcome="hit"} 0"#,
        ] {
            assert!(shown.contains(line), "{line} is missing in\n{shown}");
        }
    }
}
