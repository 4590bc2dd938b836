//! An answer out of the cache, against the hit of an embedding.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::written::Usage;
use super::{Options, WRITTEN, prompts};
use crate::environment::MODEL;
use crate::load::{Call, Connection};
use crate::process::Server;
use crate::report::{self, Table, median};

/// Longest measurement of one way.
const LONGEST: Duration = Duration::from_secs(120);
/// Longest time from an answer to when it is found in the cache.
const STORED: Duration = Duration::from_secs(30);
/// How often it is looked for.
const POLL: Duration = Duration::from_millis(50);
/// Prompts that are tried for an answer of the wanted length.
const TRIES: usize = 20;
const SERIES: u64 = 1 << 20;
/// By how much the lengths of equal answers may differ: the id ends with a count
/// of requests, and a stream repeats it in each chunk.
const OWN_BYTES: usize = 64;
const CONNECTIONS: [usize; 2] = [1, 16];
/// What `cache-status` says of an answer that no host was asked for.
const HIT: &str = "brink-edge; hit";

/// What is asked for.
struct Way {
    name: &'static str,
    /// In the last lines; `None` for the baseline.
    key: Option<&'static str>,
    call: Call,
    bytes: usize,
}

/// What asking for it took.
#[derive(Clone, Copy, Debug)]
struct Found {
    first_us: [f64; 2],
    cpu_us: f64,
    per_second: f64,
}

pub(super) async fn run(options: &Options) -> Result<Vec<String>> {
    let server = super::start(options, &[]).await?;
    let ways = ways(&server, options).await?;
    let mut table = Table::new(&[
        "answer",
        "bytes",
        "connections",
        "first byte, p50 us",
        "p99 us",
        "CPU us",
        "requests/s",
        "first byte, ratio",
        "CPU, ratio",
    ]);
    let mut lines = Vec::new();
    for connections in CONNECTIONS {
        // Connections and instances are new once.
        for way in &ways {
            measure(&server, way, connections, options.requests / 4).await?;
        }
        let mut rounds = Vec::new();
        for round in 0..options.rounds {
            report::progress(&format!(
                "chat: cached answers, {connections} connections, round {} of {}",
                round + 1,
                options.rounds
            ));
            let mut found = Vec::new();
            for way in &ways {
                found.push(measure(&server, way, connections, options.requests).await?);
            }
            rounds.push(found);
        }
        for (index, way) in ways.iter().enumerate() {
            lines.extend(told(&mut table, way, connections, (&rounds, index)));
        }
    }
    report::line(&format!(
        "cached answer of {} tokens, {} requests, medians of {} rounds; ratios to the embedding in the same round:\n",
        options.cached_tokens, options.requests, options.rounds
    ));
    table.print();
    Ok(lines)
}

/// Makes all answers known. The first is the baseline.
async fn ways(server: &Server, options: &Options) -> Result<Vec<Way>> {
    let mut connection = Connection::open(server.address).await?;
    let body = serde_json::json!({"model": MODEL, "input": "a text that is known", "encoding_format": "base64"});
    let embedding = Call::post("/v1/embeddings", body.to_string());
    let mut ways = vec![known(&mut connection, "embedding", None, embedding).await?];
    let (whole, streamed) = answer(&mut connection, options).await?;
    let key = Some("cached");
    ways.push(known(&mut connection, "chat, whole", key, whole).await?);
    let key = Some("cached_stream");
    ways.push(known(&mut connection, "chat, streamed", key, streamed).await?);
    Ok(ways)
}

/// The calls for an answer with as many tokens as are wanted.
async fn answer(connection: &mut Connection, options: &Options) -> Result<(Call, Call)> {
    let wanted = options.cached_tokens;
    report::progress(&format!("chat: an answer of {wanted} tokens is written"));
    for number in 0..TRIES {
        let conversation = prompts::endless(SERIES, number);
        let call = prompts::call(&conversation, wanted, false);
        let answer = timeout(WRITTEN, connection.send(&call)).await??;
        let usage = Usage::of(&serde_json::from_slice::<Value>(&answer)?);
        let usage = usage.context("an answer without `usage`")?;
        if usage.completion == u64::from(wanted) {
            return Ok((call, prompts::call(&conversation, wanted, true)));
        }
    }
    bail!("none of {TRIES} answers has {wanted} tokens");
}

