//! What a run costs, as measured: `run + per_unit * padded`, and how many items pay.
//!
//! Everything that is decided by time asks here: whether padding is worth a run less, whether an
//! item can still be answered, how long what waits will take. The model is fitted at warm-up
//! ([`fit`]) and by every run since. Pure: times come in.

use std::time::Duration;

use tokio::time::Instant;

use super::config::BatchLimits;
use super::queue::Load;
use super::shape::Shape;

mod caps;
mod drift;
mod fit;
mod line;

pub use fit::fit;

use caps::Caps;
use drift::Drift;
use line::Line;

/// A model's runs, as far as they are known.
#[derive(Clone, Debug)]
pub struct CostModel {
    line: Line,
    caps: Caps,
    drift: Drift,
    /// Most items and most padded units of a run.
    largest: (usize, usize),
}

impl CostModel {
    /// Nothing measured: the limits say what a run is taken to cost by itself.
    pub fn new(limits: &BatchLimits) -> Self {
        Self {
            line: Line::new(limits.run_cost as f64),
            caps: Caps::new(limits.max_batch_items),
            drift: Drift::default(),
            largest: (limits.max_batch_items, limits.max_batch_tokens),
        }
    }

    /// Counts a run that ended now.
    pub fn ran(&mut self, shape: Shape, took: Duration, now: Instant) {
        let seconds = took.as_secs_f64();
        if let Some(expected) = self.line.seconds(shape.padded()) {
            let padding = shape.padded() as f64 / shape.real.max(1) as f64;
            self.drift.add(seconds / expected.max(1e-9), padding, now);
        }
        self.line.add(shape.padded(), seconds);
        self.caps.add(shape.items, shape.longest, seconds);
    }

    /// Counts a probe: the least of several runs, before anything is served.
    pub(super) fn probed(&mut self, shape: Shape, took: Duration) {
        let seconds = took.as_secs_f64();
        self.line.add(shape.padded(), seconds);
        self.caps.believe(shape.items, shape.longest, seconds);
    }

    /// What a run costs by itself, in units: so much padding is worth one run less.
    pub fn run_cost(&self) -> f64 {
        self.line.ratio()
    }

    /// Seconds that a run takes by itself.
    pub fn run_seconds(&self) -> Option<f64> {
        Some(self.line.ratio() * self.line.per_unit()?)
    }

    /// Seconds of each padded unit. Not a [`Duration`], which knows no parts of a nanosecond.
    pub fn unit_seconds(&self) -> Option<f64> {
        self.line.per_unit()
    }

    /// How long a run of so many padded units takes these days. `None` while nothing was measured.
    pub fn time(&self, padded: usize) -> Option<Duration> {
        Some(duration(self.line.seconds(padded)? * self.drift.slowness))
    }

    /// The most padded units that can be run in some time; any number while nothing was measured.
    pub fn padded_within(&self, time: Duration) -> usize {
        match self.line.per_unit() {
            None => usize::MAX,
            Some(per_unit) => {
                let units = time.as_secs_f64() / (per_unit * self.drift.slowness);
                (units - self.line.ratio()).max(0.0) as usize
            }
        }
    }

    /// How long one session needs for what waits. `None` while nothing was measured.
    pub fn time_for(&self, load: Load) -> Option<Duration> {
        let padded = load.tokens as f64 * self.drift.padding;
        let average = load.tokens / load.items.max(1);
        let (items, units) = self.largest;
        let by_items = load.items as f64 / items.min(self.caps.cap(average)).max(1) as f64;
        let runs = by_items.max(padded / units.max(1) as f64);
        // A run holds whole items, so there are never more runs than those.
        let runs = runs.clamp(1.0, load.items.max(1) as f64);
        let seconds = self.line.per_unit()? * (runs * self.line.ratio() + padded);
        Some(duration(seconds * self.drift.slowness))
    }

    /// The most items that pay in a batch around an item of this size. Now and then more, to see
    /// whether that still holds.
    pub(super) fn max_items(&mut self, size: usize) -> usize {
        self.caps.next(size)
    }
}

/// Nothing is told to take longer, so that times can be added to each other and to a clock.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).map_or(LONGEST, |time| time.min(LONGEST))
}

#[cfg(test)]
mod tests;
