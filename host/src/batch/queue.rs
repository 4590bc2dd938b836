//! The queue that forms batches. Pure: time comes in, no thread and no clock.
//!
//! [`Queue::take`] starts from the **anchor**, the item whose deadline comes first (the oldest
//! of equals), and widens the batch over its neighbours by length, always to the side that costs
//! less padding, while the limits hold. Of all batches on this way it takes the one whose tokens
//! cost least: one more item saves a share of a run, and costs padding. The anchor is in every
//! batch, so nothing starves: an item waits for those with earlier deadlines and for nothing else.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::config::BatchLimits;

mod window;

use window::Window;

/// Names a waiting item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// Items waiting for a batch.
///
/// The three maps hold the same items. Tickets rise with time, so the order of `entries` is age.
#[derive(Debug)]
pub struct Queue<T> {
    limits: BatchLimits,
    next_ticket: u64,
    tokens: usize,
    entries: BTreeMap<Ticket, Entry<T>>,
    by_length: BTreeSet<(usize, Ticket)>,
    by_deadline: BTreeSet<(Instant, Ticket)>,
}

#[derive(Debug)]
struct Entry<T> {
    item: T,
    tokens: usize,
    arrived: Instant,
    deadline: Instant,
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

impl<T> Queue<T> {
    /// An empty queue.
    pub fn new(limits: BatchLimits) -> Self {
        Self {
            limits,
            next_ticket: 0,
            tokens: 0,
            entries: BTreeMap::new(),
            by_length: BTreeSet::new(),
            by_deadline: BTreeSet::new(),
        }
    }

    /// Items waiting.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Tokens waiting.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Whether so much more may wait. An empty queue takes anything: a call above the limits
    /// would otherwise be refused for ever.
    pub fn has_room(&self, items: usize, tokens: usize) -> bool {
        let within = self.len() + items <= self.limits.max_queue_items
            && self.tokens + tokens <= self.limits.max_queue_tokens;
        within || self.is_empty()
    }

    /// Adds an item of so many tokens. The caller has asked [`Queue::has_room`] for all items of
    /// its call at once, since half a call is of no use to anybody.
    pub fn push(&mut self, item: T, tokens: usize, now: Instant, deadline: Instant) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.tokens += tokens;
        self.by_length.insert((tokens, ticket));
        self.by_deadline.insert((deadline, ticket));
        self.entries.insert(
            ticket,
            Entry {
                item,
                tokens,
                arrived: now,
                deadline,
            },
        );
        ticket
    }

    /// Takes an item out, for example because nobody waits for it any more. `None` if it is in
    /// a batch already.
    pub fn remove(&mut self, ticket: Ticket) -> Option<T> {
        let entry = self.entries.remove(&ticket)?;
        self.by_length.remove(&(entry.tokens, ticket));
        self.by_deadline.remove(&(entry.deadline, ticket));
        self.tokens -= entry.tokens;
        Some(entry.item)
    }

    /// The next batch, and the items whose deadline has passed.
    pub fn take(&mut self, now: Instant) -> Taken<T> {
        let expired = self.take_expired(now);
        let anchor = self.by_deadline.first().filter(|_| self.is_due(now));
        let batch = match anchor {
            Some(&(_, anchor)) => self.take_around(anchor),
            None => Vec::new(),
        };
        Taken { batch, expired }
    }

    /// Takes everything out.
    pub fn clear(&mut self) -> Vec<T> {
        self.by_length.clear();
        self.by_deadline.clear();
        self.tokens = 0;
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
        let full = self.len() >= self.limits.max_batch_items
            || self.tokens >= self.limits.max_batch_tokens;
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

    fn take_around(&mut self, anchor: Ticket) -> Vec<T> {
        let tickets = self.cheapest_around(anchor);
        tickets
            .into_iter()
            .filter_map(|ticket| self.remove(ticket))
            .collect()
    }

    fn cheapest_around(&self, anchor: Ticket) -> Vec<Ticket> {
        let tokens = self.entries[&anchor].tokens;
        let mut window = Window::new(tokens);
        let mut tickets = vec![anchor];
        let cost = |window: Window| window.cost_per_token(self.limits.run_cost);
        let (mut cheapest, mut least) = (1, cost(window));
        let mut shorter = self.by_length.range(..(tokens, anchor)).rev().peekable();
        let mut longer = self
            .by_length
            .range((tokens, Ticket(anchor.0 + 1))..)
            .peekable();
        while let Some((side, wider)) = self.widen(window, shorter.peek(), longer.peek()) {
            let taken = match side {
                Side::Shorter => shorter.next(),
                Side::Longer => longer.next(),
            };
            tickets.extend(taken.map(|(_, ticket)| *ticket));
            window = wider;
            if cost(window) <= least {
                (cheapest, least) = (tickets.len(), cost(window));
            }
        }
        tickets.truncate(cheapest);
        tickets
    }

    /// The batch with its next shorter or its next longer neighbour, whichever costs less padding.
    /// `None` if neither is within the limits.
    fn widen(
        &self,
        window: Window,
        shorter: Option<&&(usize, Ticket)>,
        longer: Option<&&(usize, Ticket)>,
    ) -> Option<(Side, Window)> {
        let widened = |side, next: Option<&&(usize, Ticket)>| {
            let wider = window.with(next?.0);
            wider.is_within(&self.limits).then_some((side, wider))
        };
        let sides = [
            widened(Side::Shorter, shorter),
            widened(Side::Longer, longer),
        ];
        sides
            .into_iter()
            .flatten()
            .min_by_key(|(_, wider)| wider.padding())
    }
}

/// Where a batch grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Shorter,
    Longer,
}

#[cfg(test)]
mod tests;