/// Asks until the answer comes out of the cache.
async fn known(
    connection: &mut Connection,
    name: &'static str,
    key: Option<&'static str>,
    call: Call,
) -> Result<Way> {
    let found = timeout(STORED, async {
        loop {
            let answer = connection.exchange(&call).await?;
            let (status, body) = (answer.status(), answer.body());
            ensure!(
                status.is_success(),
                "{status}: {}",
                String::from_utf8_lossy(body)
            );
            let told = answer.headers().get("cache-status");
            let told = told.and_then(|told| told.to_str().ok()).unwrap_or("");
            if told.contains(HIT) {
                return Ok(body.len());
            }
            tokio::time::sleep(POLL).await;
        }
    });
    let found = found.await;
    let bytes = found.with_context(|| format!("{name}: not cached after {STORED:?}"))??;
    Ok(Way {
        name,
        key,
        call,
        bytes,
    })
}

async fn measure(server: &Server, way: &Way, connections: usize, requests: usize) -> Result<Found> {
    let measured = timeout(LONGEST, ask(server, way, connections, requests)).await;
    measured.with_context(|| format!("{}: not done after {LONGEST:?}", way.name))?
}

/// So many requests in all, one at a time on each connection.
async fn ask(server: &Server, way: &Way, connections: usize, requests: usize) -> Result<Found> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(Connection::open(server.address).await?);
    }
    let (start, cpu) = (Instant::now(), server.cpu_seconds()?);
    let mut clients = JoinSet::new();
    for mut connection in open {
        let (call, next, bytes) = (way.call.clone(), Arc::clone(&next), way.bytes);
        clients.spawn(async move {
            let mut firsts = Vec::new();
            while next.fetch_add(1, Ordering::Relaxed) < requests {
                firsts.push(first_byte(&mut connection, &call, bytes).await?);
            }
            anyhow::Ok(firsts)
        });
    }
    let mut firsts = Vec::with_capacity(requests);
    while let Some(client) = clients.join_next().await {
        firsts.extend(client??);
    }
    let (elapsed, cpu) = (start.elapsed(), server.cpu_seconds()? - cpu);
    firsts.sort_unstable();
    let quantile = |q: f64| {
        let index = (firsts.len().saturating_sub(1) as f64 * q).round() as usize;
        firsts
            .get(index)
            .map_or(f64::NAN, |first| first.as_secs_f64() * 1e6)
    };
    let count = firsts.len() as f64;
    Ok(Found {
        first_us: [quantile(0.5), quantile(0.99)],
        cpu_us: cpu * 1e6 / count,
        per_second: count / elapsed.as_secs_f64(),
    })
}

/// Time to the first byte of the body. The rest is read, and has to be about as long as it was.
async fn first_byte(connection: &mut Connection, call: &Call, bytes: usize) -> Result<Duration> {
    let sent = Instant::now();
    let response = connection.begin(call, &[]).await?;
    let status = response.status();
    ensure!(status.is_success(), "a cached answer has status {status}");
    let mut body = response.into_body();
    let (mut first, mut read) = (None, 0);
    while let Some(frame) = body.frame().await {
        let data: Bytes = frame?.into_data().unwrap_or_default();
        if !data.is_empty() {
            first.get_or_insert_with(|| sent.elapsed());
        }
        read += data.len();
    }
    ensure!(
        read.abs_diff(bytes) <= OWN_BYTES,
        "a cached answer has {read} bytes, and had {bytes}"
    );
    first.context("a cached answer without a body")
}

/// Adds a row, and gives the last lines.
fn told(
    table: &mut Table,
    way: &Way,
    connections: usize,
    (rounds, index): (&[Vec<Found>], usize),
) -> Vec<String> {
    let of = |value: fn(&Found) -> f64| {
        let all: Vec<f64> = rounds.iter().map(|round| value(&round[index])).collect();
        let ratios = rounds.iter();
        let ratios = ratios.map(|round| value(&round[index]) / value(&round[0]));
        (median(&all), median(&ratios.collect::<Vec<_>>()))
    };
    let (first, first_ratio) = of(|found| found.first_us[0]);
    let (cpu, cpu_ratio) = of(|found| found.cpu_us);
    table.row([
        way.name.to_owned(),
        way.bytes.to_string(),
        connections.to_string(),
        format!("{first:.0}"),
        format!("{:.0}", of(|found| found.first_us[1]).0),
        format!("{cpu:.1}"),
        format!("{:.0}", of(|found| found.per_second).0),
        format!("{first_ratio:.2}"),
        format!("{cpu_ratio:.2}"),
    ]);
    way.key.map_or_else(Vec::new, |key| {
        vec![
            format!("chat_{key}_first_byte_ratio_{connections} {first_ratio:.2}"),
            format!("chat_{key}_cpu_ratio_{connections} {cpu_ratio:.2}"),
        ]
    })
}
