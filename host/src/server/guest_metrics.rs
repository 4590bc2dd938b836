//! The state of component instances, read when metrics are.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::guest::{GuestHost, PoolStats};

/// Collects what the pools count anyway: nothing is counted twice, and nothing on the way of a
/// request.
pub struct GuestMetrics(pub GuestHost);

impl std::fmt::Debug for GuestMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GuestMetrics")
    }
}

type Reading = fn(&PoolStats) -> &AtomicU64;

/// Counters: name, help, and where the value is.
const COUNTERS: [(&str, &str, Reading); 8] = [
    (
        "brink_guest_requests",
        "Requests that got an instance",
        |stats| &stats.requests,
    ),
    (
        "brink_guest_refused",
        "Requests refused because all instances were busy",
        |stats| &stats.refused,
    ),
    (
        "brink_guest_timeouts",
        "Requests whose component sent no head in time",
        |stats| &stats.timed_out,
    ),
    ("brink_guest_traps", "Instances that trapped", |stats| {
        &stats.trapped
    }),
    ("brink_guest_instances_created", "Instances made", |stats| {
        &stats.created
    }),
    (
        "brink_guest_instances_discarded",
        "Instances dropped in the middle of a request",
        |stats| &stats.discarded,
    ),
    (
        "brink_guest_background_cut",
        "Work after a response that was cut off",
        |stats| &stats.background_cut,
    ),
    (
        "brink_fast_door_calls",
        "Calls that were begun for a component's synchronous door",
        |stats| &stats.door_calls,
    ),
];

/// What became of requests to a component with a synchronous door.
const DOOR_OUTCOMES: [(&str, Reading); 6] = [
    ("answered", |stats| &stats.door_answered),
    ("resumed", |stats| &stats.door_resumed),
    ("streamed", |stats| &stats.door_streamed),
    ("passed", |stats| &stats.door_passed),
    ("failed", |stats| &stats.door_failed),
    ("skipped", |stats| &stats.door_skipped),
];

/// States of an instance.
const STATES: [(&str, Reading); 3] = [
    ("busy", |stats| &stats.busy),
    ("idle", |stats| &stats.idle),
    ("background", |stats| &stats.background),
];

impl Collector for GuestMetrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        encode(&self.0.stats(), encoder)
    }
}

/// What `/metrics` shows with one component, without one that runs.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct OneComponent;

#[cfg(test)]
impl Collector for OneComponent {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        encode(&[("gateway".to_owned(), Arc::default())], encoder)
    }
}

type Components = [(String, Arc<PoolStats>)];

fn encode(all: &Components, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
    encode_counters(all, &mut encoder)?;
    encode_doors(all, &mut encoder)?;
    encode_calls(all, &mut encoder)?;
    encode_instances(all, &mut encoder)
}

fn encode_counters(
    all: &Components,
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), std::fmt::Error> {
    for (name, help, reading) in COUNTERS {
        let mut descriptor = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (component, stats) in all {
            let value = ConstCounter::new(reading(stats).load(Ordering::Relaxed));
            value.encode(descriptor.encode_family(&[("component", component.as_str())])?)?;
        }
    }
    Ok(())
}

fn encode_doors(
    all: &Components,
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), std::fmt::Error> {
    let help = "Requests that could be put to a component's synchronous door";
    let name = "brink_fast_door_requests";
    let mut descriptor = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (component, stats) in all {
        for (outcome, reading) in DOOR_OUTCOMES {
            let value = ConstCounter::new(reading(stats).load(Ordering::Relaxed));
            let labels = [("component", component.as_str()), ("outcome", outcome)];
            value.encode(descriptor.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn encode_calls(
    all: &Components,
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), std::fmt::Error> {
    let help = "Calls for a component's synchronous door that are under way";
    let name = "brink_fast_door_calls_in_flight";
    let mut descriptor = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (component, stats) in all {
        let count = stats.door_calling.load(Ordering::Relaxed);
        let value = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
        value.encode(descriptor.encode_family(&[("component", component.as_str())])?)?;
    }
    Ok(())
}

fn encode_instances(
    all: &Components,
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), std::fmt::Error> {
    let help = "Component instances; those in the background are busy too";
    let mut descriptor =
        encoder.encode_descriptor("brink_instances", help, None, MetricType::Gauge)?;
    for (component, stats) in all {
        for (state, reading) in STATES {
            let count = reading(stats).load(Ordering::Relaxed);
            let value = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
            let labels = [("component", component.as_str()), ("state", state)];
            value.encode(descriptor.encode_family(&labels)?)?;
        }
    }
    Ok(())
}
