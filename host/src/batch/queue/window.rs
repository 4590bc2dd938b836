//! What a batch would cost.

use crate::batch::config::BatchLimits;

/// The size of a batch that is being formed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    items: usize,
    longest: usize,
    real: usize,
}

impl Window {
    /// A batch of one item.
    pub(super) fn new(tokens: usize) -> Self {
        Self {
            items: 1,
            longest: tokens,
            real: tokens,
        }
    }

    /// The batch with one more item.
    pub(super) fn with(self, tokens: usize) -> Self {
        Self {
            items: self.items + 1,
            longest: self.longest.max(tokens),
            real: self.real + tokens,
        }
    }

    fn padded(self) -> usize {
        self.items * self.longest
    }

    /// Tokens that are computed for nothing.
    pub(super) fn padding(self) -> usize {
        self.padded() - self.real
    }

    /// What each real token costs, a padded token being 1.
    pub(super) fn cost_per_token(self, run_cost: usize) -> f64 {
        (self.padded() + run_cost) as f64 / self.real as f64
    }

    /// Whether the batch may run.
    pub(super) fn is_within(self, limits: &BatchLimits) -> bool {
        self.items <= limits.max_batch_items
            && self.padded() <= limits.max_batch_tokens
            && self.padded() as f64 <= self.real as f64 * limits.max_padding_ratio
    }
}
