//! What computing costs.
//!
//! Question: how much of what ONNX Runtime can do at its best reaches the client? Texts of
//! mixed length (mean 30 words, up to 110), each new, one per request on 64 connections or 32 per
//! request on 8 (`--items 32 --connections 8`). The
//! baseline runs the same texts in its own process straight through ONNX Runtime: one by one,
//! in batches of arrival order, and in batches of similar length, of which the best counts.
//! Rounds alternate. Read items per CPU-second of the serving process, and the ratio.
//!
//! With `--words N` all texts have N words, and the overhead is what counts: what HTTP, JSON, the component,
//! tokenising and queueing add to the CPU time of inference itself, one by one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use tokio::process::Command;

use crate::environment::{Environment, MODEL};
use crate::load::{Call, Connection, Load};
use crate::process::Server;
use crate::report::{self, Table, median};
use crate::texts;

/// Options of `miss`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    environment: Environment,
    /// The raw ONNX Runtime baseline: example `raw_onnxruntime` of brink-host
    #[arg(long, env = "BRINK_RAW_BASELINE")]
    baseline: PathBuf,
    /// Rounds; each measures the server and the baseline once
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Texts per round
    #[arg(long, default_value_t = 512)]
    texts: usize,
    /// Texts in one request
    #[arg(long, default_value_t = 1)]
    items: usize,
    /// Connections
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Words of every text, instead of mixed lengths
    #[arg(long)]
    words: Option<usize>,
    /// Seconds to wait at the end for the idle server to give memory back
    #[arg(long, default_value_t = 8)]
    idle_seconds: u64,
}

/// The way of the baseline that counts neither tokenising nor anything else around inference.
const RUNS_ALONE: &str = "runs alone";

impl Options {
    fn texts(&self, series: u64) -> Vec<String> {
        match self.words {
            None => texts::mixed(series, self.texts),
            Some(words) => texts::equal(series, self.texts, words),
        }
    }
}

/// Runs the benchmark. Its last line is `miss_cpu_ratio N`.
pub(crate) async fn run(options: Options) -> Result<()> {
    // One by one on both sides: batches of equal texts would hide the overhead that is asked for.
    let settings: &[&str] = if options.words.is_some() {
        &["batch.max_batch_items=1"]
    } else {
        &[]
    };
    let server = options.environment.start_brink(settings).await?;
    // The address is bound before the model is loaded: the first answer tells that it is.
    let call = Call::post(
        "/v1/embeddings",
        serde_json::json!({"model": MODEL, "input": "start"}).to_string(),
    );
    Connection::open(server.address).await?.send(&call).await?;
    let at_start = server.resident_mib()?;
    // The first batches of each size make the arena grow; no round should pay for that.
    measure_server(&server, &options, 1000).await?;
    let mut ours = Vec::new();
    let mut raw: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for round in 0..options.rounds {
        report::progress(&format!("miss: round {} of {}", round + 1, options.rounds));
        for (mode, rate) in measure_baseline(&options, round as u64).await? {
            raw.entry(mode).or_default().push(rate);
        }
        ours.push(measure_server(&server, &options, round as u64).await?);
    }
    let after_load = server.resident_mib()?;
    report::progress(&format!(
        "miss: waiting {} s for the idle server",
        options.idle_seconds
    ));
    tokio::time::sleep(Duration::from_secs(options.idle_seconds)).await;
    let after_idle = server.resident_mib()?;
    print(&options, &ours, &raw);
    report::line(&format!(
        "RSS of the server in MiB: {at_start:.0} at start, {after_load:.0} after the load, {after_idle:.0} after {} s idle\n",
        options.idle_seconds
    ));
    print_ratio(&ours, &raw);
    Ok(())
}

/// Items per CPU-second of the server.
async fn measure_server(server: &Server, options: &Options, series: u64) -> Result<f64> {
    let texts = options.texts(series);
    let call = |texts: &[String]| {
        let body = serde_json::json!({"model": MODEL, "input": texts, "encoding_format": "base64"});
        Call::post("/v1/embeddings", body.to_string())
    };
    let calls: Arc<[Call]> = texts.chunks(options.items.max(1)).map(call).collect();
    let requests = calls.len();
    let before = server.cpu_seconds()?;
    let load = Load {
        address: server.address,
        connections: options.connections,
        calls,
        rate: None,
    };
    load.run(requests).await?;
    Ok(options.texts as f64 / (server.cpu_seconds()? - before))
}

/// Items per CPU-second of ONNX Runtime alone, per way of batching.
async fn measure_baseline(options: &Options, series: u64) -> Result<Vec<(String, f64)>> {
    let file = std::env::temp_dir().join(format!("brink-bench-texts-{}", std::process::id()));
    std::fs::write(&file, serde_json::to_vec(&options.texts(series))?)?;
    let output = Command::new(&options.baseline)
        .arg(&options.environment.onnxruntime)
        .arg(options.environment.models.join(MODEL))
        .arg(&file)
        .output()
        .await
        .with_context(|| format!("{} does not start", options.baseline.display()));
    std::fs::remove_file(&file)?;
    let output = output?;
    ensure!(
        output.status.success(),
        "the baseline failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)?
        .lines()
        .map(|line| {
            let (mode, rate) = line
                .rsplit_once('\t')
                .context("unexpected line of the baseline")?;
            Ok((mode.to_owned(), rate.parse()?))
        })
        .collect()
}

fn best(raw: &BTreeMap<String, Vec<f64>>) -> f64 {
    served_ways(raw)
        .map(|rates| median(rates))
        .fold(f64::NAN, f64::max)
}

/// What a server could do at best: everything is counted.
fn served_ways(raw: &BTreeMap<String, Vec<f64>>) -> impl Iterator<Item = &Vec<f64>> {
    let whole = raw.iter().filter(|(way, _)| *way != RUNS_ALONE);
    whole.map(|(_, rates)| rates)
}

fn print(options: &Options, ours: &[f64], raw: &BTreeMap<String, Vec<f64>>) {
    report::line(&format!(
        "miss, {} texts a round, {} in a request, {} connections, medians of {} rounds:\n",
        options.texts, options.items, options.connections, options.rounds
    ));
    let mut table = Table::new(&["what", "items per CPU-second", "against the best raw"]);
    let best = best(raw);
    let mut row = |name: String, rate: f64| {
        table.row([name, format!("{rate:.1}"), format!("{:.2}", rate / best)])
    };
    row("brink up".to_owned(), median(ours));
    for (mode, rates) in raw {
        row(format!("raw ONNX Runtime, {mode}"), median(rates));
    }
    table.print();
}

/// The ratio of each round to the best raw way in the same round.
fn print_ratio(ours: &[f64], raw: &BTreeMap<String, Vec<f64>>) {
    let ratios: Vec<f64> = ours
        .iter()
        .enumerate()
        .map(|(round, rate)| {
            let whole = served_ways(raw).map(|rates| rates[round]);
            rate / whole.fold(f64::NAN, f64::max)
        })
        .collect();
    let alone = raw.get(RUNS_ALONE).map_or(&[][..], |rates| rates);
    let overheads: Vec<f64> = ours
        .iter()
        .zip(alone)
        .map(|(rate, alone)| alone / rate - 1.0)
        .collect();
    report::line(&format!(
        "over inference one by one: {:.1} %",
        median(&overheads) * 100.0
    ));
    report::line(&format!("miss_cpu_ratio {:.2}", median(&ratios)));
}
