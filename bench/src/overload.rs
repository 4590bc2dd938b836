//! Three times what the host can do.
//!
//! Question: does the host go on doing what it can, answer those it accepts in time, and refuse the rest
//! at once with a time to come back? Capacity is measured first, by as many connections as keep it busy;
//! then requests are sent at a multiple of it, whether answers come or not. Read goodput against
//! capacity, how many of the accepted were late, how fast the refusals were, and the first request after.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use http::StatusCode;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::environment::{Environment, MODEL};
use crate::load::{Call, Connection, Load};
use crate::report::{self, Table};
use crate::texts;

/// Options of `overload`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    environment: Environment,
    /// Requests, as a multiple of the capacity
    #[arg(long, default_value_t = 3.0)]
    factor: f64,
    /// Seconds of overload
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Seconds in which the capacity is measured
    #[arg(long, default_value_t = 10)]
    capacity_seconds: u64,
    /// How long the edge waits for a result, in milliseconds: the deadline of every request
    #[arg(long, default_value_t = 2000)]
    deadline_ms: u64,
    /// Most requests in flight that the generator itself allows
    #[arg(long, default_value_t = 4000)]
    connections: usize,
}

/// What became of a request.
#[derive(Clone, Copy, Debug)]
struct Answer {
    status: StatusCode,
    has_retry_after: bool,
    took: Duration,
}

