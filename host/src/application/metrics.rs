//! Everything that is measured, registered in one place: `/metrics` shows it, and `docs/metrics.md` explains it.

use prometheus_client::registry::Registry;

use crate::batch::BatchMetrics;
use crate::generate::GenerateMetrics;
use crate::live::LiveMetrics;
use crate::results::CacheItems;
use crate::server::HttpMetrics;
use crate::service::RepositoryMetrics;
use crate::telemetry::TraceMetrics;

/// The metrics of all parts, but for those of components, which are registered when there are any.
pub(super) struct Metrics {
    pub(super) items: CacheItems,
    pub(super) http: HttpMetrics,
    pub(super) batch: BatchMetrics,
    pub(super) generate: GenerateMetrics,
    pub(super) repository: RepositoryMetrics,
    pub(super) live: LiveMetrics,
    pub(super) traces: TraceMetrics,
}

impl Metrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let items = CacheItems::register(registry);
        Self {
            http: HttpMetrics::register(registry, items.clone()),
            batch: BatchMetrics::register(registry),
            generate: GenerateMetrics::register(registry),
            repository: RepositoryMetrics::register(registry),
            live: LiveMetrics::register(registry),
            traces: TraceMetrics::register(registry),
            items,
        }
    }
}
