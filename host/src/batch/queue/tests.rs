//! The queue's promises, as properties.

use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// An item of so many tokens, with so many milliseconds to live.
    Push(usize, u64),
    /// The item at this index of those pushed so far is abandoned.
    Abandon(usize),
    /// Time passes, in milliseconds, and a session asks for work.
    Take(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1usize..300, 1u64..500).prop_map(|(tokens, lives)| Step::Push(tokens, lives)),
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
    ) -> BatchLimits {
        BatchLimits {
            max_batch_items: items,
            max_batch_tokens: tokens,
            max_padding_ratio: ratio,
            run_cost,
            max_queue_delay: Duration::from_millis(delay),
            max_queue_items: 50,
            max_queue_tokens: 5000,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Item {
    number: usize,
    tokens: usize,
    arrived: Instant,
    deadline: Instant,
}

/// A queue beside the list of what must be in it.
struct Model {
    limits: BatchLimits,
    queue: Queue<Item>,
    tickets: Vec<Ticket>,
    waiting: Vec<Item>,
    left: HashSet<usize>,
    now: Instant,
}

impl Model {
    fn new(limits: BatchLimits, now: Instant) -> Self {
        Self {
            limits,
            queue: Queue::new(limits),
            tickets: Vec::new(),
            waiting: Vec::new(),
            left: HashSet::new(),
            now,
        }
    }

    fn push(&mut self, tokens: usize, lives: u64) {
        if !self.queue.has_room(1, tokens) {
            return;
        }
        let item = Item {
            number: self.tickets.len(),
            tokens,
            arrived: self.now,
            deadline: self.now + Duration::from_millis(lives),
        };
        let ticket = self.queue.push(item, tokens, self.now, item.deadline);
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

    fn take(&mut self, passed: u64) {
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
    }

    fn check_expired(&mut self, expired: &[Item]) {
        let now = self.now;
        let mut late: Vec<_> = self
            .waiting
            .iter()
            .filter(|item| item.deadline <= now)
            .copied()
            .collect();
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
        let anchor = self
            .waiting
            .iter()
            .min_by_key(|item| (item.deadline, item.number));
        assert!(batch.contains(anchor.expect("a batch comes from waiting items")));
    }
}

proptest! {
    /// Whatever comes, waits and leaves: no batch is above a limit (but for a single item that is
    /// too large by itself), each holds the item whose deadline comes first, and every item
    /// leaves once: in a batch, expired, or abandoned.
    #[test]
    fn queue_keeps_its_promises(limits in limits(), steps in steps()) {
        let mut model = Model::new(limits, Instant::now());
        for step in steps {
            match step {
                Step::Push(tokens, lives) => model.push(tokens, lives),
                Step::Abandon(number) => model.abandon(number),
                Step::Take(passed) => model.take(passed),
            }
            prop_assert_eq!(model.queue.len(), model.waiting.len());
            prop_assert!(model.queue.len() <= limits.max_queue_items);
            let tokens: usize = model.waiting.iter().map(|item| item.tokens).sum();
            prop_assert_eq!(model.queue.tokens(), tokens);
        }
        model.queue.stop_waiting();
        while !model.queue.is_empty() {
            let before = model.queue.len();
            model.take(0);
            prop_assert!(model.queue.len() < before, "a batch is due at once when nothing waits for company");
        }
        prop_assert!(model.waiting.is_empty(), "nothing is lost");
    }
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
    }
}

#[test]
fn similar_lengths_run_together_around_the_most_urgent_item() {
    let now = Instant::now();
    let mut queue = Queue::new(free_limits());
    for tokens in [10, 100, 11, 90, 12, 95] {
        queue.push(tokens, tokens, now, now + Duration::from_secs(1));
    }
    queue.push(101, 101, now, now + Duration::from_millis(10));
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
        let mut queue = Queue::new(BatchLimits {
            run_cost,
            ..free_limits()
        });
        for tokens in [20, 20, 24] {
            queue.push((), tokens, now, now + Duration::from_secs(1));
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
    let mut queue = Queue::new(BatchLimits {
        max_queue_delay: Duration::from_millis(5),
        ..free_limits()
    });
    let deadline = now + Duration::from_secs(1);
    queue.push(1, 10, now, deadline);
    assert!(queue.take(now).batch.is_empty());
    assert_eq!(queue.next_deadline(), Some(now + Duration::from_millis(5)));
    queue.push(2, 10, now, deadline);
    assert_eq!(queue.take(now + Duration::from_millis(5)).batch.len(), 2);

    for number in 0..8 {
        queue.push(number, 10, now, deadline);
    }
    assert_eq!(queue.take(now).batch.len(), 8, "a full batch goes at once");
}

#[test]
fn only_an_empty_queue_takes_more_than_its_limits() {
    let now = Instant::now();
    let mut queue = Queue::new(free_limits());
    assert!(queue.has_room(500, 100_000));
    queue.push((), 10, now, now + Duration::from_secs(1));
    assert!(queue.has_room(99, 9_990));
    assert!(!queue.has_room(100, 100));
    assert!(!queue.has_room(1, 9_991));
}
