//! What the queue costs, without a model.
//!
//! Question: what does one item cost from push to take, with many items of many tenants waiting?
//! Budget: 2 µs at 10,000 items of 100 tenants, so that 10,000 items a second cost 2 % of a core.
//! Read the last column. Run it in release mode:
//!
//! ```text
//! cargo run --release --example queue -p brink-host
//! ```

#![expect(clippy::print_stdout, reason = "a measurement prints its result")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use brink_host::batch::{BatchConfig, BatchLimits, Claim, CostModel, Queue};
use brink_host::inference::Device;
use tokio::time::Instant;

/// Items pushed and taken for one figure.
const ITEMS: usize = 1_000_000;

fn main() {
    for (waiting, tenants) in [
        (1, 1),
        (1_000, 1),
        (10_000, 1),
        (10_000, 100),
        (10_000, 5_000),
    ] {
        for device in [Device::Cpu, Device::Cuda(0)] {
            for sizes in [1, 128] {
                let mut bench = Bench::new(device, tenants, sizes);
                let nanoseconds = bench.run(waiting);
                println!(
                    "{waiting:6} waiting, {tenants:5} tenants, {sizes:3} sizes, {device:>6}: {nanoseconds:6.0} ns an item"
                );
            }
        }
    }
}

struct Bench {
    queue: Queue<usize>,
    tenants: Vec<Arc<str>>,
    sizes: usize,
    random: u64,
    start: Instant,
}

impl Bench {
    fn new(device: Device, tenants: usize, sizes: usize) -> Self {
        let limits = BatchLimits {
            max_queue_items: usize::MAX,
            ..BatchConfig::default().limits(device)
        };
        let costs = CostModel::new(&limits);
        Self {
            queue: Queue::new(limits, costs),
            tenants: (0..tenants)
                .map(|tenant| tenant.to_string().into())
                .collect(),
            sizes,
            random: 42,
            start: Instant::now(),
        }
    }

    /// Nanoseconds from push to take of an item, while so many wait.
    fn run(&mut self, waiting: usize) -> f64 {
        for number in 0..waiting {
            self.push(number);
        }
        let (mut taken, begun) = (0, Instant::now());
        while taken < ITEMS {
            let batch = self.queue.take(self.start).batch;
            taken += batch.len();
            for number in batch {
                self.push(black_box(number));
            }
        }
        begun.elapsed().as_secs_f64() * 1e9 / taken as f64
    }

    fn push(&mut self, number: usize) {
        let tenant = self.random() as usize % self.tenants.len();
        let urgency = (self.random() % 8) as u8;
        let size = 1 + self.random() as usize % self.sizes;
        // Calls live from ten to twenty seconds.
        let lives = Duration::from_millis(10_000 + self.random() % 10_000);
        let claim = Claim {
            tenant: &self.tenants[tenant],
            urgency,
            size,
            bytes: 4 * size,
            arrived: self.start,
            deadline: self.start + lives,
            start_by: self.start + lives,
            expected: None,
        };
        self.queue.push(number, claim);
    }

    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}
