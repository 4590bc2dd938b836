//! The engine, turn by turn, with a model of letters and a clock that only the model moves.

use std::sync::{Arc, Mutex};

use brink_protocol::FaultCode;
use brink_protocol::generate::{FinishReason, GenerateEvent, Sampling, Usage};
use futures_util::FutureExt;
use proptest::prelude::*;

use super::super::fake::{Clock, END, ENDLESS, Letters, POISON, RUN, Seen, TEXT, language};
use super::super::metrics::GenerateMetrics;
use super::super::outbox::{Reader, outbox};
use super::super::writing::Writing;
use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const CONTEXT: usize = 2048;

/// An engine with what a test needs around it.
struct Bench {
    engine: Engine,
    world: Requests,
    seen: Arc<Mutex<Seen>>,
}

struct Requests {
    waiting: VecDeque<Job>,
    clock: Clock,
}

impl World for Requests {
    fn next_job(&mut self, _now: Instant) -> Option<Job> {
        self.waiting.pop_front()
    }

    fn now(&self) -> Instant {
        self.clock.now()
    }
}

/// What a request asks for.
#[derive(Clone, Debug)]
struct Asked {
    tenant: &'static str,
    prompt: Vec<u32>,
    most: usize,
    seed: u64,
}

/// A text as far as it was read.
#[derive(Debug, Default)]
struct Told {
    text: String,
    end: Option<Result<(FinishReason, Usage), FaultCode>>,
}

impl Bench {
    fn new(slots: usize, budget: usize) -> Self {
        let clock = Clock::new();
        let model = Letters::new(slots, CONTEXT, clock.clone());
        let seen = Arc::clone(&model.seen);
        let metrics = GenerateMetrics::default().for_model("letters");
        let config = GenerateConfig::default();
        Self {
            engine: Engine::new(Box::new(model), budget, config, metrics),
            world: Requests {
                waiting: VecDeque::new(),
                clock,
            },
            seen,
        }
    }

    fn ask(&mut self, asked: &Asked) -> Reader {
        let (writer, reader) = outbox();
        let now = self.world.now();
        let sampling = Sampling {
            seed: Some(asked.seed),
            ..Sampling::default()
        };
        self.world.waiting.push_back(Job {
            tenant: asked.tenant.into(),
            reserved: asked.prompt.len() + asked.most,
            tokens: asked.prompt.clone(),
            text: Running {
                writing: Writing::new(sampling, 0, asked.most, language()),
                outbox: writer,
                arrived: now,
                deadline: now + MINUTE,
                prompt_tokens: u32::try_from(asked.prompt.len()).expect("few tokens"),
                cached_tokens: 0,
                first: None,
                last: now,
                cost: Duration::ZERO,
            },
        });
        reader
    }

    fn turn(&mut self) -> bool {
        self.engine.turn(&mut self.world)
    }

    /// Runs until nothing is left to do.
    fn run(&mut self) {
        while self.turn() {}
    }

    fn busy(&self) -> usize {
        let (slots, others) = self.engine.occupancy();
        slots.busy + others
    }

    fn seen<R>(&self, see: impl FnOnce(&Seen) -> R) -> R {
        see(&self.seen.lock().expect("no panic"))
    }
}

fn asked(prompt: impl IntoIterator<Item = u32>, most: usize) -> Asked {
    Asked {
        tenant: "default",
        prompt: prompt.into_iter().collect(),
        most,
        seed: 1,
    }
}

/// What there is to be read.
fn read(reader: &mut Reader, told: &mut Told) {
    while let Some(Some(event)) = reader.next().now_or_never() {
        match event {
            GenerateEvent::Kept { .. } | GenerateEvent::Started { .. } | GenerateEvent::Idle => {}
            GenerateEvent::Delta(delta) => told.text.push_str(&delta.text),
            GenerateEvent::Finished { reason, usage } => told.end = Some(Ok((reason, usage))),
            GenerateEvent::Failed(fault) => told.end = Some(Err(fault.code)),
        }
    }
}

fn told(mut reader: Reader) -> Told {
    let mut told = Told::default();
    read(&mut reader, &mut told);
    told
}

/// The text of a request that is alone.
fn alone(asked: &Asked) -> String {
    let mut bench = Bench::new(1, CONTEXT);
    let reader = bench.ask(asked);
    bench.run();
    told(reader).text
}

