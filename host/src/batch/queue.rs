//! The queue that forms batches. Pure: time comes in, no thread and no clock.
//!
//! [`Queue::take`] starts from the **anchor**: of the tenant that was given least, the item that
//! it wants first. The batch is then filled with the anchor's neighbours by size, of any tenant,
//! because padding decides what a run costs (see [`window`]); each tenant pays for its own items.
//!
//! What is promised:
//! - Between tenants: a single item of a tenant that was not given more than others is in the
//!   next batch, whatever they have waiting ([`fair`]). Neighbours of one size are taken by turns
//!   between tenants ([`sizes`]).
//! - Within a tenant: urgency first, then deadline, then age decides which item is the anchor, and
//!   which of one size comes along. A less urgent item of another size may come along before.
//! - Nothing is lost or runs twice, no batch is above a limit (but for a single item that is too
//!   large by itself), and every operation takes logarithmic time for each item.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time::Instant;

use super::config::BatchLimits;

mod fair;
mod load;
mod sizes;
mod window;

pub use load::Load;

use fair::Tenants;
use sizes::{Place, Sizes};

/// Names a waiting item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// An item's place among those of its tenant: the least is wanted first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    urgency: u8,
    deadline: Instant,
    ticket: Ticket,
}

/// Items waiting for a batch.
///
/// All maps hold the same items. Tickets rise with time, so the order of `entries` is age.
#[derive(Debug)]
pub struct Queue<T> {
    limits: BatchLimits,
    next_ticket: u64,
    load: Load,
    entries: BTreeMap<Ticket, Entry<T>>,
    by_deadline: BTreeSet<(Instant, Ticket)>,
    tenants: Tenants,
    sizes: Sizes,
}

#[derive(Debug)]
struct Entry<T> {
    item: T,
    place: Place,
    load: Load,
    arrived: Instant,
}

/// What the queue must know of an item.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'t> {
    /// Whose it is.
    pub tenant: &'t Arc<str>,
    /// How urgent it is among the tenant's items, as in RFC 9218: 0 the most, 7 the least.
    pub urgency: u8,
    /// What it costs to run, in the units of [`Payload::size`](crate::inference::Payload::size).
    pub size: usize,
    /// What it holds in memory.
    pub bytes: usize,
    /// Since when it waits.
    pub arrived: Instant,
    /// When its result is of no use any more.
    pub deadline: Instant,
}

/// What [`Queue::take`] found.
#[derive(Debug)]
pub struct Taken<T> {
    /// To be run together; empty if nothing is due.
    pub batch: Vec<T>,
    /// Too late to be run. Reported once.
    pub expired: Vec<T>,
}

impl<T> Taken<T> {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty() && self.expired.is_empty()
    }
}

/// A bound of the queue is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// Which one.
    pub bound: Bound,
    /// Items waiting, of those that the bound is for.
    pub waiting: usize,
}

/// What is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Everything that waits for the model.
    Model,
    /// What one tenant has waiting for it.
    Tenant,
}

