//! How much waits: what the queue's bounds are measured in.

use std::ops::{Add, AddAssign, SubAssign};

/// Items that wait, and what they weigh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// How many.
    pub items: usize,
    /// What they cost to run, in the units of [`Payload::size`](crate::inference::Payload::size).
    pub tokens: usize,
    /// What they hold in memory.
    pub bytes: usize,
}

impl Load {
    /// Whether no part is above that of the bound.
    pub fn is_within(self, bound: Self) -> bool {
        self.items <= bound.items && self.tokens <= bound.tokens && self.bytes <= bound.bytes
    }

    /// The lesser of each part.
    pub fn at_most(self, most: Self) -> Self {
        Self {
            items: self.items.min(most.items),
            tokens: self.tokens.min(most.tokens),
            bytes: self.bytes.min(most.bytes),
        }
    }

    /// The greater of each part.
    pub fn at_least(self, least: Self) -> Self {
        Self {
            items: self.items.max(least.items),
            tokens: self.tokens.max(least.tokens),
            bytes: self.bytes.max(least.bytes),
        }
    }

    /// By how much this is above a bound, as a part of itself: so much of it must leave.
    pub fn excess(self, bound: Self) -> f64 {
        let part = |own: usize, bound: usize| own.saturating_sub(bound) as f64 / own.max(1) as f64;
        part(self.items, bound.items)
            .max(part(self.tokens, bound.tokens))
            .max(part(self.bytes, bound.bytes))
    }

    /// So much of each part, rounded up, so that no share is nothing.
    pub fn share(self, share: f64) -> Self {
        let part = |whole: usize| (whole as f64 * share).ceil() as usize;
        Self {
            items: part(self.items),
            tokens: part(self.tokens),
            bytes: part(self.bytes),
        }
    }
}

impl Add for Load {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            items: self.items + other.items,
            tokens: self.tokens.saturating_add(other.tokens),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

impl AddAssign for Load {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Load {
    fn sub_assign(&mut self, other: Self) {
        self.items -= other.items;
        self.tokens -= other.tokens;
        self.bytes -= other.bytes;
    }
}
