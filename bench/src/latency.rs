//! What batching does to latency.
//!
//! Question: at half of what one-by-one service can do, is the p99 with batching worse than without?
//! The same host twice, with its defaults and with `batch.max_batch_items=1`, at the same rate; rounds
//! alternate. Read the ratio of p99 (target 1.2 at most).

use std::sync::Arc;

use anyhow::Result;
use clap::Args;

use crate::environment::{Environment, MODEL};
use crate::load::{Call, Load, Outcome};
use crate::process::Server;
use crate::report::{self, Table, median};
use crate::texts;

/// Options of `latency`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    environment: Environment,
    /// Rounds; each measures both servers once
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Texts per round
    #[arg(long, default_value_t = 1024)]
    texts: usize,
    /// Connections
    #[arg(long, default_value_t = 64)]
    connections: usize,
}

/// Runs the benchmark. Its last line is `latency_p99_ratio N`.
pub(crate) async fn run(options: Options) -> Result<()> {
    let batched = options.environment.start_brink(&[]).await?;
    let single = options
        .environment
        .start_brink(&["batch.max_batch_items=1"])
        .await?;
    for server in [&batched, &single] {
        measure(server, &options, 1000, None).await?;
    }
    let capacity = measure(&single, &options, 1001, None).await?.per_second();
    let rate = Some(capacity / 2.0);
    let mut rows: [Vec<Outcome>; 2] = [Vec::new(), Vec::new()];
    for round in 0..options.rounds {
        report::progress(&format!(
            "latency: round {} of {}",
            round + 1,
            options.rounds
        ));
        rows[0].push(measure(&single, &options, round as u64, rate).await?);
        rows[1].push(measure(&batched, &options, round as u64, rate).await?);
    }
    print(&options, capacity, &rows);
    Ok(())
}

async fn measure(
    server: &Server,
    options: &Options,
    series: u64,
    rate: Option<f64>,
) -> Result<Outcome> {
    let call = |text: String| {
        let body = serde_json::json!({"model": MODEL, "input": text, "encoding_format": "base64"});
        Call::post("/v1/embeddings", body.to_string())
    };
    let calls: Arc<[Call]> = texts::mixed(series, options.texts)
        .into_iter()
        .map(call)
        .collect();
    let load = Load {
        address: server.address,
        connections: options.connections,
        calls,
        rate,
    };
    load.run(options.texts).await
}

fn print(options: &Options, capacity: f64, [single, batched]: &[Vec<Outcome>; 2]) {
    report::line(&format!(
        "latency, {} texts a round at half of {capacity:.0} a second, {} connections, medians of {} rounds:\n",
        options.texts, options.connections, options.rounds
    ));
    let mut table = Table::new(&[
        "quantile",
        "one by one, ms",
        "batched, ms",
        "ratio of each round, median",
    ]);
    let mut p99 = f64::NAN;
    for (name, q) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)] {
        let of = |outcomes: &[Outcome]| -> Vec<f64> {
            outcomes
                .iter()
                .map(|it| it.quantile_us(q) / 1000.0)
                .collect()
        };
        let (single, batched) = (of(single), of(batched));
        let ratios: Vec<f64> = batched.iter().zip(&single).map(|(b, s)| b / s).collect();
        p99 = median(&ratios);
        table.row([
            name.to_owned(),
            format!("{:.1}", median(&single)),
            format!("{:.1}", median(&batched)),
            format!("{p99:.2}"),
        ]);
    }
    table.print();
    report::line(&format!("latency_p99_ratio {p99:.2}"));
}
