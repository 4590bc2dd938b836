//! How far runs are from what the line says, and how much of them is padding.
//!
//! The line learns what a model costs; this learns how the machine is doing. Both are moving
//! averages in which a run counts for more the longer it was the only one, so what was measured
//! before a pause is soon forgotten after it.

use std::time::Duration;

use tokio::time::Instant;

/// Least weight of the newest run: while runs follow each other, the last ten count.
const NEWEST: f64 = 0.1;
/// In so much time without a run, two thirds of what was known are forgotten.
const FORGOTTEN_IN: Duration = Duration::from_secs(2);
/// Bounds of one run's part: a run that took ten times as long was stopped by something.
const BOUNDS: (f64, f64) = (0.1, 10.0);

/// Moving averages over the last runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drift {
    /// Time taken per time expected.
    pub(super) slowness: f64,
    /// Padded units per real one.
    pub(super) padding: f64,
    last: Option<Instant>,
}

impl Default for Drift {
    fn default() -> Self {
        Self {
            slowness: 1.0,
            padding: 1.0,
            last: None,
        }
    }
}

impl Drift {
    /// Counts a run that ended now.
    pub(super) fn add(&mut self, slowness: f64, padding: f64, now: Instant) {
        let pause = self.last.map_or(FORGOTTEN_IN, |last| {
            now.saturating_duration_since(last).min(10 * FORGOTTEN_IN)
        });
        let forgotten = 1.0 - (-pause.as_secs_f64() / FORGOTTEN_IN.as_secs_f64()).exp();
        let weight = forgotten.max(NEWEST);
        self.slowness += weight * (slowness.clamp(BOUNDS.0, BOUNDS.1) - self.slowness);
        self.padding += weight * (padding.max(1.0) - self.padding);
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_before_a_pause_is_soon_forgotten() {
        let mut now = Instant::now();
        let mut drift = Drift::default();
        for _ in 0..100 {
            now += Duration::from_millis(50);
            drift.add(4.0, 1.5, now);
        }
        assert!(drift.slowness > 3.9 && drift.padding > 1.45);
        drift.add(1.0, 1.0, now + Duration::from_millis(50));
        assert!(drift.slowness > 3.5, "one run of many");
        drift.add(1.0, 1.0, now + Duration::from_secs(10));
        assert!(drift.slowness < 1.1 && drift.padding < 1.1);
    }
}
