//! Memory under random shapes.
//!
//! Question: does memory stay flat? Texts of random length, in requests of random size, for minutes, with
//! pauses in which the host is idle. RSS is read all the time; what counts is the median of the last
//! minute against that of the third, after two minutes of warming up (target: at most 5 % more).

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::environment::{Environment, MODEL};
use crate::load::{Call, Connection};
use crate::process::Server;
use crate::report::{self, median};
use crate::texts::{Random, of_words};

/// Longest text, in words: within the model's limit of tokens.
const MOST_WORDS: usize = 200;
/// Most texts of one request.
const MOST_TEXTS: usize = 64;
/// How often memory is read.
const SAMPLE: Duration = Duration::from_millis(500);
/// What is compared at the beginning and at the end.
const WINDOW: Duration = Duration::from_secs(60);
/// Not counted: caches fill and the largest batches come for the first time.
const WARM_UP: Duration = Duration::from_secs(120);

/// Options of `soak`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    environment: Environment,
    /// Minutes, at least 5
    #[arg(long, default_value_t = 20)]
    minutes: u64,
    /// Connections
    #[arg(long, default_value_t = 8)]
    connections: usize,
}

/// Runs the benchmark. Its last line is `soak_rss_ratio N`.
pub(crate) async fn run(options: Options) -> Result<()> {
    // Stores so small that they are full when the measuring begins.
    let settings = ["key_value.max_mib=8", "results.max_mib=8"];
    let server = options.environment.start_brink(&settings).await?;
    let start = Instant::now();
    let end = start + Duration::from_secs(options.minutes.max(5) * 60);
    let mut clients = JoinSet::new();
    for client in 0..options.connections {
        let mut connection = Connection::open(server.address).await?;
        clients.spawn(async move {
            let mut random = Random::new(client as u64);
            let mut items = 0;
            while Instant::now() < end {
                let (call, count) = call(&mut random);
                connection.send(&call).await?;
                items += count;
            }
            anyhow::Ok(items)
        });
    }
    let samples = watch(&server, start, end).await?;
    let mut items = 0;
    while let Some(client) = clients.join_next().await {
        items += client??;
    }
    let of = |from: Duration| {
        let window = samples
            .iter()
            .filter(|(at, _)| (from..from + WINDOW).contains(at));
        median(&window.map(|(_, mib)| *mib).collect::<Vec<_>>())
    };
    let (first, last) = (of(WARM_UP), of(end - start - WINDOW));
    let peak = samples.iter().map(|(_, mib)| *mib).fold(0.0, f64::max);
    report::line(&format!(
        "soak, {} minutes, {items} texts of 1 to {MOST_WORDS} words in requests of 1 to {MOST_TEXTS}: RSS {first:.0} MiB in the third minute, {last:.0} MiB in the last, {peak:.0} MiB at most",
        options.minutes
    ));
    report::line(&format!("soak_rss_ratio {:.3}", last / first));
    Ok(())
}

fn call(random: &mut Random) -> (Call, usize) {
    // Small requests are common, large ones are not.
    let count = 1 + random.below(MOST_TEXTS).min(random.below(MOST_TEXTS));
    let most = 1 + random.below(MOST_WORDS);
    let texts: Vec<String> = (0..count)
        .map(|_| {
            let words = 1 + random.below(most);
            of_words(random, words)
        })
        .collect();
    let body = serde_json::json!({"model": MODEL, "input": texts, "encoding_format": "base64"});
    (Call::post("/v1/embeddings", body.to_string()), count)
}

async fn watch(server: &Server, start: Instant, end: Instant) -> Result<Vec<(Duration, f64)>> {
    let mut samples = Vec::new();
    let mut told = 0;
    while Instant::now() < end {
        tokio::time::sleep(SAMPLE).await;
        let at = start.elapsed();
        let mib = server.resident_mib()?;
        samples.push((at, mib));
        if at.as_secs() / 60 > told {
            told = at.as_secs() / 60;
            report::progress(&format!("soak: minute {told}, RSS {mib:.0} MiB"));
        }
    }
    Ok(samples)
}
