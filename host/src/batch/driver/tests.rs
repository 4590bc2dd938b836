//! The driver, on a backend that does what a test says.

use std::sync::mpsc;

use brink_protocol::infer::DEFAULT_URGENCY;
use bytes::Bytes;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;
use crate::batch::{
    BatchConfig, BatchLimits, BatchMetrics, BatchOverrides, BatchPool, Bound, BreakerConfig,
    CostModel, Inferred, Pending, PoolOptions, Submission,
};
use crate::inference::Device;
use crate::inference::{BackendError, Output, Payload, Prepare};

/// A batch with this id fails.
const POISON: u32 = 666;
/// A batch with this id panics.
const PANIC: u32 = 13;
/// Preparing a batch with this id panics.
const UNPREPARED: u32 = 14;

/// The vector of an item is its ids.
fn vectors(batch: &[&[u32]]) -> Vec<Output> {
    let bytes = |ids: &&[u32]| {
        ids.iter()
            .flat_map(|id| id.to_le_bytes())
            .collect::<Bytes>()
    };
    batch.iter().map(bytes).collect()
}

fn item(id: u32) -> Payload {
    Payload::Tokens(vec![id])
}

fn submission(now: Instant, deadline: Instant) -> Submission {
    Submission {
        tenant: "default".into(),
        urgency: DEFAULT_URGENCY,
        now,
        deadline,
    }
}

fn ids<'a>(payload: &&'a Payload) -> &'a [u32] {
    match payload {
        Payload::Tokens(ids) => ids,
        Payload::Pixels(_) | Payload::Tensors(_) => panic!("the tests submit tokens"),
    }
}

/// What the backend was asked to do.
#[derive(Debug, PartialEq)]
enum Call {
    Prepare(Vec<u32>),
    Run(Vec<u32>),
    Shrink,
}

struct Scripted {
    calls: UnboundedSender<Call>,
    /// Each run waits for a word from the test. Dropping the sender lets all runs pass.
    gate: mpsc::Receiver<()>,
    always_fails: bool,
}

impl Backend for Scripted {
    fn run(&mut self, batch: &[&Payload]) -> Result<Vec<Output>, BackendError> {
        let batch: Vec<&[u32]> = batch.iter().map(ids).collect();
        let _ = self.calls.send(Call::Run(batch.concat()));
        let _ = self.gate.recv();
        let has = |id| batch.iter().any(|ids| ids.contains(&id));
        assert!(!has(PANIC), "the script says so");
        if self.always_fails {
            return Err(BackendError::Runtime(Arc::new(io::Error::other(
                "a script",
            ))));
        }
        if has(POISON) {
            return Err(BackendError::NotFinite);
        }
        Ok(vectors(&batch))
    }

    fn shrink(&mut self) -> Result<(), BackendError> {
        let _ = self.calls.send(Call::Shrink);
        Ok(())
    }

    fn preparer(&self) -> Option<Box<dyn Prepare>> {
        Some(Box::new(Preparer(self.calls.clone())))
    }

    fn run_prepared(
        &mut self,
        batch: &[&Payload],
        prepared: Prepared,
    ) -> Result<Vec<Output>, BackendError> {
        let ids: Vec<u32> = batch.iter().flat_map(ids).copied().collect();
        let prepared = prepared.downcast::<Vec<u32>>().expect("our own");
        assert_eq!(*prepared, ids, "it is for this batch");
        self.run(batch)
    }
}

struct Preparer(UnboundedSender<Call>);

impl Prepare for Preparer {
    fn prepare(&mut self, batch: &[&Payload]) -> Result<Prepared, BackendError> {
        let ids: Vec<u32> = batch.iter().flat_map(ids).copied().collect();
        let _ = self.0.send(Call::Prepare(ids.clone()));
        assert!(!ids.contains(&UNPREPARED), "the script says so");
        Ok(Box::new(ids))
    }
}

struct Bench {
    pool: BatchPool,
    calls: UnboundedReceiver<Call>,
    gate: mpsc::Sender<()>,
}

fn bench(always_fails: bool, limits: BatchLimits, idle_shrink_after: Duration) -> Bench {
    let options = PoolOptions {
        costs: CostModel::new(&limits),
        limits,
        idle_shrink_after,
        prefetch: false,
        niceness: 0,
        metrics: BatchMetrics::register(&mut Registry::default()).for_model("m", Device::Cpu),
    };
    start_bench(always_fails, options)
}

fn start_bench(always_fails: bool, options: PoolOptions) -> Bench {
    let (sender, calls) = unbounded_channel();
    let (gate, receiver) = mpsc::channel();
    let backend = Scripted {
        calls: sender,
        gate: receiver,
        always_fails,
    };
    let pool = BatchPool::start(vec![Box::new(backend)], options).expect("a thread");
    Bench { pool, calls, gate }
}

