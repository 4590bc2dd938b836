//! Overload, simulated: callers, a schedule, and a device that takes the time it is said to take.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::batch::BatchConfig;
use crate::inference::Device;

/// An item that was sent.
#[derive(Clone, Debug)]
struct Sent {
    tenant: Arc<str>,
    size: usize,
    sent: Instant,
    deadline: Instant,
    /// How often it was refused before.
    refusals: u32,
}

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// How long it took.
    Answered(Duration),
    /// Computed for nobody.
    Late,
    Expired,
    /// Until when it is not to come back.
    Refused(Duration),
}

struct Run {
    items: Vec<Sent>,
    shape: Shape,
    began: Instant,
    ends: Instant,
    expected: Instant,
}

/// One session and those who call.
struct World {
    schedule: Schedule<Sent>,
    device: fn(Shape) -> f64,
    start: Instant,
    now: Instant,
    running: Option<Run>,
    to_come: BTreeMap<(Instant, u64), Sent>,
    fates: Vec<(Sent, Fate)>,
    most_waiting: usize,
    random: u64,
}

/// As all-MiniLM-L6-v2 on one thread.
fn encoder(shape: Shape) -> f64 {
    0.0017 + 0.00025 * shape.padded() as f64
}

fn limits() -> BatchLimits {
    BatchConfig::default().limits(Device::Cpu)
}

/// What is known of a device after warm-up.
fn probed(limits: &BatchLimits, device: fn(Shape) -> f64) -> CostModel {
    let mut costs = CostModel::new(limits);
    for size in [16, 64] {
        let powers = (0..9).map(|power| Shape::of(1 << power, size));
        let allowed = powers.filter(|shape| {
            shape.items <= limits.max_batch_items && shape.padded() <= limits.max_batch_tokens
        });
        for shape in allowed {
            costs.probed(shape, Duration::from_secs_f64(device(shape)));
        }
    }
    costs
}

impl World {
    fn new(limits: &BatchLimits, device: fn(Shape) -> f64) -> Self {
        let now = Instant::now();
        Self {
            schedule: Schedule::new(limits.clone(), probed(limits, device)),
            device,
            start: now,
            now,
            running: None,
            to_come: BTreeMap::new(),
            fates: Vec::new(),
            most_waiting: 0,
            random: 42,
        }
    }

    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// Lengths of texts: 6 to 112 tokens, 33 on average.
    fn size(&mut self) -> usize {
        let uniform = (self.random() % 10_000) as f64 / 10_000.0;
        6 + (106.0 * uniform.powi(3)) as usize
    }

    fn send(&mut self, tenant: &str, at: Duration, patience: Duration) {
        let sent = self.start + at;
        let item = Sent {
            tenant: tenant.into(),
            size: self.size(),
            sent,
            deadline: sent + patience,
            refusals: 0,
        };
        let number = self.random();
        self.to_come.insert((sent, number), item);
    }

    /// Sends items at a steady pace, a little irregular.
    fn stream(
        &mut self,
        tenant: &str,
        per_second: f64,
        span: std::ops::Range<u64>,
        patience: Duration,
    ) {
        let from = Duration::from_secs(span.start);
        let seconds = (span.end - span.start) as f64;
        for number in 0..(per_second * seconds) as u64 {
            let jitter = (self.random() % 1_000) as f64 / 1_000.0;
            let at = from + Duration::from_secs_f64((number as f64 + jitter) / per_second);
            self.send(tenant, at, patience);
        }
    }

    /// Lets time pass until nothing is left to do.
    fn run(&mut self, comes_back: bool) {
        loop {
            let arrival = self.to_come.first_key_value().map(|((at, _), _)| *at);
            let end = self.running.as_ref().map(|run| run.ends);
            let Some(next) = arrival.into_iter().chain(end).min() else {
                return;
            };
            self.now = next;
            if end == Some(next) {
                self.end();
            } else if let Some((_, item)) = self.to_come.pop_first() {
                self.arrive(item, comes_back);
            }
            self.most_waiting = self.most_waiting.max(self.schedule.queue.load().items);
            if self.running.is_none() {
                self.begin();
            }
        }
    }

    fn arrive(&mut self, item: Sent, comes_back: bool) {
        let submission = Submission {
            tenant: Arc::clone(&item.tenant),
            urgency: 3,
            now: self.now,
            deadline: item.deadline,
        };
        let load = Load {
            items: 1,
            tokens: item.size,
            bytes: 4 * item.size,
        };
        match self.schedule.admit(&submission, load, 1) {
            Ok(admitted) => {
                let claim = Claim {
                    tenant: &submission.tenant,
                    urgency: 3,
                    size: item.size,
                    bytes: 4 * item.size,
                    arrived: self.now,
                    deadline: item.deadline,
                    start_by: item.deadline,
                    expected: None,
                };
                self.schedule.push(item, claim, admitted);
            }
            Err(refused) => {
                let wait = refused.retry_after;
                self.fates.push((item.clone(), Fate::Refused(wait)));
                if comes_back {
                    let patience = item.deadline - item.sent;
                    let sent = self.now + wait;
                    let again = Sent {
                        sent,
                        deadline: sent + patience,
                        refusals: item.refusals + 1,
                        ..item
                    };
                    let number = self.random();
                    self.to_come.insert((sent, number), again);
                }
            }
        }
    }

