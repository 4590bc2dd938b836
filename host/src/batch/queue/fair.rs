//! Whose turn it is: start-time fair queueing between tenants.
//!
//! Each tenant has a **time**: the padded tokens computed for it. The one with the least time is
//! next, of equals the one with the fewest items waiting, of those the one that began to wait
//! first. **Now** is the least time of all who wait. A tenant that had nothing waiting starts at
//! now: being idle earns no credit, and what it had computed before is not forgiven.
//!
//! So a tenant's single item is ahead of everything that a tenant with more items has waiting,
//! and of k tenants that come with one item each, the last is served k batches later at most.
//!
//! Items also run as neighbours of another tenant's item, because they fill a batch. That counts
//! for their tenant's time, but only up to [`LEAD`] batches: beyond it they used what nobody else
//! could, and their tenant is not put back further for it.
//!
//! Every operation takes time logarithmic in the number of tenants and items.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::Rank;
use super::load::Load;

/// Batches by which a tenant's time may be ahead of now.
const LEAD: u64 = 4;
/// Most tenants that are remembered with nothing waiting, because they are ahead of now. Some 100
/// bytes each. Beyond it those who are least ahead are forgotten: they gain least.
const MAX_IDLE: usize = 16_384;

/// Tenants that are looked at one by one to see what is ahead of a call: some microseconds.
const MAX_COUNTED: usize = 256;
/// Values of urgency (RFC 9218).
const URGENCIES: usize = 8;

/// Names a tenant for as long as it is known. Rises with time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TenantId(u64);

/// The tenants that wait, and those ahead of now.
#[derive(Debug)]
pub(super) struct Tenants {
    /// Padded tokens of a full batch, in which the lead is counted.
    batch_tokens: u64,
    now: u64,
    next_id: u64,
    names: HashMap<Arc<str>, TenantId>,
    known: BTreeMap<TenantId, Tenant>,
    /// Those with something waiting: time, items waiting, name.
    turns: BTreeSet<(u64, usize, TenantId)>,
    /// Those with nothing waiting who are ahead of now, by their time.
    idle: BTreeSet<(u64, TenantId)>,
}

#[derive(Debug)]
struct Tenant {
    name: Arc<str>,
    time: u64,
    load: Load,
    /// The load by urgency.
    by_urgency: [Load; URGENCIES],
    /// What waits, in the order in which the tenant wants it.
    waiting: BTreeSet<Rank>,
}

impl Tenants {
    pub(super) fn new(batch_tokens: usize) -> Self {
        Self {
            batch_tokens: batch_tokens as u64,
            now: 0,
            next_id: 0,
            names: HashMap::new(),
            known: BTreeMap::new(),
            turns: BTreeSet::new(),
            idle: BTreeSet::new(),
        }
    }

    /// What a tenant has waiting.
    pub(super) fn load(&self, name: &str) -> Load {
        let id = self.names.get(name);
        id.map_or(Load::default(), |id| self.known[id].load)
    }

    /// Tenants beside this one that have something waiting.
    pub(super) fn waiting_beside(&self, name: &str) -> usize {
        self.turns.len() - usize::from(self.load(name).items > 0)
    }

    /// What is taken before new items of a tenant, see [`Queue::ahead`](super::Queue::ahead).
    pub(super) fn ahead(&self, name: &str, urgency: u8, more: Load) -> Load {
        let id = self.names.get(name);
        let tenant = id.map(|id| &self.known[id]);
        let own = tenant.map_or(Load::default(), |tenant| tenant.no_less_urgent(urgency));
        let time = match tenant {
            Some(tenant) if tenant.load.items > 0 => tenant.time,
            Some(tenant) => tenant.time.max(self.start()),
            None => self.start(),
        };
        let until = time + (own + more).tokens as u64;
        let others = self.turns.iter().take_while(|(time, ..)| *time < until);
        let others = others.filter(|(.., other)| Some(other) != id);
        let ahead = others.take(MAX_COUNTED).fold(own, |sum, (time, _, other)| {
            let load = self.known[other].load;
            let part = (until - time) as f64 / load.tokens.max(1) as f64;
            sum + load.share(part.min(1.0))
        });
        // Those who are not counted one by one are taken to be like the others.
        let scale = self.turns.len() as f64 / MAX_COUNTED as f64;
        ahead.share(scale.max(1.0))
    }

