//! What a cached answer costs.
//!
//! Question: how much server CPU, and how much waiting, does the sandbox add to a hit? The
//! servers take turns within each round, so that noise on the machine meets all of them: the
//! same rules as a native axum handler over moka (the baseline), the gateway component through
//! its fast door, through `wasi:http`, through `wasi:http` in a fresh instance each time, a
//! static file of the size of the answer, and nginx with the same file where it is installed.
//! Read the ratios; absolute times mean little. Budget: the fast door at most 1.5 times the
//! native CPU.

use anyhow::{Result, ensure};
use bytes::Bytes;
use clap::Args;
use http::Method;

use crate::environment::{Environment, MODEL};
use crate::load::{self, Call, Connection};
use crate::nginx::Nginx;
use crate::process::Server;
use crate::report::{self, Table, median};

/// Options of `hit`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    environment: Environment,
    /// Rounds; each measures every server once in every case
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Requests per measurement with one item; cases of more items send fewer
    #[arg(long, default_value_t = 20_000)]
    requests: usize,
}

/// One way of loading a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Case {
    items: usize,
    connections: usize,
    /// At half of what the slower of the first two servers managed, instead of all it can.
    half_load: bool,
}

const fn full(items: usize, connections: usize) -> Case {
    Case {
        items,
        connections,
        half_load: false,
    }
}

/// The case whose CPU ratio is the result; half load is half of it.
const MAIN: Case = full(1, 16);
const CASES: [Case; 6] = [
    full(1, 1),
    MAIN,
    full(1, 64),
    Case {
        half_load: true,
        ..MAIN
    },
    full(16, 16),
    full(100, 16),
];
const WARM_UP: usize = 500;

struct Target {
    name: &'static str,
    server: Server,
    kind: Kind,
    /// Per case and round.
    samples: [Vec<Sample>; CASES.len()],
    /// Kept for as long as its server runs.
    _nginx: Option<Nginx>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Embeddings,
    /// Slow, and not loaded with many items.
    Fresh,
    File,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    cpu_us: f64,
    p50_us: f64,
    p99_us: f64,
    per_second: f64,
}

/// Runs the benchmark. Its last line is `hit_cpu_ratio N`.
pub(crate) async fn run(options: Options) -> Result<()> {
    let mut targets = start(&options.environment).await?;
    for round in 1..=options.rounds {
        for (index, case) in CASES.into_iter().enumerate() {
            report::progress(&format!(
                "hit: round {round} of {}, {}",
                options.rounds,
                describe(case)
            ));
            let rate = case.half_load.then(|| half_rate(&targets));
            for target in &mut targets {
                if let Some(call) = target.call(case) {
                    let sample = target.measure(case, call, rate, options.requests).await?;
                    target.samples[index].push(sample);
                }
            }
        }
    }
    for (index, case) in CASES.into_iter().enumerate() {
        print(&targets, index, case, options.rounds);
    }
    let ratio = ratio(&targets, position(MAIN), 1, |sample| sample.cpu_us);
    report::line(&format!("hit_cpu_ratio {ratio:.2}"));
    Ok(())
}

async fn start(environment: &Environment) -> Result<Vec<Target>> {
    let target = |name, server, kind| Target {
        name,
        server,
        kind,
        samples: Default::default(),
        _nginx: None,
    };
    let brink = environment.start_brink(&[]).await?;
    let size = warm(&brink).await?;
    let native = environment.start_native(size).await?;
    ensure!(
        warm(&native).await? > size / 2,
        "the baseline answers with as much"
    );
    let slow = environment.start_brink(&["fast_door.mode=off"]).await?;
    warm(&slow).await?;
    let settings = ["fast_door.mode=off", "guest.max_idle=0"];
    let fresh = environment.start_brink(&settings).await?;
    warm(&fresh).await?;
    let file = environment.start_native(size).await?;
    let mut targets = vec![
        target("native axum + moka", native, Kind::Embeddings),
        target("component, fast door", brink, Kind::Embeddings),
        target("component, wasi:http", slow, Kind::Embeddings),
        target("component, fresh instance", fresh, Kind::Fresh),
        target("static file, axum", file, Kind::File),
    ];
    match Nginx::start(size).await? {
        Some((nginx, server)) => targets.push(Target {
            _nginx: Some(nginx),
            ..target("static file, nginx", server, Kind::File)
        }),
        None => report::progress("hit: nginx is not installed; its row is left out"),
    }
    Ok(targets)
}

