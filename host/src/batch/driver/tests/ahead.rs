//! Sessions that prepare their next batch while one runs.

use super::*;
use crate::batch::Shape;

/// Batches of two, on a device that works ahead. A run is expected to take ten seconds.
fn working_ahead() -> Bench {
    let limits = BatchLimits {
        max_batch_items: 2,
        ..limits()
    };
    let mut costs = CostModel::new(&limits);
    costs.probed(Shape::of(1, 1), Duration::from_secs(10));
    let options = PoolOptions {
        costs,
        limits,
        idle_shrink_after: Duration::from_secs(60),
        prefetch: true,
        niceness: 0,
        metrics: BatchMetrics::register(&mut Registry::default()).for_model("m", Device::Cpu),
    };
    start_bench(false, options)
}

impl Bench {
    async fn next(&mut self) -> Call {
        self.calls.recv().await.expect("the session lives")
    }

    /// Keeps the session busy with an item of its own.
    async fn block_ahead(&mut self) -> Pending {
        let mut pending = self.submit(&[&[0]]);
        assert_eq!(self.next().await, Call::Prepare(vec![0]));
        assert_eq!(self.next().await, Call::Run(vec![0]));
        pending.remove(0)
    }

    fn let_one_pass(&self) {
        self.gate.send(()).expect("the session waits");
    }
}

#[tokio::test]
async fn one_batch_is_prepared_while_another_runs() {
    let mut bench = working_ahead();
    let mut blocked = bench.block_ahead().await;
    let waiting = bench.submit(&[&[1], &[2], &[3], &[4], &[5], &[6]]);
    assert_eq!(bench.next().await, Call::Prepare(vec![1, 2]));
    for (runs, prepared) in [([1, 2], [3, 4]), ([3, 4], [5, 6])] {
        bench.let_one_pass();
        // The one begins when the other does, in two threads.
        let calls = [bench.next().await, bench.next().await];
        for call in [Call::Run(runs.into()), Call::Prepare(prepared.into())] {
            assert!(calls.contains(&call), "{call:?} is not in {calls:?}");
        }
    }
    assert!(blocked.outcome().await.is_ok(), "answers do not wait");
    bench.gate = mpsc::channel().0;
    assert!(outcomes(waiting).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn batch_that_is_not_full_is_not_taken_ahead() {
    let mut bench = working_ahead();
    let _blocked = bench.block_ahead().await;
    let _first = bench.submit(&[&[1]]);
    let _second = bench.submit(&[&[2]]);
    assert_eq!(bench.next().await, Call::Prepare(vec![1, 2]));
    let _third = bench.submit(&[&[3]]);
    bench.let_one_pass();
    assert_eq!(bench.next().await, Call::Run(vec![1, 2]));
    bench.let_one_pass();
    assert_eq!(
        bench.next().await,
        Call::Prepare(vec![3]),
        "the session is free"
    );
    assert_eq!(bench.next().await, Call::Run(vec![3]));
}

#[tokio::test]
async fn failures_of_a_prepared_batch_concern_its_items_alone() {
    for poison in [POISON, PANIC, UNPREPARED] {
        let mut bench = working_ahead();
        let _blocked = bench.block_ahead().await;
        let waiting = bench.submit(&[&[1], &[poison]]);
        assert_eq!(bench.next().await, Call::Prepare(vec![1, poison]));
        bench.gate = mpsc::channel().0;
        let outcomes = outcomes(waiting).await;
        assert!(outcomes[0].is_ok());
        assert_eq!(outcomes[1].is_ok(), poison == UNPREPARED);
        assert!(outcomes_of(&bench, 5).await, "the session goes on");
    }
}

async fn outcomes_of(bench: &Bench, id: u32) -> bool {
    outcomes(bench.submit(&[&[id]])).await[0].is_ok()
}

#[tokio::test]
async fn prepared_batch_that_nobody_waits_for_is_not_run() {
    let mut bench = working_ahead();
    let _blocked = bench.block_ahead().await;
    let abandoned = bench.submit(&[&[1], &[2]]);
    assert_eq!(bench.next().await, Call::Prepare(vec![1, 2]));
    drop(abandoned);
    let mut half = bench.submit(&[&[3], &[4]]);
    let abandoned = half.remove(0);
    let cancelled = abandoned.cancel();
    assert!(cancelled.is_none(), "it is in the queue still");
    half.extend(bench.submit(&[&[5]]));
    bench.gate = mpsc::channel().0;
    assert!(outcomes(half).await.iter().all(Result::is_ok));
    let runs = bench.runs();
    assert!(!runs.concat().contains(&1), "{runs:?}");
}

#[tokio::test]
async fn item_of_a_prepared_batch_is_computed_for_whoever_still_waits() {
    let mut bench = working_ahead();
    let _blocked = bench.block_ahead().await;
    let mut waiting = bench.submit(&[&[1], &[2]]);
    assert_eq!(bench.next().await, Call::Prepare(vec![1, 2]));
    let mut late = waiting
        .remove(0)
        .cancel()
        .expect("it is too late to cancel");
    bench.gate = mpsc::channel().0;
    assert!(late.outcome().await.is_ok());
    assert!(outcomes(waiting).await[0].is_ok());
}

#[tokio::test]
async fn draining_computes_what_was_prepared_and_what_waits() {
    let mut bench = working_ahead();
    let mut blocked = bench.block_ahead().await;
    let waiting = bench.submit(&[&[1], &[2], &[3]]);
    assert_eq!(bench.next().await, Call::Prepare(vec![1, 2]));
    bench.gate = mpsc::channel().0;
    let deadline = Instant::now() + Duration::from_secs(60);
    bench.pool.drain(deadline).await;
    assert!(blocked.outcome().await.is_ok());
    assert!(outcomes(waiting).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn idle_session_gives_memory_back_once() {
    let limits = limits();
    let options = PoolOptions {
        costs: CostModel::new(&limits),
        limits,
        idle_shrink_after: Duration::from_millis(1),
        prefetch: true,
        niceness: 0,
        metrics: BatchMetrics::register(&mut Registry::default()).for_model("m", Device::Cpu),
    };
    let mut bench = start_bench(false, options);
    bench.gate = mpsc::channel().0;
    for id in [1, 2] {
        outcomes(bench.submit(&[&[id]])).await;
        assert_eq!(bench.next().await, Call::Prepare(vec![id]));
        assert_eq!(bench.next().await, Call::Run(vec![id]));
        if id == 1 {
            assert_eq!(bench.next().await, Call::Shrink);
        }
    }
}
