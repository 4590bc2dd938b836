//! What a cached answer costs.
//!
//! Question: how much server CPU, and how much waiting, does the sandbox add to a hit? Three
//! servers take turns within each round, so that noise on the machine meets all of them:
//! the gateway component under `brink up`, the same rules as a native axum handler over moka,
//! and a static file of the size of the answer. Read the ratios; absolute times mean little.

use std::sync::Arc;

use anyhow::{Result, ensure};
use bytes::Bytes;
use clap::Args;
use http::Method;

use crate::environment::{Environment, MODEL};
use crate::load::{self, Call, Connection};
use crate::process::Server;
use crate::report::{self, Table, median};

/// Options of `hit`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    environment: Environment,
    /// Rounds; each measures every server once at every number of connections
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Requests per measurement
    #[arg(long, default_value_t = 6000)]
    requests: usize,
    /// Items per request
    #[arg(long, default_value_t = 1)]
    items: usize,
}

/// One connection shows the latency, sixteen the cost under load.
const CONNECTIONS: [usize; 2] = [1, 16];
/// An access shows up in the accounting with 10 ms; a measurement must be long against that.
const WARM_UP: usize = 500;

struct Target {
    name: &'static str,
    server: Server,
    calls: Arc<Vec<Call>>,
    /// Per number of connections.
    samples: [Samples; CONNECTIONS.len()],
}

#[derive(Default)]
struct Samples {
    cpu_us: Vec<f64>,
    p50_us: Vec<f64>,
    p99_us: Vec<f64>,
    per_second: Vec<f64>,
}

/// Runs the benchmark. Its last line is `hit_cpu_ratio N`.
pub(crate) async fn run(options: Options) -> Result<()> {
    let mut targets = start(&options).await?;
    for round in 1..=options.rounds {
        report::progress(&format!("hit: round {round} of {}", options.rounds));
        for target in &mut targets {
            measure(target, options.requests).await?;
        }
    }
    print(&targets, &options);
    Ok(())
}

async fn start(options: &Options) -> Result<Vec<Target>> {
    let call = Call::post("/v1/embeddings", request_body(options.items));
    let brink = options.environment.start_brink(&[]).await?;
    let size = warm(&brink, &call).await?.len();
    let native = options.environment.start_native(size).await?;
    ensure!(
        warm(&native, &call).await?.len() > size / 2,
        "the baseline answers with as much"
    );
    let file_server = options.environment.start_native(size).await?;
    let file = Call {
        method: Method::GET,
        path: "/file",
        body: Bytes::new(),
    };
    let target = |name, server, call: &Call| Target {
        name,
        server,
        calls: Arc::new(vec![call.clone()]),
        samples: Default::default(),
    };
    Ok(vec![
        target("native axum + moka", native, &call),
        target("component under brink up", brink, &call),
        target("static file (axum)", file_server, &file),
    ])
}

fn request_body(items: usize) -> String {
    let texts: Vec<String> = (0..items)
        .map(|index| format!("the quick brown fox jumps over the lazy dog {index}"))
        .collect();
    serde_json::json!({"model": MODEL, "input": texts, "encoding_format": "base64"}).to_string()
}

/// Fills the cache, and gives the answer of a hit.
async fn warm(server: &Server, call: &Call) -> Result<Bytes> {
    let mut connection = Connection::open(server.address).await?;
    connection.send(call).await?;
    connection.send(call).await
}

async fn measure(target: &mut Target, requests: usize) -> Result<()> {
    for (connections, samples) in CONNECTIONS.into_iter().zip(&mut target.samples) {
        let address = target.server.address;
        load::run(address, connections, WARM_UP, target.calls.clone()).await?;
        let before = target.server.cpu_seconds()?;
        let outcome = load::run(address, connections, requests, target.calls.clone()).await?;
        let cpu = target.server.cpu_seconds()? - before;
        samples.cpu_us.push(cpu * 1e6 / requests as f64);
        samples.p50_us.push(outcome.quantile_us(0.5));
        samples.p99_us.push(outcome.quantile_us(0.99));
        samples.per_second.push(outcome.per_second());
    }
    Ok(())
}

fn print(targets: &[Target], options: &Options) {
    let native = &targets[0];
    for (index, connections) in CONNECTIONS.into_iter().enumerate() {
        report::line(&format!(
            "hit, {} item(s), {connections} connection(s), medians of {} rounds:\n",
            options.items, options.rounds
        ));
        let mut table = Table::new(&[
            "server",
            "CPU µs/request",
            "CPU ratio",
            "p50 µs",
            "p50 ratio",
            "p99 µs",
            "p99 ratio",
            "requests/s",
        ]);
        let base = &native.samples[index];
        for target in targets {
            let samples = &target.samples[index];
            let with_ratio = |of: fn(&Samples) -> &Vec<f64>| {
                let value = median(of(samples));
                let ratios: Vec<f64> = of(samples)
                    .iter()
                    .zip(of(base))
                    .map(|(a, b)| a / b)
                    .collect();
                [format!("{value:.1}"), format!("{:.2}", median(&ratios))]
            };
            let mut cells = vec![target.name.to_owned()];
            cells.extend(with_ratio(|samples| &samples.cpu_us));
            cells.extend(with_ratio(|samples| &samples.p50_us));
            cells.extend(with_ratio(|samples| &samples.p99_us));
            cells.push(format!("{:.0}", median(&samples.per_second)));
            table.row(cells);
        }
        table.print();
    }
    let loaded = CONNECTIONS.len() - 1;
    let ratios: Vec<f64> = targets[1].samples[loaded]
        .cpu_us
        .iter()
        .zip(&native.samples[loaded].cpu_us)
        .map(|(a, b)| a / b)
        .collect();
    report::line(&format!("hit_cpu_ratio {:.2}", median(&ratios)));
}
