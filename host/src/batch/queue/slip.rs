//! By how much items are answered later than was estimated when they were admitted.
//!
//! The estimate counts what is ahead of an item. But those that come after it overtake it when
//! they are better neighbours, above all of a long item, which has few. How much that matters
//! depends on what is asked for, so it is measured: the **slip** is a factor above which one in
//! fifty items were, of those that had to wait.

use std::time::Duration;

/// Of so many items one may be later than the slip says.
const ONE_IN: f64 = 50.0;
/// How far a batch whose items are all late moves the slip.
const STEP: f64 = 0.2;
/// No estimate is better than by a tenth. Above four, it says nothing.
const BOUNDS: (f64, f64) = (1.1, 4.0);

/// A running quantile of waits per estimate. It moves once for each batch, so that a large one
/// does not swing it to and fro.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slip {
    factor: f64,
    /// Of the items since it moved: how many there were, and how many were above.
    items: u32,
    above: u32,
}

impl Default for Slip {
    fn default() -> Self {
        Self {
            factor: 1.25,
            items: 0,
            above: 0,
        }
    }
}

impl Slip {
    /// Counts an item that waited so long, where so long was estimated.
    pub(super) fn add(&mut self, waited: Duration, estimated: Duration) {
        let ratio = waited.as_secs_f64() / estimated.as_secs_f64().max(1e-6);
        self.items += 1;
        self.above += u32::from(ratio > self.factor);
    }

    /// Draws the conclusion from the items of a batch.
    pub(super) fn conclude(&mut self) {
        if self.items > 0 {
            let above = f64::from(self.above) / f64::from(self.items);
            let step = (STEP * (above - 1.0 / ONE_IN)).exp();
            self.factor = (self.factor * step).clamp(BOUNDS.0, BOUNDS.1);
        }
        (self.items, self.above) = (0, 0);
    }

    /// By how much an estimate is to be multiplied.
    pub(super) fn factor(self) -> f64 {
        self.factor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factor_is_what_few_items_are_above() {
        let second = Duration::from_secs(1);
        let mut slip = Slip::default();
        // Waits are spread evenly from 0.5 to 2.5 times the estimate.
        for item in 0..5_000u32 {
            let wait = 0.5 + 2.0 * f64::from(item * 37 % 100) / 100.0;
            slip.add(second.mul_f64(wait), second);
            slip.conclude();
        }
        assert!((2.2..2.7).contains(&slip.factor()), "{slip:?}");
        for _ in 0..1_000 {
            slip.add(second, second);
            slip.conclude();
        }
        assert!(slip.factor() < 1.2, "{slip:?}");
    }
}
