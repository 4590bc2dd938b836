//! What waiting requests cost in memory.
//!
//! Question: how much does the server grow per 1,000 requests that wait for the model? Every
//! request brings a new text, so all wait in the batch queue; memory is read while they do.

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::environment::{Environment, MODEL};
use crate::load::{Call, Connection};
use crate::report;
use crate::texts;

/// Options of `waiting`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    environment: Environment,
    /// Requests that wait at the same time
    #[arg(long, default_value_t = 1000)]
    requests: usize,
}

/// How often memory is read.
const SAMPLE: Duration = Duration::from_millis(20);

/// Runs the benchmark. Its last line is `rss_mib_per_1000_waiting N`.
pub(crate) async fn run(options: Options) -> Result<()> {
    let room = options.requests + 64;
    let server = options
        .environment
        .start_brink(&[
            &format!("guest.max_instances={room}"),
            &format!("server.max_in_flight={room}"),
        ])
        .await?;
    Connection::open(server.address)
        .await?
        .send(&call("warm up"))
        .await?;
    let before = server.resident_mib()?;

    let mut connections = Vec::new();
    for _ in 0..options.requests {
        connections.push(Connection::open(server.address).await?);
    }
    let mut waiting = JoinSet::new();
    let start = Instant::now();
    for (mut connection, text) in connections
        .into_iter()
        .zip(texts::mixed(0, options.requests))
    {
        waiting.spawn(async move { connection.send(&call(&text)).await });
    }
    let mut peak = before;
    let mut answered = 0;
    while answered < options.requests {
        tokio::select! {
            Some(answer) = waiting.join_next() => {
                ensure!(answer?.is_ok(), "a waiting request was refused");
                answered += 1;
            }
            () = tokio::time::sleep(SAMPLE) => peak = peak.max(server.resident_mib()?),
        }
    }
    report::line(&format!(
        "{} requests waited up to {:.1} s; RSS {before:.0} MiB before, {peak:.0} MiB at most",
        options.requests,
        start.elapsed().as_secs_f64()
    ));
    let per_thousand = (peak - before) * 1000.0 / options.requests as f64;
    report::line(&format!("rss_mib_per_1000_waiting {per_thousand:.0}"));
    Ok(())
}

fn call(text: &str) -> Call {
    let body = serde_json::json!({"model": MODEL, "input": text, "encoding_format": "base64"});
    Call::post("/v1/embeddings", body.to_string())
}
