//! Thousands of clients that are streamed to.
//!
//! Question: how old is the oldest token of an update when it reaches the client, over WebSockets and over event
//! streams? The host's paced source stands in for the model, so that the transport is what is measured: for event streams
//! that is everything from the gateway's component on, for sockets the host's own. Targets:
//! 5,000 clients at 4 tokens a second on two cores without an error, p99 at most 120 ms; 2,000 clients at 100 tokens a
//! second, which is overload, p95 at most 200 ms, beside the same without merging ("every token") in the same run;
//! at most 40 MB of memory per 1,000 clients; a token on our own protocol in at most a tenth of the bytes of a
//! chunk of OpenAI's API.
//!
//! How to read it: ages are told in whole milliseconds of a clock that host and clients share. The clients run beside the
//! host on the same cores, so an age is an upper bound.

mod client;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use clap::Args;
use http::Method;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::environment::Environment;
use crate::load::{Call, Connection};
use crate::process::Server;
use crate::report::{self, Table};
use client::{Client, Phase, Transport};

/// Options of `streams`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    environment: Environment,
    /// Clients at 4 tokens a second
    #[arg(long, default_value_t = 5000)]
    clients: usize,
    /// Clients at 100 tokens a second
    #[arg(long, default_value_t = 2000)]
    overload_clients: usize,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 15)]
    seconds: u64,
}

/// Connections that are opened at a time: the system's backlog is short.
const OPENING: usize = 64;
/// Not counted: everybody begins.
const WARM_UP: Duration = Duration::from_secs(3);
/// Longer than sessions keep what they do not need (`inference.idle_shrink_after_ms`).
const SETTLE: Duration = Duration::from_secs(7);
/// Files that a process needs besides its connections.
const OTHER_FILES: usize = 256;

/// One measurement.
#[derive(Clone, Copy)]
struct Case {
    transport: Transport,
    clients: usize,
    rate: u32,
    every: bool,
}

/// What a measurement found.
struct Found {
    quantiles_ms: [f64; 3],
    tokens_per_update: f64,
    bytes_per_token: f64,
    tokens_per_second: f64,
    errors: usize,
    mib_per_thousand: f64,
    cpu_us_per_token: f64,
}

/// Runs the benchmark. Its last lines are `streams_NAME N`.
pub(crate) async fn run(options: Options) -> Result<()> {
    enough_files(options.clients.max(options.overload_clients))?;
    let mut table = Table::new(&[
        "transport",
        "clients x tokens/s",
        "sent",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "tokens/update",
        "bytes/token",
        "tokens/s",
        "CPU us/token",
        "errors",
        "MiB per 1,000",
    ]);
    let mut lines = Vec::new();
    for (name, case) in cases(&options) {
        report::progress(&format!("streams: {name}"));
        let found = measure(&options, case).await?;
        table.row(row(case, &found));
        lines.extend(told(name, &found));
    }
    table.print();
    lines.iter().for_each(|line| report::line(line));
    Ok(())
}

fn cases(options: &Options) -> Vec<(&'static str, Case)> {
    let calm = |transport| Case {
        transport,
        clients: options.clients,
        rate: 4,
        every: false,
    };
    let overload = |transport, every| Case {
        transport,
        clients: options.overload_clients,
        rate: 100,
        every,
    };
    vec![
        ("ws", calm(Transport::WebSocket)),
        ("sse", calm(Transport::Events)),
        ("sse_chunks", calm(Transport::Chunks)),
        ("ws_overload", overload(Transport::WebSocket, false)),
        ("ws_overload_every", overload(Transport::WebSocket, true)),
        ("sse_overload", overload(Transport::Events, false)),
        ("sse_overload_every", overload(Transport::Events, true)),
    ]
}

fn row(case: Case, found: &Found) -> Vec<String> {
    let [p50, p95, p99] = found.quantiles_ms.map(|age| format!("{age:.0}"));
    vec![
        case.transport.name().to_owned(),
        format!("{} x {}", case.clients, case.rate),
        if case.every { "every token" } else { "merged" }.to_owned(),
        p50,
        p95,
        p99,
        format!("{:.2}", found.tokens_per_update),
        format!("{:.1}", found.bytes_per_token),
        format!("{:.0}", found.tokens_per_second),
        format!("{:.1}", found.cpu_us_per_token),
        found.errors.to_string(),
        format!("{:.1}", found.mib_per_thousand),
    ]
}

fn told(name: &str, found: &Found) -> Vec<String> {
    let [_, p95, p99] = found.quantiles_ms;
    vec![
        format!("streams_{name}_p95_ms {p95:.0}"),
        format!("streams_{name}_p99_ms {p99:.0}"),
        format!("streams_{name}_errors {}", found.errors),
        format!(
            "streams_{name}_bytes_per_token {:.1}",
            found.bytes_per_token
        ),
        format!("streams_{name}_mib_per_1000 {:.1}", found.mib_per_thousand),
    ]
}