/// Prompts of which many begin alike.
fn prompts(count: u32) -> Vec<Asked> {
    let one = |number: u32| {
        let shared = (0..20 + number % 3 * 30).map(|token| token % 20);
        let own = (0..5 + number * 7 % 90).map(move |token| (token * number + number) % 26);
        Asked {
            tenant: ["a", "b", "c"][number as usize % 3],
            seed: number.into(),
            ..asked(shared.chain(own), 10 + number as usize * 13 % 50)
        }
    };
    (0..count).map(one).collect()
}

#[test]
fn text_is_the_same_alone_and_in_company() {
    for (slots, budget) in [(4, 100_000), (4, 500), (16, 100_000), (1, 0)] {
        let all = prompts(24);
        let mut bench = Bench::new(slots, budget);
        let mut readers = Vec::new();
        for one in &all {
            readers.push(bench.ask(one));
            // Others join in the middle of it.
            bench.turn();
            bench.turn();
        }
        bench.run();
        for (one, reader) in all.iter().zip(readers) {
            let told = told(reader);
            assert!(matches!(told.end, Some(Ok(_))), "{told:?}");
            assert_eq!(told.text, alone(one), "{slots} slots, {one:?}");
        }
        assert_eq!(bench.busy(), 0);
        let budget = budget.max(CONTEXT);
        assert!(bench.seen(|seen| seen.most) <= budget, "beyond the budget");
    }
}

#[test]
fn long_prompt_at_most_doubles_the_time_between_tokens() {
    let mut bench = Bench::new(4, 100_000);
    let mut writers: Vec<Reader> = (0..3)
        .map(|number| bench.ask(&asked([ENDLESS, number], 1000)))
        .collect();
    for _ in 0..50 {
        bench.turn();
    }
    let step = RUN + TEXT * 3;
    let mut long = bench.ask(&asked((0..1500).map(|token| token % 26), 5));
    let (mut last, mut gaps) = (bench.world.now(), Vec::new());
    let mut told = Told::default();
    while told.end.is_none() {
        let steps = bench.seen(|seen| seen.steps.len());
        bench.turn();
        read(&mut long, &mut told);
        if bench.seen(|seen| seen.steps.len()) > steps {
            gaps.push(bench.world.now() - last);
            last = bench.world.now();
        }
    }
    gaps.sort_unstable();
    let (most, p99) = (gaps[gaps.len() - 1], gaps[gaps.len() * 99 / 100]);
    assert!(
        p99 <= step * 2 && most <= step * 3,
        "{p99:?}, {most:?}, a step takes {step:?}"
    );
    assert!(
        gaps.len() < 300,
        "the prompt is read in pieces that are worth a run"
    );
    for writer in &mut writers {
        assert!(matches!(writer.next().now_or_never(), Some(Some(_))));
    }
}

#[test]
fn reader_that_goes_away_frees_its_slot_before_the_next_step() {
    let mut bench = Bench::new(1, CONTEXT);
    let first = bench.ask(&asked([1, 2, 3], 1000));
    let second = bench.ask(&asked([4, 5], 3));
    for _ in 0..5 {
        bench.turn();
    }
    assert_eq!(bench.busy(), 2);
    drop(first);
    bench.turn();
    assert_eq!(bench.busy(), 1, "only the second one is left");
    bench.run();
    assert!(matches!(
        told(second).end,
        Some(Ok((FinishReason::Length | FinishReason::Stop, _)))
    ));
}

#[test]
fn deadline_ends_a_text_wherever_it_is() {
    let mut bench = Bench::new(1, CONTEXT);
    let mut readers = vec![
        bench.ask(&asked([1, 2, 3], 1000)),
        bench.ask(&asked([4], 3)),
    ];
    let mut partial = Told::default();
    while partial.text.is_empty() {
        bench.turn();
        read(&mut readers[0], &mut partial);
    }
    bench.world.clock.advance(MINUTE);
    assert!(!bench.turn());
    for reader in readers {
        assert_eq!(told(reader).end, Some(Err(FaultCode::DeadlineExceeded)));
    }
    assert_eq!(bench.busy(), 0);
}

