//! `brink_cache_items_total`: what happened to each item, at the edge and at the host.

use std::sync::Arc;

use brink_cache::Outcome;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Where a result was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tier {
    /// The component's key-value store.
    Edge,
    /// The host's result store.
    Host,
}

impl Tier {
    fn name(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Host => "host",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    tier: &'static str,
    outcome: &'static str,
}

/// The counters of all tiers: one family, because they are one question.
///
/// Every counter is there from the start: a series that begins at one hides its first item from
/// `rate`, and a hit does not have to look its counter up.
#[derive(Clone, Debug)]
pub struct CacheItems(Arc<[[Counter; Outcome::ALL.len()]; 2]>);

impl CacheItems {
    /// Registers the family.
    pub fn register(registry: &mut Registry) -> Self {
        let family = Family::<Labels, Counter>::default();
        registry.register(
            "brink_cache_items",
            "Items of requests, by tier and by what happened to them",
            family.clone(),
        );
        let counters = [Tier::Edge, Tier::Host].map(|tier| {
            Outcome::ALL.map(|outcome| {
                let labels = Labels {
                    tier: tier.name(),
                    outcome: outcome.name(),
                };
                family.get_or_create_owned(&labels)
            })
        });
        Self(Arc::new(counters))
    }

    /// Counts some items.
    pub fn count(&self, tier: Tier, outcome: Outcome, items: u64) {
        self.0[tier as usize][outcome as usize].inc_by(items);
    }
}