fn embeddings(items: usize) -> Call {
    let texts: Vec<String> = (0..items)
        .map(|index| format!("the quick brown fox jumps over the lazy dog {index}"))
        .collect();
    let body = serde_json::json!({"model": MODEL, "input": texts, "encoding_format": "base64"});
    Call::post("/v1/embeddings", body.to_string())
}

/// Fills the cache for all cases, and gives the size of a one-item answer.
async fn warm(server: &Server) -> Result<usize> {
    let mut connection = Connection::open(server.address).await?;
    for case in CASES {
        connection.send(&embeddings(case.items)).await?;
    }
    Ok(connection.send(&embeddings(1)).await?.len())
}

impl Target {
    /// What is sent in a case; `None` if the case is not for this server.
    fn call(&self, case: Case) -> Option<Call> {
        match self.kind {
            Kind::Embeddings => Some(embeddings(case.items)),
            Kind::Fresh => (case == MAIN).then(|| embeddings(1)),
            Kind::File => (case.items == 1).then(|| Call {
                content_type: "application/json",
                method: Method::GET,
                path: "/file",
                body: Bytes::new(),
            }),
        }
    }

    async fn measure(
        &self,
        case: Case,
        call: Call,
        rate: Option<f64>,
        requests: usize,
    ) -> Result<Sample> {
        let calls = vec![call].into();
        let load = load::Load {
            address: self.server.address,
            connections: case.connections,
            calls,
            rate,
        };
        let requests = requests / case.items.min(20);
        load.run(WARM_UP / case.items + 1).await?;
        let before = self.server.cpu_seconds()?;
        let outcome = load.run(requests).await?;
        let cpu = self.server.cpu_seconds()? - before;
        Ok(Sample {
            cpu_us: cpu * 1e6 / requests as f64,
            p50_us: outcome.quantile_us(0.5),
            p99_us: outcome.quantile_us(0.99),
            per_second: outcome.per_second(),
        })
    }
}

fn position(case: Case) -> usize {
    CASES.iter().position(|other| *other == case).unwrap_or(0)
}

/// Half of what the slower of baseline and fast door managed in the main case just now.
fn half_rate(targets: &[Target]) -> f64 {
    let last = |target: &Target| target.samples[position(MAIN)].last().map(|s| s.per_second);
    let slowest = targets[..2]
        .iter()
        .filter_map(last)
        .fold(f64::INFINITY, f64::min);
    slowest / 2.0
}

/// The median of the rounds' ratios to the baseline.
fn ratio(targets: &[Target], case: usize, target: usize, of: fn(&Sample) -> f64) -> f64 {
    let (own, base) = (&targets[target].samples[case], &targets[0].samples[case]);
    let ratios: Vec<f64> = own
        .iter()
        .zip(base)
        .map(|(own, base)| of(own) / of(base))
        .collect();
    median(&ratios)
}

fn describe(case: Case) -> String {
    let load = if case.half_load {
        "half load"
    } else {
        "full load"
    };
    format!(
        "{} item(s), {} connection(s), {load}",
        case.items, case.connections
    )
}

fn print(targets: &[Target], index: usize, case: Case, rounds: usize) {
    report::line(&format!(
        "hit, {}, medians of {rounds} rounds:\n",
        describe(case)
    ));
    let mut table = Table::new(&[
        "server",
        "CPU µs/request",
        "CPU ratio",
        "p50 ratio",
        "p99 ratio",
        "throughput ratio",
    ]);
    for (position, target) in targets.iter().enumerate() {
        let samples = &target.samples[index];
        if samples.is_empty() {
            continue;
        }
        let cpu: Vec<f64> = samples.iter().map(|sample| sample.cpu_us).collect();
        let ratio = |of| format!("{:.2}", ratio(targets, index, position, of));
        table.row([
            target.name.to_owned(),
            format!("{:.1}", median(&cpu)),
            ratio(|sample| sample.cpu_us),
            ratio(|sample| sample.p50_us),
            ratio(|sample| sample.p99_us),
            ratio(|sample| sample.per_second),
        ]);
    }
    table.print();
}
