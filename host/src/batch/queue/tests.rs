//! The queue's promises, as properties.

use std::collections::HashSet;
use std::sync::LazyLock;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::batch::BatchConfig;

/// An item to be pushed.
#[derive(Clone, Copy, Debug)]
struct Draft {
    tenant: usize,
    urgency: u8,
    tokens: usize,
    /// Milliseconds to live.
    lives: u64,
}

#[derive(Clone, Debug)]
enum Step {
    Push(Draft),
    /// The item at this index of those pushed so far is abandoned.
    Abandon(usize),
    /// Time passes, in milliseconds, and a session asks for work.
    Take(u64),
}

prop_compose! {
    fn draft(lives: std::ops::Range<u64>)(
        tenant in 0usize..3,
        urgency in 2u8..5,
        tokens in prop_oneof![Just(50usize), 1usize..300],
        lives in lives,
    ) -> Draft {
        Draft { tenant, urgency, tokens, lives }
    }
}

fn steps(lives: std::ops::Range<u64>) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => draft(lives).prop_map(Step::Push),
        1 => any::<prop::sample::Index>().prop_map(|index| Step::Abandon(index.index(100))),
        2 => (0u64..50).prop_map(Step::Take),
    ];
    prop::collection::vec(step, 0..200)
}

prop_compose! {
    fn limits()(
        items in 1usize..20,
        tokens in 1usize..1000,
        ratio in 1.0f64..3.0,
        run_cost in 0usize..100,
        delay in 0u64..20,
        share in 0.1f64..1.0,
    ) -> BatchLimits {
        BatchLimits {
            max_batch_items: items,
            max_batch_tokens: tokens,
            max_padding_ratio: ratio,
            run_cost,
            max_queue_delay: Duration::from_millis(delay),
            max_queue_items: 50,
            max_queue_tokens: 5000,
            max_queue_bytes: 15_000,
            max_tenant_share: share,
            breaker: BatchConfig::default().breaker,
            buckets: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Item {
    number: usize,
    tenant: usize,
    urgency: u8,
    tokens: usize,
    deadline: Instant,
}

impl Item {
    fn rank(&self) -> (u8, Instant, usize) {
        (self.urgency, self.deadline, self.number)
    }
}

/// A queue beside the list of what must be in it.
struct Model {
    limits: BatchLimits,
    queue: Queue<Item>,
    tenants: Vec<Arc<str>>,
    tickets: Vec<Ticket>,
    waiting: Vec<Item>,
    left: HashSet<usize>,
    now: Instant,
}

/// Bytes of a token, as of token ids.
const BYTES: usize = 4;

impl Model {
    fn new(limits: BatchLimits, now: Instant) -> Self {
        Self {
            queue: new_queue(limits.clone()),
            limits,
            tenants: ["a", "b", "c", "new"].map(Arc::from).into(),
            tickets: Vec::new(),
            waiting: Vec::new(),
            left: HashSet::new(),
            now,
        }
    }

    fn load(&self, of: impl Fn(&Item) -> bool) -> Load {
        let items = self.waiting.iter().filter(|item| of(item));
        items.fold(Load::default(), |load, item| load + one(item.tokens))
    }

    fn push(&mut self, draft: Draft) {
        let Draft {
            tenant,
            urgency,
            tokens,
            lives,
        } = draft;
        let name = Arc::clone(&self.tenants[tenant]);
        if self.queue.check_room(&name, one(tokens)).is_err() {
            return;
        }
        let item = Item {
            number: self.tickets.len(),
            tenant,
            urgency,
            tokens,
            deadline: self.now + Duration::from_millis(lives),
        };
        let claim = Claim {
            tenant: &name,
            urgency,
            size: tokens,
            bytes: tokens * BYTES,
            arrived: self.now,
            deadline: item.deadline,
            start_by: item.deadline,
            expected: None,
        };
        let ticket = self.queue.push(item, claim);
        self.tickets.push(ticket);
        self.waiting.push(item);
    }

    fn abandon(&mut self, number: usize) {
        let Some(ticket) = self.tickets.get(number) else {
            return;
        };
        let removed = self.queue.remove(*ticket);
        let expected = self.waiting.iter().position(|item| item.number == number);
        assert_eq!(
            removed,
            expected.map(|position| self.waiting.remove(position))
        );
    }

    fn take(&mut self, passed: u64) -> Vec<Item> {
        self.now += Duration::from_millis(passed);
        let taken = self.queue.take(self.now);
        self.check_expired(&taken.expired);
        if taken.batch.is_empty() {
            assert!(self.waiting.is_empty() || self.queue.next_deadline() > Some(self.now));
        } else {
            self.check_batch(&taken.batch);
        }
        for item in taken.batch.iter().chain(&taken.expired) {
            assert!(self.left.insert(item.number), "{item:?} left twice");
        }
        self.waiting
            .retain(|item| !self.left.contains(&item.number));
        taken.batch
    }

    fn check_expired(&mut self, expired: &[Item]) {
        let now = self.now;
        let late = self.waiting.iter().filter(|item| item.deadline <= now);
        let mut late: Vec<_> = late.copied().collect();
        late.sort_by_key(|item| (item.deadline, item.number));
        assert_eq!(expired, late);
        self.waiting.retain(|item| item.deadline > now);
    }

    fn check_batch(&self, batch: &[Item]) {
        let longest = batch.iter().map(|item| item.tokens).max().unwrap_or(0);
        let real: usize = batch.iter().map(|item| item.tokens).sum();
        let padded = longest * batch.len();
        assert!(batch.len() <= self.limits.max_batch_items);
        assert!(padded as f64 <= real as f64 * self.limits.max_padding_ratio);
        assert!(padded <= self.limits.max_batch_tokens || batch.len() == 1);
        self.check_order(batch);
    }

    /// The anchor is what its tenant wants first, and of one size nothing comes along before what
    /// the tenant wants more.
    fn check_order(&self, batch: &[Item]) {
        let anchor = batch[0];
        for waiting in &self.waiting {
            let is_wanted_more = |item: &&Item| {
                waiting.tenant == item.tenant
                    && waiting.rank() < item.rank()
                    && !batch.contains(waiting)
            };
            assert!(!is_wanted_more(&&anchor));
            let overtaken = batch
                .iter()
                .filter(|item| item.tokens == waiting.tokens)
                .find(is_wanted_more);
            assert_eq!(overtaken, None, "before {waiting:?}");
        }
    }

    fn check_bounds(&self) {
        assert_eq!(self.queue.load(), self.load(|_| true));
        let bound = self.limits.max_queue();
        let one_call = |load: Load, bound| load.is_within(bound) || load.items <= 1;
        assert!(one_call(self.queue.load(), bound));
        for tenant in 0..3 {
            let own = self.load(|item| item.tenant == tenant);
            assert!(one_call(own, bound.share(self.limits.max_tenant_share)));
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Push(draft) => self.push(draft),
            Step::Abandon(number) => self.abandon(number),
            Step::Take(passed) => {
                self.take(passed);
            }
        }
        self.check_bounds();
    }
}

fn one(tokens: usize) -> Load {
    Load {
        items: 1,
        tokens,
        bytes: tokens * BYTES,
    }
}

proptest! {
    /// Whatever comes, waits and leaves: no batch is above a limit (but for a single item that is
    /// too large by itself), no bound of the queue is passed by more than one call, each tenant's
    /// order is kept, and every item leaves once: in a batch, expired, or abandoned.
    #[test]
    fn queue_keeps_its_promises(limits in limits(), steps in steps(1..500)) {
        let mut model = Model::new(limits, Instant::now());
        for step in steps {
            model.step(step);
        }
        model.queue.stop_waiting();
        while !model.queue.is_empty() {
            let before = model.queue.load().items;
            model.take(0);
            prop_assert!(model.queue.load().items < before, "a batch is due at once when nothing waits for company");
        }
        prop_assert!(model.waiting.is_empty(), "nothing is lost");
    }

    /// Whatever waits, and whatever happened before: a tenant that comes with one item has it in
    /// the next batch, unless others have one item waiting too. Then each of them may have one
    /// batch before.
    #[test]
    fn single_item_waits_for_single_items_alone(limits in limits(), steps in steps(100_000..100_001)) {
        let mut model = Model::new(limits, Instant::now());
        for step in steps {
            model.step(step);
        }
        model.queue.stop_waiting();
        let others = (0..3).filter(|tenant| model.load(|item| item.tenant == *tenant).items == 1).count();
        let number = model.tickets.len();
        let before = model.queue.limits.clone();
        model.queue.limits.max_queue_items = usize::MAX;
        model.queue.limits.max_queue_tokens = usize::MAX;
        model.queue.limits.max_queue_bytes = usize::MAX;
        model.push(Draft { tenant: 3, urgency: 7, tokens: 50, lives: 200_000 });
        model.queue.limits = BatchLimits { max_queue_delay: Duration::ZERO, ..before };
        let batches = (0..=others).map(|_| model.take(0));
        let numbers: Vec<_> = batches.flatten().map(|item| item.number).collect();
        prop_assert!(numbers.contains(&number), "{number} is not in {numbers:?}");
    }

    /// Of two tenants that both always have items of every size waiting, none gets more than the
    /// other by more than a few batches, whatever the sizes, and urgency does not help.
    #[test]
    fn tenants_with_much_to_do_get_the_same(
        sizes in prop::collection::vec((1usize..100, 1usize..100), 100),
        urgencies in (0u8..8, 0u8..8),
    ) {
        let limits = BatchLimits { max_queue_items: 1_000, max_queue_tokens: 1_000_000, max_tenant_share: 1.0, ..free_limits() };
        let mut model = Model::new(limits.clone(), Instant::now());
        for (left, right) in sizes {
            for (tenant, tokens, urgency) in [(0, left, urgencies.0), (1, right, urgencies.1)] {
                model.push(Draft { tenant, urgency, tokens, lives: 1_000 });
            }
        }
        let mut paid = [0usize; 2];
        let both_wait = |model: &Model| (0..2).all(|tenant| model.load(|item| item.tenant == tenant).items > 0);
        while both_wait(&model) {
            let batch = model.take(0);
            let longest = batch.iter().map(|item| item.tokens).max().unwrap_or(0);
            for item in batch {
                paid[item.tenant] += longest;
            }
            prop_assert!(paid[0].abs_diff(paid[1]) <= 5 * limits.max_batch_tokens, "{paid:?}");
        }
    }
}

fn new_queue<T>(limits: BatchLimits) -> Queue<T> {
    let costs = CostModel::new(&limits);
    Queue::new(limits, costs)
}

fn free_limits() -> BatchLimits {
    BatchLimits {
        max_batch_items: 8,
        max_batch_tokens: 1000,
        max_padding_ratio: 1.25,
        run_cost: 50,
        max_queue_delay: Duration::ZERO,
        max_queue_items: 100,
        max_queue_tokens: 10_000,
        max_queue_bytes: 40_000,
        max_tenant_share: 1.0,
        breaker: BatchConfig::default().breaker,
        buckets: None,
    }
}

/// An item of the tenant `a` that lives so many milliseconds.
fn claim(tokens: usize, now: Instant, lives: u64) -> Claim<'static> {
    static TENANT: LazyLock<Arc<str>> = LazyLock::new(|| "a".into());
    Claim {
        tenant: &TENANT,
        urgency: 3,
        size: tokens,
        bytes: tokens * BYTES,
        arrived: now,
        deadline: now + Duration::from_millis(lives),
        start_by: now + Duration::from_millis(lives),
        expected: None,
    }
}

#[test]
fn similar_lengths_run_together_around_the_most_urgent_item() {
    let now = Instant::now();
    let mut queue = new_queue(free_limits());
    for tokens in [10, 100, 11, 90, 12, 95] {
        queue.push(tokens, claim(tokens, now, 1_000));
    }
    queue.push(101, claim(101, now, 10));
    let batch = |queue: &mut Queue<usize>| {
        let mut batch = queue.take(now).batch;
        batch.sort_unstable();
        batch
    };
    assert_eq!(batch(&mut queue), [90, 95, 100, 101]);
    assert_eq!(batch(&mut queue), [10, 11, 12]);
    assert!(queue.is_empty());
}

#[test]
fn a_neighbour_comes_along_only_if_its_padding_costs_less_than_its_share_of_a_run() {
    let check = |run_cost, expected: usize| {
        let now = Instant::now();
        let mut queue = new_queue(BatchLimits {
            run_cost,
            ..free_limits()
        });
        for tokens in [20, 20, 24] {
            queue.push((), claim(tokens, now, 1_000));
        }
        let batch = queue.take(now).batch;
        assert_eq!(batch.len(), expected, "a run costs {run_cost} tokens");
    };
    // With the third: (72 + cost) / 64 a token. Without it: (40 + cost) / 40.
    check(0, 2);
    check(13, 2);
    check(14, 3);
}

#[test]
fn items_wait_for_company_only_as_long_as_the_setting_says() {
    let now = Instant::now();
    let mut queue = new_queue(BatchLimits {
        max_queue_delay: Duration::from_millis(5),
        ..free_limits()
    });
    queue.push(1, claim(10, now, 1_000));
    assert!(queue.take(now).batch.is_empty());
    assert_eq!(queue.next_deadline(), Some(now + Duration::from_millis(5)));
    queue.push(2, claim(10, now, 1_000));
    assert_eq!(queue.take(now + Duration::from_millis(5)).batch.len(), 2);

    for number in 0..8 {
        queue.push(number, claim(10, now, 1_000));
    }
    assert_eq!(queue.take(now).batch.len(), 8, "a full batch goes at once");
}

#[test]
fn neighbours_of_one_size_are_taken_by_turns_between_tenants() {
    let now = Instant::now();
    let mut queue = new_queue(free_limits());
    for (tenant, items) in [("flood", 40), ("b", 3), ("c", 3)] {
        for _ in 0..items {
            let tenant_claim = Claim {
                tenant: &tenant.into(),
                ..claim(10, now, 1_000)
            };
            queue.push(tenant, tenant_claim);
        }
    }
    let mut batch = queue.take(now).batch;
    batch.sort_unstable();
    let turns = ["b", "b", "b", "c", "c", "flood", "flood", "flood"];
    assert_eq!(batch, turns);
}

/// A queue that knows what runs cost: so many milliseconds, and one for each token.
fn queue_with_costs(run: u64) -> Queue<&'static str> {
    let limits = free_limits();
    let mut costs = CostModel::new(&limits);
    for size in [10, 100] {
        let time = Duration::from_millis(run + size as u64);
        costs.probed(Shape::of(1, size), time);
    }
    Queue::new(limits, costs)
}

#[test]
fn neighbours_that_would_be_late_are_not_run() {
    let now = Instant::now();
    let mut queue = queue_with_costs(0);
    queue.push("hurried", claim(10, now, 25));
    for _ in 0..3 {
        let urgent = Claim {
            urgency: 0,
            ..claim(10, now, 1_000)
        };
        queue.push("urgent", urgent);
    }
    let taken = queue.take(now);
    assert_eq!(taken.batch, ["urgent"; 3]);
    assert_eq!(
        taken.expired,
        ["hurried"],
        "the batch takes forty milliseconds"
    );
}

#[test]
fn batch_is_made_smaller_for_its_anchor_unless_that_is_dear() {
    let check = |run, lives, batch: &[&str], expired: &[&str]| {
        let now = Instant::now();
        let mut queue = queue_with_costs(run);
        for _ in 0..3 {
            queue.push("patient", claim(10, now, 1_000));
        }
        queue.push("hurried", claim(10, now, lives));
        let taken = queue.take(now);
        assert_eq!(taken.batch, batch, "a run costs {run} ms");
        assert_eq!(taken.expired, expired);
    };
    check(0, 25, &["hurried", "patient"], &[]);
    check(0, 45, &["hurried", "patient", "patient", "patient"], &[]);
    // Alone, its tokens would cost three times as much.
    check(100, 115, &["patient"; 3], &["hurried"]);
    check(100, 145, &["hurried", "patient", "patient", "patient"], &[]);
}

#[test]
fn only_who_has_nothing_waiting_may_add_more_than_the_limits() {
    let load = |items, tokens| Load {
        items,
        tokens,
        bytes: tokens * BYTES,
    };
    let now = Instant::now();
    let mut queue = new_queue(BatchLimits {
        max_tenant_share: 0.5,
        ..free_limits()
    });
    assert_eq!(queue.check_room("a", load(500, 100_000)), Ok(()));
    queue.push((), claim(10, now, 1_000));

    let full = |bound, waiting| Err((bound, waiting));
    let check = |queue: &Queue<()>, tenant, more| {
        let room = queue.check_room(tenant, more);
        room.map_err(|full| (full.bound, full.waiting))
    };
    assert_eq!(check(&queue, "a", load(49, 490)), Ok(()));
    assert_eq!(check(&queue, "a", load(50, 50)), full(Bound::Tenant, 1));
    assert_eq!(check(&queue, "a", load(1, 4_991)), full(Bound::Tenant, 1));
    assert_eq!(check(&queue, "b", load(99, 9_990)), Ok(()));
    assert_eq!(check(&queue, "b", load(100, 100)), full(Bound::Model, 1));
    let heavy = Load {
        bytes: 39_961,
        ..load(1, 1)
    };
    assert_eq!(check(&queue, "b", heavy), full(Bound::Model, 1));
}