fn limits() -> BatchLimits {
    BatchConfig::default().limits(Device::Cpu)
}

/// Lets every run pass.
fn open(always_fails: bool) -> Bench {
    let mut bench = bench(always_fails, limits(), Duration::from_secs(60));
    bench.gate = mpsc::channel().0;
    bench
}

impl Bench {
    fn submit(&self, items: &[&[u32]]) -> Vec<Pending> {
        self.try_submit(items).expect("the queue has room")
    }

    fn try_submit(&self, items: &[&[u32]]) -> Result<Vec<Pending>, BatchError> {
        let now = Instant::now();
        let items = items
            .iter()
            .map(|ids| Payload::Tokens(ids.to_vec()))
            .collect();
        let later = now + Duration::from_secs(60);
        self.pool.submit(items, submission(now, later))
    }

    fn runs(&mut self) -> Vec<Vec<u32>> {
        let calls = std::iter::from_fn(|| self.calls.try_recv().ok());
        let runs = calls.filter_map(|call| match call {
            Call::Run(ids) => Some(ids),
            Call::Prepare(_) | Call::Shrink => None,
        });
        runs.collect()
    }

    /// Keeps the session busy with an item of its own.
    async fn block(&mut self) -> Pending {
        let mut pending = self.submit(&[&[0]]);
        assert_eq!(self.calls.recv().await, Some(Call::Run(vec![0])));
        pending.remove(0)
    }
}

async fn outcomes(pending: Vec<Pending>) -> Vec<Result<Inferred, BatchError>> {
    let mut outcomes = Vec::new();
    for mut pending in pending {
        outcomes.push(pending.outcome().await);
    }
    outcomes
}

#[tokio::test]
async fn poisonous_and_panicking_items_fail_alone() {
    for poison in [POISON, PANIC] {
        let mut bench = open(false);
        let items: Vec<[u32; 1]> = (100..116)
            .map(|id| [if id == 107 { poison } else { id }])
            .collect();
        let items: Vec<&[u32]> = items.iter().map(|ids| ids.as_slice()).collect();
        let outcomes = outcomes(bench.submit(&items)).await;
        for (outcome, ids) in outcomes.iter().zip(&items) {
            match outcome {
                Ok(inferred) => assert_eq!(inferred.output, vectors(&[ids])[0]),
                Err(error) => assert!(ids[0] == poison && matches!(error, BatchError::Backend(_))),
            }
        }
        assert_eq!(
            outcomes.iter().filter(|outcome| outcome.is_err()).count(),
            1
        );
        assert!(bench.runs().len() < 2 * items.len());
        assert!(bench.pool.is_ready());
    }
}

#[tokio::test]
async fn broken_backend_costs_less_than_two_runs_an_item_and_is_left_alone() {
    let mut bench = open(true);
    for _ in 0..3 {
        let items = [[1u32].as_slice(); 16];
        let outcomes = outcomes(bench.submit(&items)).await;
        assert!(outcomes.iter().all(Result::is_err));
        assert_eq!(bench.runs().len(), 31);
    }
    // The count is taken after the last answer, so ask until the thread got there.
    while bench.pool.is_ready() {
        tokio::task::yield_now().await;
    }
    let refused = bench.try_submit(&[&[1]]);
    assert!(matches!(
        refused,
        Err(BatchError::BreakerOpen { retry_after }) if retry_after > Duration::ZERO
    ));
    assert!(bench.runs().is_empty());
}

#[tokio::test]
async fn poison_does_not_give_a_model_up() {
    let mut bench = open(false);
    for _ in 0..5 {
        let outcomes = outcomes(bench.submit(&[&[POISON]])).await;
        assert!(matches!(outcomes[..], [Err(BatchError::Backend(_))]));
    }
    assert!(outcomes(bench.submit(&[&[1]])).await[0].is_ok());
    assert_eq!(bench.runs().len(), 6);
}

