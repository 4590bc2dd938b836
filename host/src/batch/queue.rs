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
use std::time::Duration;

use tokio::time::Instant;

use super::config::BatchLimits;
use super::cost::CostModel;
use super::shape::Shape;

mod fair;
mod load;
mod sizes;
mod slip;
mod window;

pub use load::Load;

use fair::Tenants;
use sizes::{Place, Sizes};
use slip::Slip;
use window::{Plan, Terms};

/// By how much a batch's tokens may become dearer because it is made smaller for one item in a
/// hurry. Where a run costs much by itself, saving one would cost many.
const MAX_DEARER: f64 = 1.25;

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
    costs: CostModel,
    next_ticket: u64,
    load: Load,
    entries: BTreeMap<Ticket, Entry<T>>,
    by_start: BTreeSet<(Instant, Ticket)>,
    tenants: Tenants,
    sizes: Sizes,
    slip: Slip,
}

#[derive(Debug)]
struct Entry<T> {
    item: T,
    place: Place,
    load: Load,
    arrived: Instant,
    start_by: Instant,
    expected: Option<Instant>,
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
    /// When its run must have begun. From then on it is too late.
    pub start_by: Instant,
    /// When it would be answered by the estimate, if there was one.
    pub expected: Option<Instant>,
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
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Full {
    /// Which one.
    pub bound: Bound,
    /// Items waiting, of those that the bound is for.
    pub waiting: usize,
    /// Which part of them and of what came must go before there is room.
    pub excess: f64,
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
    pub fn new(limits: BatchLimits, costs: CostModel) -> Self {
        Self {
            tenants: Tenants::new(limits.max_batch_tokens),
            limits,
            costs,
            next_ticket: 0,
            load: Load::default(),
            entries: BTreeMap::new(),
            by_start: BTreeSet::new(),
            sizes: Sizes::default(),
            slip: Slip::default(),
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

    /// What batches may be and what may wait.
    pub fn limits(&self) -> &BatchLimits {
        &self.limits
    }

    /// What runs cost.
    pub fn costs(&self) -> &CostModel {
        &self.costs
    }

    /// How long a batch will run. `None` while nothing was measured.
    pub fn time(&self, batch: Shape) -> Option<Duration> {
        self.costs.time(self.limits.run(batch).padded())
    }

    /// The run of a batch of this shape ended now.
    pub fn ran(&mut self, shape: Shape, took: Duration, now: Instant) {
        self.costs.ran(self.limits.run(shape), took, now);
    }

    /// By how much waits are longer than estimated: so much shorter must an estimate be than the
    /// time that is left.
    pub fn slip(&self) -> f64 {
        self.slip.factor()
    }

    /// Whether so much more of a tenant may wait.
    ///
    /// A call above the limits would be refused for ever, so who has nothing waiting may add
    /// anything: a tenant above its share while the queue has room, and anybody while it is empty.
    /// So there is never more than the limits and one call.
    pub fn check_room(&self, tenant: &str, more: Load) -> Result<(), Full> {
        let most = self.limits.max_queue();
        let own = self.tenants.load(tenant);
        let share = most.share(self.limits.max_tenant_share);
        let check = |bound, waiting: Load, most: Load| {
            if waiting.items == 0 || (waiting + more).is_within(most) {
                return Ok(());
            }
            Err(Full {
                bound,
                waiting: waiting.items,
                excess: (waiting + more).excess(most),
            })
        };
        check(Bound::Model, self.load, most)?;
        check(Bound::Tenant, own, share)
    }

    /// What is taken before a tenant's new items of this urgency, as fair queueing wants it: its own
    /// items that are no less urgent, and of each other tenant as much as brings it to where the
    /// new items will be.
    pub fn ahead(&self, tenant: &str, urgency: u8, more: Load) -> Load {
        let ahead = self.tenants.ahead(tenant, urgency, more);
        ahead.at_most(self.load)
    }

    /// Other tenants that have something waiting.
    pub fn tenants_beside(&self, tenant: &str) -> usize {
        self.tenants.waiting_beside(tenant)
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
        self.by_start.insert((claim.start_by, ticket));
        self.load += load;
        let entry = Entry {
            item,
            place,
            load,
            arrived: claim.arrived,
            start_by: claim.start_by,
            expected: claim.expected,
        };
        self.entries.insert(ticket, entry);
        ticket
    }

    /// Takes an item out, for example because nobody waits for it any more. `None` if it is in
    /// a batch already.
    pub fn remove(&mut self, ticket: Ticket) -> Option<T> {
        self.leave(ticket, 0).map(|entry| entry.item)
    }

    /// The next batch, and the items that are too late.
    pub fn take(&mut self, now: Instant) -> Taken<T> {
        let mut taken = Taken {
            batch: Vec::new(),
            expired: self.take_expired(now),
        };
        if self.is_due(now) {
            self.take_batch(now, &mut taken);
        }
        self.slip.conclude();
        taken
    }

    /// Takes everything out.
    pub fn clear(&mut self) -> Vec<T> {
        self.by_start.clear();
        self.tenants.clear();
        self.sizes.clear();
        self.load = Load::default();
        let entries = std::mem::take(&mut self.entries);
        entries.into_values().map(|entry| entry.item).collect()
    }

    /// When [`Queue::take`] has something to say again if nothing is pushed: a batch is due or a
    /// deadline passes. `None` if nothing waits.
    pub fn next_deadline(&self) -> Option<Instant> {
        let expiry = self.next_expiry()?;
        let (_, oldest) = self.entries.first_key_value()?;
        Some((oldest.arrived + self.limits.max_queue_delay).min(expiry))
    }

    /// When the next item is too late.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.by_start.first().map(|(start_by, _)| *start_by)
    }

    /// From now on nothing waits for company.
    pub fn stop_waiting(&mut self) {
        self.limits.max_queue_delay = Duration::ZERO;
    }

    /// Whether as much waits as the largest batch may hold.
    pub fn holds_full_batch(&self) -> bool {
        self.load.items >= self.limits.max_batch_items
            || self.load.tokens >= self.limits.max_batch_tokens
    }

    fn is_due(&self, now: Instant) -> bool {
        let full = self.holds_full_batch();
        let oldest = self.entries.first_key_value();
        full || oldest.is_some_and(|(_, entry)| entry.arrived + self.limits.max_queue_delay <= now)
    }

    /// The items that are too late.
    pub fn take_expired(&mut self, now: Instant) -> Vec<T> {
        let mut expired = Vec::new();
        while let Some(&(start_by, ticket)) = self.by_start.first() {
            if start_by > now {
                break;
            }
            let entry = self.leave(ticket, 0);
            expired.extend(entry.map(|entry| self.waited(entry, now)));
        }
        expired
    }

    /// Takes an anchor and its neighbours. An item whose deadline comes before the run ends would
    /// be computed for nobody: it is too late.
    fn take_batch(&mut self, now: Instant, taken: &mut Taken<T>) {
        while let Some(anchor) = self.tenants.next() {
            let place = self.entries[&anchor.ticket].place;
            let (terms, plan) = self.plan(place, now);
            let ends = now + self.time(plan.shape).unwrap_or_default();
            if anchor.deadline < ends && !plan.neighbours.is_empty() {
                let late = self.leave(anchor.ticket, 0);
                taken
                    .expired
                    .extend(late.map(|entry| self.waited(entry, ends)));
                continue;
            }
            let start = self.tenants.time(place.tenant);
            // All items of a run are padded alike, and the run's own cost is everybody's.
            let own = (terms.run_cost / plan.shape.items as f64) as usize;
            let cost = plan.shape.longest + own;
            let anchor = self.leave(anchor.ticket, cost);
            taken
                .batch
                .extend(anchor.map(|entry| self.waited(entry, ends)));
            self.take_neighbours(&plan.neighbours, (cost, ends), taken);
            self.tenants.advance(start);
            return;
        }
    }

    fn take_neighbours(
        &mut self,
        sizes: &[usize],
        (cost, ends): (usize, Instant),
        taken: &mut Taken<T>,
    ) {
        for size in sizes {
            let Some(Place { rank, .. }) = self.sizes.next(*size) else {
                continue;
            };
            let is_late = rank.deadline < ends;
            let Some(entry) = self.leave(rank.ticket, if is_late { 0 } else { cost }) else {
                continue;
            };
            let item = self.waited(entry, ends);
            if is_late {
                taken.expired.push(item);
            } else {
                taken.batch.push(item);
            }
        }
    }

    /// The batch around an anchor. It is made smaller for the anchor's deadline, if that does not
    /// make the others' tokens much dearer.
    fn plan(&mut self, anchor: Place, now: Instant) -> (Terms, Plan) {
        let limits = &self.limits;
        // Where shapes are fixed, fewer items cost as much.
        let pays = match limits.buckets {
            Some(_) => limits.max_batch_items,
            None => self.costs.max_items(anchor.size),
        };
        let terms = Terms {
            max_items: limits.max_batch_items.min(pays),
            max_padded: limits.max_batch_tokens,
            max_padding_ratio: limits.max_padding_ratio,
            run_cost: self.costs.run_cost(),
        };
        let plan = window::plan(&self.sizes, anchor.size, &terms);
        let left = anchor.rank.deadline.saturating_duration_since(now);
        let in_time = self.costs.padded_within(left);
        if plan.shape.padded() <= in_time {
            return (terms, plan);
        }
        let hurried = Terms {
            max_padded: in_time,
            ..terms
        };
        let smaller = window::plan(&self.sizes, anchor.size, &hurried);
        let dearer = terms.cost_per_token(smaller.shape) / terms.cost_per_token(plan.shape);
        if dearer <= MAX_DEARER {
            (hurried, smaller)
        } else {
            (terms, plan)
        }
    }

    /// Compares an item's wait until then with what was estimated.
    fn waited(&mut self, entry: Entry<T>, until: Instant) -> T {
        if let Some(expected) = entry.expected {
            let wait = |until: Instant| until.saturating_duration_since(entry.arrived);
            self.slip.add(wait(until), wait(expected));
        }
        entry.item
    }

    /// Takes an item out, and charges its tenant for what is computed for it.
    fn leave(&mut self, ticket: Ticket, cost: usize) -> Option<Entry<T>> {
        let entry = self.entries.remove(&ticket)?;
        let Place { tenant, rank, .. } = entry.place;
        self.sizes.remove(entry.place);
        self.tenants.leave(tenant, rank, entry.load, cost);
        self.by_start.remove(&(entry.start_by, ticket));
        self.load -= entry.load;
        Some(entry)
    }
}

#[cfg(test)]
mod tests;