/// Opens all clients, lets them ask, and watches.
async fn measure(options: &Options, case: Case) -> Result<Found> {
    let server = start(options, case).await?;
    // The model gives back what loading it took.
    tokio::time::sleep(SETTLE).await;
    let before = server.resident_mib()?;
    let (phase, watched) = watch::channel(Phase::Opening);
    let tallies = Arc::<client::Tally>::default();
    let mut clients = open(&server, case, options.seconds, &watched, &tallies).await?;
    phase.send(Phase::Streaming).context("clients listen")?;
    tokio::time::sleep(WARM_UP).await;
    phase.send(Phase::Counted).context("clients listen")?;
    let (start, cpu) = (Instant::now(), server.cpu_seconds()?);
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    let (elapsed, cpu) = (start.elapsed(), server.cpu_seconds()? - cpu);
    let grown = server.resident_mib()? - before;
    phase.send(Phase::Over).context("clients listen")?;
    let mut errors = Vec::new();
    while let Some(ended) = clients.join_next().await {
        errors.extend(ended?.err());
    }
    if let Some(first) = errors.first() {
        report::progress(&format!(
            "streams: {} clients failed: {first:#}",
            errors.len()
        ));
    }
    let (tokens, updates) = (tallies.tokens(), tallies.updates());
    ensure!(tokens > 0, "no client got a token");
    Ok(Found {
        quantiles_ms: [0.5, 0.95, 0.99].map(|q| tallies.age_ms(q)),
        tokens_per_update: tokens as f64 / updates as f64,
        bytes_per_token: tallies.bytes() as f64 / tokens as f64,
        tokens_per_second: tokens as f64 / elapsed.as_secs_f64(),
        errors: errors.len(),
        mib_per_thousand: grown * 1000.0 / case.clients as f64,
        cpu_us_per_token: cpu * 1e6 / tokens as f64,
    })
}

async fn start(options: &Options, case: Case) -> Result<Server> {
    let room = case.clients + OTHER_FILES;
    let settings = [
        "live.paced_source=true".to_owned(),
        format!("live.max_sockets={room}"),
        // Clients of a benchmark do nothing but read.
        "live.ping_interval_ms=600000".to_owned(),
        format!("server.max_in_flight={room}"),
        format!("server.max_connections={room}"),
        format!("generate.max_kept={room}"),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let server = options.environment.start_brink(&settings).await?;
    // It listens before it serves. What the first request costs is none of the clients'.
    let models = Call {
        method: Method::GET,
        path: "/v1/models",
        body: Bytes::new(),
        content_type: "application/json",
    };
    Connection::open(server.address)
        .await?
        .send(&models)
        .await?;
    Ok(server)
}

async fn open(
    server: &Server,
    case: Case,
    seconds: u64,
    phase: &watch::Receiver<Phase>,
    tally: &Arc<client::Tally>,
) -> Result<JoinSet<Result<()>>> {
    let tokens = case.rate * u32::try_from(seconds + 60).unwrap_or(u32::MAX);
    let pace = format!(
        "{{\"rate\":{},\"tokens\":{tokens},\"every\":{}}}",
        case.rate, case.every
    );
    let mut clients = JoinSet::new();
    let mut opening = JoinSet::new();
    for number in 0..case.clients {
        if opening.len() >= OPENING {
            join(&mut opening, &mut clients, phase, tally).await?;
        }
        // Spread over the time between two tokens.
        let share = number as f64 / case.clients as f64 / f64::from(case.rate);
        let delay = Duration::from_secs_f64(share);
        opening.spawn(Client::open(
            server.address,
            case.transport,
            pace.clone(),
            delay,
        ));
    }
    while !opening.is_empty() {
        join(&mut opening, &mut clients, phase, tally).await?;
    }
    Ok(clients)
}

async fn join(
    opening: &mut JoinSet<Result<Client>>,
    clients: &mut JoinSet<Result<()>>,
    phase: &watch::Receiver<Phase>,
    tally: &Arc<client::Tally>,
) -> Result<()> {
    if let Some(client) = opening.join_next().await {
        let client = client?.context("opening a client")?;
        clients.spawn(client.run(phase.clone(), tally.clone()));
    }
    Ok(())
}

/// Whether this process, and the host that it starts, may open so many connections.
fn enough_files(clients: usize) -> Result<()> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    let soft = soft
        .and_then(|soft| soft.parse::<usize>().ok())
        .unwrap_or(usize::MAX);
    let wanted = clients + OTHER_FILES;
    ensure!(
        soft >= wanted,
        "{clients} clients need {wanted} open files, and {soft} are allowed; run: ulimit -n {wanted}"
    );
    Ok(())
}