    /// The time at which a tenant begins that has nothing waiting.
    fn start(&self) -> u64 {
        let least = self.turns.first().map_or(0, |(time, ..)| *time);
        self.now.max(least)
    }

    pub(super) fn time(&self, id: TenantId) -> u64 {
        self.known[&id].time
    }

    /// The item to form the next batch around.
    pub(super) fn next(&self) -> Option<Rank> {
        let (_, _, id) = self.turns.first()?;
        self.known[id].waiting.first().copied()
    }

    /// A tenant's item begins to wait. Returns also the time that the tenant will have when it has
    /// been given all that it had waiting before.
    pub(super) fn enter(&mut self, name: &Arc<str>, rank: Rank, load: Load) -> (TenantId, u64) {
        let id = match self.names.get(name) {
            Some(id) => *id,
            None => self.add(name),
        };
        let now = self.start();
        let tenant = self.known.get_mut(&id).expect("every name has a tenant");
        if tenant.waiting.is_empty() {
            self.idle.remove(&(tenant.time, id));
            tenant.time = tenant.time.max(now);
        } else {
            self.turns.remove(&tenant.turn(id));
        }
        let turn = tenant.time.saturating_add(tenant.load.tokens as u64);
        tenant.load += load;
        tenant.by_urgency[level(rank.urgency)] += load;
        tenant.waiting.insert(rank);
        self.turns.insert(tenant.turn(id));
        (id, turn)
    }

    /// A tenant's item waits no more. `cost` is what is computed for it: nothing if it was
    /// abandoned or came too late.
    pub(super) fn leave(&mut self, id: TenantId, rank: Rank, load: Load, cost: usize) {
        let tenant = self.known.get_mut(&id).expect("who waits is known");
        self.turns.remove(&tenant.turn(id));
        tenant.waiting.remove(&rank);
        tenant.load -= load;
        tenant.by_urgency[level(rank.urgency)] -= load;
        if cost > 0 {
            let cost = cost as u64;
            let most = self.now + LEAD * self.batch_tokens.max(cost);
            tenant.time = tenant.time.max((tenant.time + cost).min(most));
        }
        if tenant.waiting.is_empty() {
            self.idle.insert((tenant.time, id));
            self.forget();
        } else {
            self.turns.insert(tenant.turn(id));
        }
    }

    /// A batch was taken that began with the tenant of this time.
    pub(super) fn advance(&mut self, start: u64) {
        self.now = self.start().max(start);
        self.forget();
    }

    /// Forgets everybody, for example because everything was taken out.
    pub(super) fn clear(&mut self) {
        *self = Self::new(usize::try_from(self.batch_tokens).unwrap_or(usize::MAX));
    }

    fn add(&mut self, name: &Arc<str>) -> TenantId {
        let id = TenantId(self.next_id);
        self.next_id += 1;
        self.names.insert(Arc::clone(name), id);
        let tenant = Tenant {
            name: Arc::clone(name),
            time: self.now,
            load: Load::default(),
            by_urgency: [Load::default(); URGENCIES],
            waiting: BTreeSet::new(),
        };
        self.known.insert(id, tenant);
        id
    }

    /// Forgets those whose time is now's, because they would start there anyway.
    fn forget(&mut self) {
        while let Some(&(time, id)) = self.idle.first() {
            if time > self.now && self.idle.len() <= MAX_IDLE {
                return;
            }
            self.idle.pop_first();
            if let Some(tenant) = self.known.remove(&id) {
                self.names.remove(&tenant.name);
            }
        }
    }
}

/// Beyond the least urgent there is nothing.
fn level(urgency: u8) -> usize {
    usize::from(urgency).min(URGENCIES - 1)
}

impl Tenant {
    fn no_less_urgent(&self, urgency: u8) -> Load {
        let levels = &self.by_urgency[..=level(urgency)];
        levels.iter().fold(Load::default(), |sum, load| sum + *load)
    }

