//! What waits, by size: where a batch finds its neighbours.
//!
//! Items of one size form a group, in which every tenant has a lane. A batch says how many items
//! of a size it has room for, and gets them by turns: always from the lane whose tenant has the
//! least time, and there the item that its tenant wants first. So in a group one tenant's flood
//! crowds nobody out.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use super::Rank;
use super::fair::{TenantId, Tenants};

/// The groups that hold something.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    groups: BTreeMap<usize, Group>,
}

/// Where an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) size: usize,
    pub(super) tenant: TenantId,
    pub(super) rank: Rank,
}

#[derive(Debug, Default)]
struct Group {
    items: usize,
    lanes: BTreeMap<TenantId, Lane>,
    /// The lanes by their time. A tenant's time only rises, also through items of other sizes. So
    /// the times here are never too late, and the first is put right before it is used.
    turns: BTreeSet<(u64, TenantId)>,
}

#[derive(Debug, Default)]
struct Lane {
    time: u64,
    waiting: BTreeSet<Rank>,
}

impl Sizes {
    pub(super) fn insert(&mut self, place: Place, time: u64) {
        let group = self.groups.entry(place.size).or_default();
        group.items += 1;
        let lane = group.lanes.entry(place.tenant).or_default();
        if lane.waiting.is_empty() {
            lane.time = time;
            group.turns.insert((time, place.tenant));
        }
        lane.waiting.insert(place.rank);
    }

    pub(super) fn remove(&mut self, place: Place) {
        let Some(group) = self.groups.get_mut(&place.size) else {
            return;
        };
        let Some(lane) = group.lanes.get_mut(&place.tenant) else {
            return;
        };
        if !lane.waiting.remove(&place.rank) {
            return;
        }
        group.items -= 1;
        if lane.waiting.is_empty() {
            group.turns.remove(&(lane.time, place.tenant));
            group.lanes.remove(&place.tenant);
        }
        if group.items == 0 {
            self.groups.remove(&place.size);
        }
    }

    /// The item of a size that is next, if there is one.
    pub(super) fn next(&mut self, size: usize, tenants: &Tenants) -> Option<Place> {
        let group = self.groups.get_mut(&size)?;
        loop {
            let &(known, tenant) = group.turns.first()?;
            let time = tenants.time(tenant);
            let lane = group.lanes.get_mut(&tenant)?;
            if time == known {
                let rank = *lane.waiting.first()?;
                return Some(Place { size, tenant, rank });
            }
            group.turns.pop_first();
            lane.time = time;
            group.turns.insert((time, tenant));
        }
    }

    /// How many items there are of a size.
    pub(super) fn count(&self, size: usize) -> usize {
        self.groups.get(&size).map_or(0, |group| group.items)
    }

    /// The shorter sizes and how many items they have, the longest first.
    pub(super) fn shorter(&self, size: usize) -> impl Iterator<Item = (usize, usize)> {
        let groups = self.groups.range(..size).rev();
        groups.map(|(size, group)| (*size, group.items))
    }

    /// The longer sizes and how many items they have, the shortest first.
    pub(super) fn longer(&self, size: usize) -> impl Iterator<Item = (usize, usize)> {
        let groups = self.groups.range((Excluded(size), Unbounded));
        groups.map(|(size, group)| (*size, group.items))
    }

    pub(super) fn clear(&mut self) {
        self.groups.clear();
    }
}
