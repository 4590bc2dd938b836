//! Which sizes go together: the batch around an anchor, by padded cost.
//!
//! The batch is widened over the anchor's neighbours by size, always to the side that costs less
//! padding, while the limits hold. Of all batches on this way the one whose tokens cost least is
//! chosen: one more item saves a share of a run, and costs padding. Which items of a size come
//! along is decided elsewhere ([`super::sizes`]).

use std::iter::Peekable;

use super::sizes::Sizes;
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
    fn new(size: usize) -> Self {
        Self {
            items: 1,
            longest: size,
            real: size,
        }
    }

    /// The batch with one more item.
    fn with(self, size: usize) -> Self {
        Self {
            items: self.items + 1,
            longest: self.longest.max(size),
            real: self.real + size,
        }
    }

    fn padded(self) -> usize {
        self.items * self.longest
    }

    /// Tokens that are computed for nothing.
    fn padding(self) -> usize {
        self.padded() - self.real
    }

    /// What each real token costs, a padded token being 1.
    fn cost_per_token(self, run_cost: usize) -> f64 {
        (self.padded() + run_cost) as f64 / self.real as f64
    }

    /// Whether the batch may run.
    fn is_within(self, limits: &BatchLimits) -> bool {
        self.items <= limits.max_batch_items
            && self.padded() <= limits.max_batch_tokens
            && self.padded() as f64 <= self.real as f64 * limits.max_padding_ratio
    }
}

/// The sizes of the items to run with an anchor of this size, which is not among them.
pub(super) fn neighbours(sizes: &Sizes, anchor: usize, limits: &BatchLimits) -> Vec<usize> {
    let mut window = Window::new(anchor);
    let mut chosen = Vec::new();
    let (mut cheapest, mut least) = (0, window.cost_per_token(limits.run_cost));
    // The anchor is one of its size.
    let alike = sizes.count(anchor).saturating_sub(1);
    let mut shorter = one_by_one([(anchor, alike)].into_iter().chain(sizes.shorter(anchor)));
    let mut longer = one_by_one(sizes.longer(anchor));
    loop {
        let sides = [shorter.peek().copied(), longer.peek().copied()];
        let Some((side, wider)) = widen(window, sides, limits) else {
            break;
        };
        let taken = match side {
            Side::Shorter => shorter.next(),
            Side::Longer => longer.next(),
        };
        chosen.extend(taken);
        window = wider;
        let cost = window.cost_per_token(limits.run_cost);
        if cost <= least {
            (cheapest, least) = (chosen.len(), cost);
        }
    }
    chosen.truncate(cheapest);
    chosen
}

/// Where a batch grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Shorter,
    Longer,
}

/// The batch with its next shorter or its next longer neighbour, whichever costs less padding.
/// `None` if neither is within the limits.
fn widen(
    window: Window,
    [shorter, longer]: [Option<usize>; 2],
    limits: &BatchLimits,
) -> Option<(Side, Window)> {
    let widened = |side, size: Option<usize>| {
        let wider = window.with(size?);
        wider.is_within(limits).then_some((side, wider))
    };
    let sides = [
        widened(Side::Shorter, shorter),
        widened(Side::Longer, longer),
    ];
    let within = sides.into_iter().flatten();
    within.min_by_key(|(_, wider)| wider.padding())
}

fn one_by_one(
    groups: impl Iterator<Item = (usize, usize)>,
) -> Peekable<impl Iterator<Item = usize>> {
    groups
        .flat_map(|(size, items)| std::iter::repeat_n(size, items))
        .peekable()
}
