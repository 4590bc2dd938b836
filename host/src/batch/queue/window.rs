//! Which sizes go together: the batch around an anchor, by padded cost.
//!
//! The batch is widened over the anchor's neighbours by size, always to the side that costs less
//! padding, while the limits hold. Of all batches on this way the one whose tokens cost least is
//! chosen: one more item saves a share of a run, and costs padding. Which items of a size come
//! along is decided elsewhere ([`super::sizes`]).

use std::iter::Peekable;

use super::sizes::Sizes;
use crate::batch::shape::Shape;

/// What a batch may be, this time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) max_items: usize,
    pub(super) max_padded: usize,
    pub(super) max_padding_ratio: f64,
    /// What a run costs by itself, in units.
    pub(super) run_cost: f64,
}

impl Terms {
    fn allow(&self, shape: Shape) -> bool {
        shape.items <= self.max_items
            && shape.padded() <= self.max_padded
            && shape.padded() as f64 <= shape.real as f64 * self.max_padding_ratio
    }

    /// What each real token costs, a padded token being 1.
    pub(super) fn cost_per_token(&self, shape: Shape) -> f64 {
        (shape.padded() as f64 + self.run_cost) / shape.real as f64
    }
}

/// A batch to be: its shape, and the sizes of the anchor's neighbours.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) shape: Shape,
    pub(super) neighbours: Vec<usize>,
}

/// The batch around an anchor of this size.
pub(super) fn plan(sizes: &Sizes, anchor: usize, terms: &Terms) -> Plan {
    let mut window = Shape::of(1, anchor);
    let mut chosen = Vec::new();
    let (mut shape, mut least) = (window, terms.cost_per_token(window));
    // The anchor is one of its size.
    let alike = sizes.count(anchor).saturating_sub(1);
    let mut shorter = one_by_one([(anchor, alike)].into_iter().chain(sizes.shorter(anchor)));
    let mut longer = one_by_one(sizes.longer(anchor));
    loop {
        let sides = [shorter.peek().copied(), longer.peek().copied()];
        let Some((side, wider)) = widen(window, sides, terms) else {
            break;
        };
        let taken = match side {
            Side::Shorter => shorter.next(),
            Side::Longer => longer.next(),
        };
        chosen.extend(taken);
        window = wider;
        let cost = terms.cost_per_token(window);
        if cost <= least {
            (shape, least) = (window, cost);
        }
    }
    chosen.truncate(shape.items - 1);
    Plan {
        shape,
        neighbours: chosen,
    }
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
    window: Shape,
    [shorter, longer]: [Option<usize>; 2],
    terms: &Terms,
) -> Option<(Side, Shape)> {
    let widened = |side, size: Option<usize>| {
        let wider = window.with(size?);
        terms.allow(wider).then_some((side, wider))
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