/// Runs the benchmark. Its last line is `overload_goodput_ratio N`.
pub(crate) async fn run(options: Options) -> Result<()> {
    let deadline = format!("upstream_timeout_ms={}", options.deadline_ms);
    let room = options.connections + 64;
    let settings = [
        format!("guest.max_instances={room}"),
        format!("server.max_in_flight={room}"),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let environment = &options.environment;
    let server = environment
        .start_brink_with(&settings, &[&deadline])
        .await?;
    let alone = first_answer(server.address, "before").await?;
    report::progress("overload: measuring the capacity");
    let capacity = capacity(server.address, options.capacity_seconds).await?;
    let before = server.resident_mib()?;
    report::progress(&format!(
        "overload: {:.0} requests a second for {} s, at a capacity of {capacity:.0}",
        capacity * options.factor,
        options.seconds
    ));
    let storm = storm(&options, server.address, capacity * options.factor);
    let mut peak = before;
    tokio::pin!(storm);
    let answers = loop {
        tokio::select! {
            answers = &mut storm => break answers?,
            () = tokio::time::sleep(Duration::from_millis(100)) => {
                peak = peak.max(server.resident_mib()?);
            }
        }
    };
    let after = first_answer(server.address, "after").await?;
    print(&options, capacity, &answers);
    report::line(&format!(
        "RSS in MiB: {before:.0} before, {peak:.0} at most\nfirst request: {:.1} ms before the storm, {:.1} ms right after it\n",
        millis(alone),
        millis(after)
    ));
    let good = in_time(&options, &answers);
    let ratio = good as f64 / options.seconds as f64 / capacity;
    report::line(&format!("overload_goodput_ratio {ratio:.2}"));
    Ok(())
}

fn call(series: u64, index: usize) -> Call {
    let text = texts::mixed(series * 1_000_003 + index as u64, 1).remove(0);
    let body = serde_json::json!({
        "model": MODEL, "input": format!("{text} {series} {index}"), "encoding_format": "base64"
    });
    Call::post("/v1/embeddings", body.to_string())
}

async fn first_answer(address: SocketAddr, text: &str) -> Result<Duration> {
    let body = serde_json::json!({"model": MODEL, "input": text, "encoding_format": "base64"});
    let call = Call::post("/v1/embeddings", body.to_string());
    let mut connection = Connection::open(address).await?;
    let start = Instant::now();
    connection.send(&call).await?;
    Ok(start.elapsed())
}

/// Answers per second of a closed loop that keeps the host busy.
async fn capacity(address: SocketAddr, seconds: u64) -> Result<f64> {
    let rate_of = async |series: u64, total: usize| -> Result<f64> {
        let calls: Arc<[Call]> = (0..total).map(|index| call(series, index)).collect();
        let load = Load {
            address,
            connections: 32,
            calls,
            rate: None,
        };
        Ok(load.run(total).await?.per_second())
    };
    let guess = rate_of(1, 256).await?;
    rate_of(2, (guess * seconds as f64) as usize).await
}

/// Sends at a rate, whether answers come or not.
async fn storm(options: &Options, address: SocketAddr, rate: f64) -> Result<Vec<Answer>> {
    let total = (rate * options.seconds as f64) as usize;
    let idle: Arc<Mutex<Vec<Connection>>> = Arc::default();
    let start = Instant::now();
    let mut sent = JoinSet::new();
    let mut answers = Vec::with_capacity(total);
    for index in 0..total {
        let due = start + Duration::from_secs_f64(index as f64 / rate);
        tokio::time::sleep_until(due).await;
        while sent.len() >= options.connections {
            answers.push(sent.join_next().await.context("a request")???);
        }
        let idle = idle.clone();
        sent.spawn(async move { ask(address, &idle, index).await });
        while let Some(answer) = sent.try_join_next() {
            answers.push(answer??);
        }
    }
    while let Some(answer) = sent.join_next().await {
        answers.push(answer??);
    }
    Ok(answers)
}

async fn ask(address: SocketAddr, idle: &Mutex<Vec<Connection>>, index: usize) -> Result<Answer> {
    let kept = idle.lock().await.pop();
    let mut connection = match kept {
        Some(connection) => connection,
        None => Connection::open(address).await?,
    };
    let call = call(3, index);
    let start = Instant::now();
    let response = connection.exchange(&call).await?;
    let answer = Answer {
        status: response.status(),
        has_retry_after: response.headers().contains_key("retry-after"),
        took: start.elapsed(),
    };
    idle.lock().await.push(connection);
    Ok(answer)
}

fn in_time(options: &Options, answers: &[Answer]) -> usize {
    let deadline = Duration::from_millis(options.deadline_ms);
    let good = |answer: &&Answer| answer.status.is_success() && answer.took <= deadline;
    answers.iter().filter(good).count()
}

fn print(options: &Options, capacity: f64, answers: &[Answer]) {
    report::line(&format!(
        "overload, {} requests in {} s, {} times a capacity of {capacity:.0} a second, deadline {} ms:\n",
        answers.len(),
        options.seconds,
        options.factor,
        options.deadline_ms
    ));
    let refused = |answer: &&Answer| {
        [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::SERVICE_UNAVAILABLE,
        ]
        .contains(&answer.status)
    };
    let answered = |answer: &&Answer| answer.status.is_success();
    let other = |answer: &&Answer| !answered(answer) && !refused(answer);
    let mut table = Table::new(&["what", "requests", "p50, ms", "p99, ms", "slowest, ms"]);
    let mut row = |name: &str, which: &dyn Fn(&&Answer) -> bool| {
        let mut times: Vec<Duration> = answers.iter().filter(which).map(|it| it.took).collect();
        times.sort_unstable();
        let at = |q: f64| {
            let index = (times.len().saturating_sub(1) as f64 * q).round() as usize;
            times.get(index).map_or(f64::NAN, |time| millis(*time))
        };
        let cells = [at(0.5), at(0.99), at(1.0)].map(|time| format!("{time:.1}"));
        let [p50, p99, slowest] = cells;
        table.row([name.to_owned(), times.len().to_string(), p50, p99, slowest]);
    };
    row("answered", &answered);
    row("refused with 429 or 503", &refused);
    row("refused without Retry-After", &|it| {
        refused(it) && !it.has_retry_after
    });
    row("anything else", &other);
    table.print();
    let late = answers.iter().filter(answered).count() - in_time(options, answers);
    report::line(&format!("answered after the deadline: {late}"));
    for status in [
        StatusCode::GATEWAY_TIMEOUT,
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::BAD_GATEWAY,
    ] {
        let count = answers.iter().filter(|it| it.status == status).count();
        if count > 0 {
            report::line(&format!("{status}: {count}"));
        }
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
