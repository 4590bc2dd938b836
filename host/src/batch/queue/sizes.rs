//! What waits, by size: where a batch finds its neighbours.
//!
//! Every item comes with a **turn**: the time that its tenant will have when it has been given
//! everything that it had waiting before. Items of one size are taken in the order of these turns.
//! A flood's turns lie ever further in the future, so it crowds nobody out. A turn belongs to the
//! tenant rather than to the item: it is used by what the tenant wants first of that size, and
//! whoever came with it gets that one's turn in exchange.

use std::collections::{BTreeMap, btree_map};
use std::ops::Bound::{Excluded, Unbounded};

use super::fair::TenantId;
use super::{Rank, Ticket};

/// Where an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) size: usize,
    pub(super) tenant: TenantId,
    pub(super) rank: Rank,
}

/// When an item of a size is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    size: usize,
    time: u64,
    /// The item that came with it, for telling equal ones apart.
    number: Ticket,
}

/// `None` is before all ranks, which makes the beginning of a lane easy to name.
type Lane = (usize, TenantId, Option<Rank>);

/// The items by their turns, and by lane: one for each size and tenant.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    counts: BTreeMap<usize, usize>,
    turns: BTreeMap<Turn, Place>,
    lanes: BTreeMap<Lane, Turn>,
}

impl Sizes {
    /// Adds an item whose turn comes at this time of its tenant.
    pub(super) fn insert(&mut self, place: Place, time: u64) {
        let turn = Turn {
            size: place.size,
            time,
            number: place.rank.ticket,
        };
        *self.counts.entry(place.size).or_default() += 1;
        self.turns.insert(turn, place);
        self.lanes.insert(place.lane(), turn);
    }

    /// Takes an item out, with the turn that it has now.
    pub(super) fn remove(&mut self, place: Place) {
        let Some(turn) = self.lanes.remove(&place.lane()) else {
            return;
        };
        self.turns.remove(&turn);
        if let btree_map::Entry::Occupied(mut count) = self.counts.entry(place.size) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    /// The item of a size that is next, if there is one.
    pub(super) fn next(&mut self, size: usize) -> Option<Place> {
        let first = Turn {
            size,
            time: 0,
            number: Ticket(0),
        };
        let (&turn, &came) = self.turns.range(first..).next()?;
        if turn.size != size {
            return None;
        }
        let lane = (size, came.tenant, None);
        let (&(.., rank), &own) = self.lanes.range(lane..).next()?;
        let wanted = Place {
            rank: rank?,
            ..came
        };
        if wanted != came {
            self.set(wanted, turn);
            self.set(came, own);
        }
        Some(wanted)
    }

    fn set(&mut self, place: Place, turn: Turn) {
        self.lanes.insert(place.lane(), turn);
        self.turns.insert(turn, place);
    }

    /// How many items there are of a size.
    pub(super) fn count(&self, size: usize) -> usize {
        self.counts.get(&size).copied().unwrap_or(0)
    }

    /// The shorter sizes and how many items they have, the longest first.
    pub(super) fn shorter(&self, size: usize) -> impl Iterator<Item = (usize, usize)> {
        let counts = self.counts.range(..size).rev();
        counts.map(|(size, count)| (*size, *count))
    }

    /// The longer sizes and how many items they have, the shortest first.
    pub(super) fn longer(&self, size: usize) -> impl Iterator<Item = (usize, usize)> {
        let counts = self.counts.range((Excluded(size), Unbounded));
        counts.map(|(size, count)| (*size, *count))
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Place {
    fn lane(&self) -> Lane {
        (self.size, self.tenant, Some(self.rank))
    }
}