impl<T> Queue<T> {
    /// An empty queue.
    pub fn new(limits: BatchLimits) -> Self {
        Self {
            limits,
            next_ticket: 0,
            load: Load::default(),
            entries: BTreeMap::new(),
            by_deadline: BTreeSet::new(),
            tenants: Tenants::new(limits.max_batch_tokens),
            sizes: Sizes::default(),
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What waits.
    pub fn load(&self) -> Load {
        self.load
    }

    /// Whether so much more of a tenant may wait.
    ///
    /// A call above the limits would be refused for ever, so who has nothing waiting may add
    /// anything: a tenant above its share while the queue has room, and anybody while it is empty.
    /// So there is never more than the limits and one call.
    pub fn check_room(&self, tenant: &str, more: Load) -> Result<(), Full> {
        let refused = |bound, waiting: Load| Full {
            bound,
            waiting: waiting.items,
        };
        let bound = self.limits.max_queue();
        if !self.is_empty() && !(self.load + more).is_within(bound) {
            return Err(refused(Bound::Model, self.load));
        }
        let own = self.tenants.load(tenant);
        let share = bound.share(self.limits.max_tenant_share);
        if own.items > 0 && !(own + more).is_within(share) {
            return Err(refused(Bound::Tenant, own));
        }
        Ok(())
    }

    /// Adds an item. The caller has asked [`Queue::check_room`] for all items of its call at once,
    /// since half a call is of no use to anybody.
    pub fn push(&mut self, item: T, claim: Claim<'_>) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let load = Load {
            items: 1,
            tokens: claim.size,
            bytes: claim.bytes,
        };
        let rank = Rank {
            urgency: claim.urgency,
            deadline: claim.deadline,
            ticket,
        };
        let (tenant, turn) = self.tenants.enter(claim.tenant, rank, load);
        let place = Place {
            size: claim.size,
            tenant,
            rank,
        };
        self.sizes.insert(place, turn);
        self.by_deadline.insert((claim.deadline, ticket));
        self.load += load;
        let entry = Entry {
            item,
            place,
            load,
            arrived: claim.arrived,
        };
        self.entries.insert(ticket, entry);
        ticket
    }

    /// Takes an item out, for example because nobody waits for it any more. `None` if it is in
    /// a batch already.
    pub fn remove(&mut self, ticket: Ticket) -> Option<T> {
        self.leave(ticket, 0)
    }

    /// The next batch, and the items whose deadline has passed.
    pub fn take(&mut self, now: Instant) -> Taken<T> {
        let expired = self.take_expired(now);
        let batch = if self.is_due(now) {
            self.take_batch()
        } else {
            Vec::new()
        };
        Taken { batch, expired }
    }

    /// Takes everything out.
    pub fn clear(&mut self) -> Vec<T> {
        self.by_deadline.clear();
        self.tenants.clear();
        self.sizes.clear();
        self.load = Load::default();
        let entries = std::mem::take(&mut self.entries);
        entries.into_values().map(|entry| entry.item).collect()
    }

    /// When [`Queue::take`] has something to say again if nothing is pushed: a batch is due or a
    /// deadline passes. `None` if nothing waits.
    pub fn next_deadline(&self) -> Option<Instant> {
        let (deadline, _) = self.by_deadline.first()?;
        let (_, oldest) = self.entries.first_key_value()?;
        Some((oldest.arrived + self.limits.max_queue_delay).min(*deadline))
    }

    /// From now on nothing waits for company.
    pub fn stop_waiting(&mut self) {
        self.limits.max_queue_delay = std::time::Duration::ZERO;
    }

    fn is_due(&self, now: Instant) -> bool {
        let full = self.load.items >= self.limits.max_batch_items
            || self.load.tokens >= self.limits.max_batch_tokens;
        let oldest = self.entries.first_key_value();
        full || oldest.is_some_and(|(_, entry)| entry.arrived + self.limits.max_queue_delay <= now)
    }

    fn take_expired(&mut self, now: Instant) -> Vec<T> {
        let mut expired = Vec::new();
        while let Some(&(deadline, ticket)) = self.by_deadline.first() {
            if deadline > now {
                break;
            }
            expired.extend(self.remove(ticket));
        }
        expired
    }

    fn take_batch(&mut self) -> Vec<T> {
        let Some(anchor) = self.tenants.next() else {
            return Vec::new();
        };
        let place = self.entries[&anchor.ticket].place;
        let start = self.tenants.time(place.tenant);
        let neighbours = window::neighbours(&self.sizes, place.size, &self.limits);
        // An item costs as much as the longest of its batch.
        let cost = neighbours
            .iter()
            .copied()
            .max()
            .unwrap_or(0)
            .max(place.size);
        let mut batch = Vec::with_capacity(neighbours.len() + 1);
        batch.extend(self.leave(anchor.ticket, cost));
        for size in neighbours {
            let next = self.sizes.next(size);
            batch.extend(next.and_then(|place| self.leave(place.rank.ticket, cost)));
        }
        self.tenants.advance(start);
        batch
    }

    /// Takes an item out, and charges its tenant for what is computed for it.
    fn leave(&mut self, ticket: Ticket, cost: usize) -> Option<T> {
        let entry = self.entries.remove(&ticket)?;
        let Place { tenant, rank, .. } = entry.place;
        self.sizes.remove(entry.place);
        self.tenants.leave(tenant, rank, entry.load, cost);
        self.by_deadline.remove(&(rank.deadline, ticket));
        self.load -= entry.load;
        Some(entry.item)
    }
}

#[cfg(test)]
mod tests;