#[test]
fn poisonous_text_fails_alone() {
    let mut bench = Bench::new(4, 100_000);
    let good = asked([1, 2, 3], 20);
    let readers: Vec<_> = [asked([7, POISON], 20), good.clone(), asked([POISON], 5)]
        .iter()
        .map(|one| bench.ask(one))
        .collect();
    bench.run();
    let ends: Vec<Told> = readers.into_iter().map(told).collect();
    assert_eq!(ends[0].end, Some(Err(FaultCode::ModelFailed)));
    assert_eq!(ends[2].end, Some(Err(FaultCode::ModelFailed)));
    assert_eq!(ends[1].text, alone(&good));
}

#[test]
fn shared_beginning_is_read_once() {
    let mut bench = Bench::new(2, 100_000);
    let system = |own: u32| asked((0..300).map(|token| token % 26).chain([own, own]), 4);
    let first = bench.ask(&system(1));
    bench.run();
    drop(first);
    let read_before = bench.seen(|seen| seen.pieces.iter().sum::<usize>());
    let second = bench.ask(&system(2));
    bench.run();
    let Some(Ok((_, usage))) = told(second).end else {
        panic!("it was written")
    };
    assert_eq!((usage.prompt_tokens, usage.cached_tokens), (302, 300));
    let read = bench.seen(|seen| seen.pieces.iter().sum::<usize>());
    assert_eq!(read - read_before, 2);
}

#[test]
fn tenant_with_many_texts_makes_room_for_one_with_few() {
    let mut bench = Bench::new(4, 100_000);
    let of = |tenant, number: u32, most| Asked {
        tenant,
        ..asked([number, number + 1, number], most)
    };
    let many: Vec<Asked> = (0..6).map(|number| of("many", number, 200)).collect();
    let readers: Vec<Reader> = many.iter().map(|one| bench.ask(one)).collect();
    for _ in 0..20 {
        bench.turn();
    }
    // The queue of the test knows no tenants, so the two that wait are ahead of it.
    bench.world.waiting.clear();
    bench.engine.next = None;
    let few = of("few", 9, 10);
    let reader = bench.ask(&few);
    for _ in 0..15 {
        bench.turn();
    }
    let told_few = told(reader);
    assert!(told_few.end.is_some(), "it did not wait for the others");
    assert_eq!(told_few.text, alone(&few));
    bench.run();
    for (one, reader) in many.iter().zip(readers).take(4) {
        let told = told(reader);
        assert!(matches!(told.end, Some(Ok(_))), "{told:?}");
        assert_eq!(told.text, alone(one));
    }
}

#[test]
fn everything_is_told_when_the_host_stops() {
    let mut bench = Bench::new(1, CONTEXT);
    let readers = [bench.ask(&asked([1], 1000)), bench.ask(&asked([2], 1000))];
    for _ in 0..5 {
        bench.turn();
    }
    bench.engine.give_up();
    for reader in readers {
        assert_eq!(told(reader).end, Some(Err(FaultCode::Overloaded)));
    }
    assert_eq!(bench.busy(), 0);
}

#[test]
fn end_of_the_text_is_not_told_as_text() {
    let one = asked([3, 1, 4], 500);
    let text = alone(&one);
    assert!(!text.is_empty() && text.len() < 500, "it ended by itself");
    assert!(language().vocabulary.bytes(END).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whoever goes away when, and however little memory there is: in the end every slot is free or kept, no
    /// more is kept than the budget allows, and whoever stayed has the text it gets alone.
    #[test]
    fn random_kills_lose_no_slot(
        kills in prop::collection::vec((0usize..30, 0usize..40), 0..40),
        budget in 0usize..4000, slots in 1usize..6,
    ) {
        let all = prompts(30);
        let mut bench = Bench::new(slots, budget);
        let mut readers: Vec<Option<Reader>> = all.iter().map(|one| Some(bench.ask(one))).collect();
        for (victim, turns) in kills {
            for _ in 0..turns {
                bench.turn();
            }
            readers[victim] = None;
        }
        bench.run();
        prop_assert_eq!(bench.busy(), 0);
        let kept = bench.engine.occupancy().0.kept;
        let holding = bench.seen(|seen| seen.held.iter().filter(|held| !held.is_empty()).count());
        prop_assert_eq!(kept, holding);
        prop_assert!(bench.seen(|seen| seen.most) <= budget.max(CONTEXT));
        for (one, reader) in all.iter().zip(readers) {
            if let Some(reader) = reader {
                let told = told(reader);
                prop_assert!(matches!(told.end, Some(Ok(_))), "{:?}", told.end);
                prop_assert_eq!(told.text, alone(one));
            }
        }
    }
}