    fn turn(&self, id: TenantId) -> (u64, usize, TenantId) {
        (self.time, self.load.items, id)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::super::Ticket;
    use super::*;

    const ONE: Load = Load {
        items: 1,
        tokens: 10,
        bytes: 40,
    };

    struct Bench {
        tenants: Tenants,
        deadline: Instant,
        next: u64,
        waiting: BTreeMap<u64, TenantId>,
    }

    fn bench() -> Bench {
        Bench {
            tenants: Tenants::new(100),
            deadline: Instant::now() + Duration::from_secs(1),
            next: 0,
            waiting: BTreeMap::new(),
        }
    }

    impl Bench {
        fn enter(&mut self, name: &str) -> u64 {
            let rank = self.rank(self.next);
            let (id, _) = self.tenants.enter(&name.into(), rank, ONE);
            self.waiting.insert(self.next, id);
            self.next += 1;
            self.next - 1
        }

        fn rank(&self, ticket: u64) -> Rank {
            Rank {
                urgency: 3,
                deadline: self.deadline,
                ticket: Ticket(ticket),
            }
        }

        /// Runs the next item alone, at a cost, and says which it was.
        fn run(&mut self, cost: usize) -> u64 {
            let ticket = self.tenants.next().expect("an item waits").ticket.0;
            let id = self.waiting[&ticket];
            let start = self.tenants.time(id);
            self.tenants.leave(id, self.rank(ticket), ONE, cost);
            self.tenants.advance(start);
            ticket
        }
    }

    #[test]
    fn tenants_take_turns_by_what_was_computed_for_them() {
        let mut bench = bench();
        let big: Vec<_> = (0..4).map(|_| bench.enter("big")).collect();
        let small: Vec<_> = (0..4).map(|_| bench.enter("small")).collect();
        assert_eq!(bench.run(20), big[0], "it began to wait first");
        let order: Vec<_> = (0..7)
            .map(|_| {
                let is_big = bench
                    .tenants
                    .next()
                    .is_some_and(|rank| rank.ticket.0 < small[0]);
                bench.run(if is_big { 20 } else { 10 })
            })
            .collect();
        let expected = [
            small[0], small[1], small[2], big[1], small[3], big[2], big[3],
        ];
        assert_eq!(order, expected);
    }

    #[test]
    fn being_idle_earns_no_credit_and_forgives_nothing() {
        let mut bench = bench();
        for _ in 0..20 {
            bench.enter("busy");
        }
        for _ in 0..10 {
            bench.run(10);
        }
        let late = [bench.enter("late"), bench.enter("late")];
        assert_eq!(bench.run(10), late[0]);
        assert_eq!(bench.run(10), 10, "one each, not ten for the late one");
        assert_eq!(bench.run(30), late[1]);
        let again = bench.enter("late");
        let order: Vec<_> = (0..3).map(|_| bench.run(10)).collect();
        assert_eq!(order, [11, 12, 13], "it has had more than its share");
        assert_eq!(bench.run(10), again);
    }

    #[test]
    fn those_who_are_not_ahead_are_forgotten() {
        let mut bench = bench();
        for name in 0..100 {
            bench.enter(&name.to_string());
        }
        for _ in 0..100 {
            bench.run(10);
        }
        assert_eq!(bench.tenants.idle.len(), 100, "all are ahead of the first");
        bench.enter("other");
        bench.run(10);
        bench.enter("other");
        bench.run(10);
        bench.enter("other");
        bench.run(10);
        assert_eq!(bench.tenants.names.len(), 1);
        assert_eq!(bench.tenants.known.len(), 1);
    }

    #[test]
    fn ahead_are_ones_own_and_as_much_of_others() {
        let mut bench = bench();
        for (name, items) in [("a", 10), ("b", 2), ("c", 10)] {
            for _ in 0..items {
                bench.enter(name);
            }
        }
        let items = |name, urgency| bench.tenants.ahead(name, urgency, ONE).items;
        assert_eq!(items("new", 3), 3, "one of each");
        assert_eq!(items("b", 3), 2 + 3 + 3);
        assert_eq!(items("b", 2), 2, "its own are less urgent");
        assert_eq!(items("a", 3), 10 + 2 + 10);
    }

    #[test]
    fn lead_is_bounded() {
        let mut bench = bench();
        for _ in 0..100 {
            bench.enter("big");
        }
        bench.enter("small");
        let rank = bench.rank(1);
        // Neighbours in batches of another tenant, again and again.
        for ticket in 1..100 {
            let id = bench.waiting[&ticket];
            bench.tenants.leave(id, bench.rank(ticket), ONE, 100);
        }
        let time = bench.tenants.time(bench.waiting[&rank.ticket.0]);
        assert_eq!(time, LEAD * 100);
    }
}