    fn begin(&mut self) {
        let taken = self.schedule.take(self.now);
        for item in taken.expired {
            self.fates.push((item, Fate::Expired));
        }
        if taken.batch.is_empty() {
            return;
        }
        let shape: Shape = taken.batch.iter().map(|item| item.size).collect();
        // A fifth more or less, and now and then three times as long.
        let noise = 0.8 + (self.random() % 400) as f64 / 1_000.0;
        let stall = if self.random().is_multiple_of(50) {
            3.0
        } else {
            1.0
        };
        let time = Duration::from_secs_f64((self.device)(shape) * noise * stall);
        self.running = Some(Run {
            items: taken.batch,
            shape,
            began: self.now,
            ends: self.now + time,
            expected: self.schedule.began(shape, self.now),
        });
    }

    fn end(&mut self) {
        let Some(run) = self.running.take() else {
            return;
        };
        let took = self.now - run.began;
        self.schedule.queue.ran(run.shape, took, self.now);
        self.schedule.ended(run.expected, Outcome::Worked, self.now);
        for item in run.items {
            let fate = if self.now <= item.deadline {
                Fate::Answered(self.now - item.sent)
            } else {
                Fate::Late
            };
            self.fates.push((item, fate));
        }
    }

    fn count(&self, of: impl Fn(&Sent, Fate) -> bool) -> usize {
        let fates = self.fates.iter();
        fates.filter(|(item, fate)| of(item, *fate)).count()
    }

    /// Tokens of a tenant that were answered.
    fn tokens(&self, tenant: &str) -> usize {
        let fates = self.fates.iter();
        let answered = fates
            .filter(|(item, fate)| &*item.tenant == tenant && matches!(fate, Fate::Answered(_)));
        answered.map(|(item, _)| item.size).sum()
    }