#[tokio::test]
async fn what_waits_fails_when_the_model_is_given_up_and_it_is_tried_again_later() {
    let breaker = BreakerConfig {
        failures: 1,
        open_for: Duration::from_millis(1),
    };
    let limits = BatchLimits {
        breaker,
        ..limits()
    };
    let mut bench = bench(true, limits, Duration::from_secs(60));
    let mut blocked = bench.block().await;
    // It is too long to run with what is blocked.
    let waiting = bench.submit(&[&[7; 100]]);
    bench.gate.send(()).expect("the session waits");
    assert!(matches!(
        blocked.outcome().await,
        Err(BatchError::Backend(_))
    ));
    assert!(matches!(
        outcomes(waiting).await[..],
        [Err(BatchError::BreakerOpen { .. })]
    ));
    bench.gate = mpsc::channel().0;
    let tried = loop {
        match bench.try_submit(&[&[1]]) {
            Ok(pending) => break outcomes(pending).await,
            Err(BatchError::BreakerOpen { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error:?}"),
        }
    };
    assert!(matches!(tried[..], [Err(BatchError::Backend(_))]));
}

#[tokio::test]
async fn abandoned_items_are_not_run() {
    let mut bench = bench(false, limits(), Duration::from_secs(60));
    let mut blocked = bench.block().await;
    let abandoned = bench.submit(&[&[1], &[2]]);
    let wanted = bench.submit(&[&[3]]);
    drop(abandoned);
    bench.gate = mpsc::channel().0;
    assert!(blocked.outcome().await.is_ok());
    assert!(outcomes(wanted).await[0].is_ok());
    assert_eq!(bench.runs(), [[3]]);
}

#[tokio::test]
async fn batches_of_fixed_shapes_hold_items_of_one_bucket() {
    let own = BatchOverrides {
        shape_buckets: Some(vec![4, 16]),
        bucket_items: Some(2),
        ..BatchOverrides::default()
    };
    let config = BatchConfig::default().overridden(&own);
    let limits = config.limits(Device::Cpu);
    let mut bench = bench(false, limits, Duration::from_secs(60));
    let _blocked = bench.block().await;
    let waiting = bench.submit(&[&[1], &[2; 4], &[3; 5], &[4; 3], &[5; 20]]);
    bench.gate = mpsc::channel().0;
    let sizes: Vec<u32> = outcomes(waiting)
        .await
        .into_iter()
        .map(|outcome| outcome.expect("a result").size)
        .collect();
    assert_eq!(sizes, [1, 4, 5, 3, 20], "what was read, not the bucket");
    let mut runs = bench.runs();
    runs.iter_mut().for_each(Vec::dedup);
    assert_eq!(runs, [vec![1, 2], vec![3], vec![4], vec![5]]);
}

#[tokio::test]
async fn late_items_are_refused_without_a_run() {
    let mut bench = open(false);
    let now = Instant::now();
    let late = bench
        .pool
        .submit(vec![item(1)], submission(now, now))
        .expect("the queue has room");
    assert!(matches!(
        outcomes(late).await[..],
        [Err(BatchError::DeadlineExceeded)]
    ));
    assert!(bench.runs().is_empty());
}

#[tokio::test]
async fn full_queue_refuses_whole_calls_with_an_estimate() {
    let small = BatchLimits {
        max_queue_items: 2,
        max_tenant_share: 1.0,
        ..limits()
    };
    let mut bench = bench(false, small, Duration::from_secs(60));
    let _blocked = bench.block().await;
    let now = Instant::now();
    let later = now + Duration::from_secs(60);
    let _waiting = bench.submit(&[&[1]]);
    let submit = |items| bench.pool.submit(items, submission(now, later));
    let refused = submit(vec![item(2), item(3)]);
    let Err(BatchError::QueueFull { full, retry_after }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((full.bound, full.waiting), (Bound::Model, 1));
    assert!(retry_after > Duration::ZERO);
    assert!(submit(vec![item(2)]).is_ok());
}

#[tokio::test]
async fn draining_computes_what_waits_and_admits_nothing() {
    let mut bench = bench(false, limits(), Duration::from_secs(60));
    let mut blocked = bench.block().await;
    let waiting = bench.submit(&[&[1], &[2]]);
    let drain = bench.pool.drain(Instant::now() + Duration::from_secs(60));
    let finish = async {
        while bench.pool.is_ready() {
            tokio::task::yield_now().await;
        }
        let now = Instant::now();
        let refused = bench
            .pool
            .submit(vec![item(3)], submission(now, now + Duration::from_secs(1)));
        assert!(matches!(refused, Err(BatchError::Draining)));
        bench.gate = mpsc::channel().0;
    };
    tokio::join!(drain, finish);
    assert!(blocked.outcome().await.is_ok());
    assert!(outcomes(waiting).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn drain_gives_up_at_its_deadline() {
    let mut bench = bench(false, limits(), Duration::from_secs(60));
    let _blocked = bench.block().await;
    let waiting = bench.submit(&[&[1]]);
    bench.pool.drain(Instant::now()).await;
    assert!(matches!(
        outcomes(waiting).await[..],
        [Err(BatchError::Draining)]
    ));
}

#[tokio::test]
async fn idle_session_gives_memory_back_once() {
    let mut bench = bench(false, limits(), Duration::from_millis(1));
    bench.gate = mpsc::channel().0;
    outcomes(bench.submit(&[&[1]])).await;
    assert_eq!(bench.calls.recv().await, Some(Call::Run(vec![1])));
    assert_eq!(bench.calls.recv().await, Some(Call::Shrink));
    outcomes(bench.submit(&[&[2]])).await;
    assert_eq!(bench.calls.recv().await, Some(Call::Run(vec![2])));
}

mod ahead;