    fn answered(&self, tenant: &str) -> usize {
        self.count(|item, fate| &*item.tenant == tenant && matches!(fate, Fate::Answered(_)))
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Items a second that the device can compute, from a queue that is never empty.
fn capacity(limits: &BatchLimits, device: fn(Shape) -> f64) -> (f64, f64) {
    let mut world = World::new(limits, device);
    for _ in 0..limits.max_queue_items / 2 {
        world.send("a", Duration::ZERO, seconds(100_000));
    }
    world.run(false);
    let seconds = (world.now - world.start).as_secs_f64();
    let per_second = |count: usize| count as f64 / seconds;
    (
        per_second(world.answered("a")),
        per_second(world.tokens("a")),
    )
}

fn is_refused(fate: Fate) -> bool {
    matches!(fate, Fate::Refused(_))
}

/// A device on which a run costs much by itself.
fn accelerator(shape: Shape) -> f64 {
    0.004 + 2e-6 * shape.padded() as f64
}

#[test]
fn threefold_overload_answers_what_the_device_can_and_refuses_the_rest_at_once() {
    let check = |limits: &BatchLimits, device, patience, span| {
        let (items, tokens) = capacity(limits, device);
        let mut world = World::new(limits, device);
        world.stream("a", 3.0 * items, 0..span, patience);
        world.run(false);

        let end = world.start + seconds(span);
        let in_time = |(item, fate): &&(Sent, Fate)| match fate {
            Fate::Answered(wait) => item.sent + *wait <= end,
            _ => false,
        };
        let answered: Vec<usize> = world
            .fates
            .iter()
            .filter(in_time)
            .map(|(item, _)| item.size)
            .collect();
        let goodput = answered.len() as f64 / span as f64 / items;
        assert!(goodput > 0.9, "{goodput} of the items with {patience:?}");
        let goodput = answered.iter().sum::<usize>() as f64 / span as f64 / tokens;
        assert!(goodput > 0.9, "{goodput} of the tokens with {patience:?}");
        let in_vain = world.count(|_, fate| matches!(fate, Fate::Late | Fate::Expired));
        let in_vain = in_vain as f64 / answered.len() as f64;
        assert!(in_vain < 0.03, "{in_vain} waited in vain with {patience:?}");
        assert!(world.most_waiting <= limits.max_queue_items);
    };
    check(&limits(), encoder, Duration::from_millis(500), 20);
    check(&limits(), encoder, seconds(2), 20);
    check(&limits(), encoder, seconds(10), 20);
    let limits = BatchConfig::default().limits(Device::Cuda(0));
    check(&limits, accelerator, seconds(1), 3);
}

#[test]
fn first_request_after_the_storm_is_fast() {
    let mut world = World::new(&limits(), encoder);
    world.stream("a", 1_000.0, 0..5, seconds(1));
    world.send("b", seconds(6), seconds(1));
    world.run(false);
    let after = world.fates.iter().find(|(item, _)| &*item.tenant == "b");
    let Some((_, Fate::Answered(wait))) = after else {
        panic!("{after:?}");
    };
    assert!(*wait < Duration::from_millis(100), "{wait:?}");
}

#[test]
fn flood_of_one_tenant_does_not_delay_others_by_more_than_what_runs() {
    let mut world = World::new(&limits(), encoder);
    for _ in 0..4_000 {
        world.send("flood", Duration::ZERO, seconds(100_000));
    }
    for second in 1..30 {
        for tenant in ["b", "c"] {
            world.send(tenant, seconds(second), seconds(2));
        }
    }
    world.run(false);
    assert_eq!(world.answered("b") + world.answered("c"), 2 * 29);
    let longest = world.fates.iter().filter_map(|(item, fate)| match fate {
        Fate::Answered(wait) if &*item.tenant != "flood" => Some(*wait),
        _ => None,
    });
    // What runs, both of their batches, and one of the three took three times as long.
    let batch = Duration::from_secs_f64(1.2 * encoder(Shape::of(1, 256)));
    let longest = longest.max().unwrap();
    assert!(longest < 5 * batch, "{longest:?}");
}

#[test]
fn those_who_come_back_when_told_are_let_in() {
    let (capacity, _) = capacity(&limits(), encoder);
    let mut world = World::new(&limits(), encoder);
    // The work of thirty seconds within one.
    world.stream("a", 30.0 * capacity, 0..1, seconds(2));
    world.run(true);
    let sent = world.count(|item, _| item.refusals == 0);
    assert!(world.answered("a") * 100 > sent * 99);
    let came_back = world.count(|item, _| item.refusals == 1);
    let refused_again = world.count(|item, fate| item.refusals == 1 && is_refused(fate));
    assert!(
        refused_again * 4 < came_back,
        "{refused_again} of {came_back}"
    );
    let took = world.now - world.start;
    assert!(took < seconds(50), "{took:?}");
}

#[test]
fn slow_times_are_not_held_against_those_who_come_later() {
    let mut world = World::new(&limits(), |shape| 20.0 * encoder(shape));
    world.stream("a", 100.0, 0..10, seconds(2));
    world.run(false);
    world.fates.clear();

    world.device = encoder;
    let later = (world.now - world.start).as_secs() + 60;
    world.stream("a", 60.0, later..later + 10, Duration::from_millis(500));
    world.run(false);
    let answered = world.answered("a");
    assert!(answered > 540, "{answered} of 600");
}

#[test]
fn batches_that_do_not_pay_are_no_longer_formed() {
    // Beyond two items, the device needs longer for a batch than for its items one by one.
    let device = |shape: Shape| {
        let items = shape.items as f64;
        encoder(shape) * (items / 2.0).max(1.0).sqrt()
    };
    let limits = BatchLimits {
        max_batch_tokens: 4_096,
        ..limits()
    };
    let mut costs = CostModel::new(&limits);
    for (items, size) in [1, 2, 4, 8, 16]
        .into_iter()
        .flat_map(|items| [(items, 16), (items, 64)])
    {
        let shape = Shape::of(items, size);
        costs.probed(shape, Duration::from_secs_f64(device(shape)));
    }
    let mut world = World::new(&limits, device);
    world.schedule = Schedule::new(limits.clone(), costs);
    for _ in 0..4_000 {
        world.send("a", Duration::ZERO, seconds(100_000));
    }
    world.run(false);
    let (_, fastest) = capacity(
        &BatchLimits {
            max_batch_items: 2,
            ..limits
        },
        device,
    );
    let took = (world.now - world.start).as_secs_f64();
    let pace = world.tokens("a") as f64 / took;
    assert!(pace > 0.8 * fastest, "{pace} of {fastest}");
}

#[test]
fn call_that_would_be_late_is_refused_unless_the_model_is_idle() {
    let mut world = World::new(&limits(), encoder);
    for _ in 0..200 {
        world.send("a", Duration::ZERO, seconds(100));
    }
    world.run(false);
    let now = world.now;
    let submission = |patience| Submission {
        tenant: "a".into(),
        urgency: 3,
        now,
        deadline: now + Duration::from_millis(patience),
    };
    let huge = Load {
        items: 2_000,
        tokens: 60_000,
        bytes: 0,
    };
    let mut admit = |load, patience| world.schedule.admit(&submission(patience), load, 1);
    assert!(admit(huge, 10_000).is_ok(), "what is computed is kept");
    assert!(admit(huge, 100_000).is_ok());
    world.schedule.began(Shape::of(16, 16), now);
    let mut admit = |load, patience| world.schedule.admit(&submission(patience), load, 1);
    let refused = admit(huge, 10_000).expect_err("fifteen seconds of work");
    let Reason::TooLate(needed) = refused.reason else {
        panic!("{refused:?}");
    };
    assert!((seconds(13)..seconds(20)).contains(&needed), "{needed:?}");
    assert!(refused.retry_after > seconds(2));
    assert!(admit(huge, 100_000).is_ok());
}
