//! Many chats at a time, against a bare decode loop and against one at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::raw::{self, ONE_BY_ONE, Raw};
use super::written::{self, Usage};
use super::{Options, prompts};
use crate::load::Connection;
use crate::process::Server;
use crate::report::{self, Table, median};

/// How often it is told how far a measurement is.
const TELL: Duration = Duration::from_secs(10);
/// Series of prompts that nothing else uses.
const WARM_UP: u64 = 1 << 16;
const ALONE: u64 = 1 << 17;

/// What the server did in one measurement.
#[derive(Clone, Copy, Debug)]
struct Served {
    texts: usize,
    usage: Usage,
    cpu_seconds: f64,
    elapsed: Duration,
}

impl Served {
    fn tokens_per_cpu(&self) -> f64 {
        self.usage.completion as f64 / self.cpu_seconds
    }
}

/// A measurement of every way.
struct Round {
    together: Served,
    alone: Served,
    raw: Vec<Raw>,
}

impl Round {
    /// Tokens per CPU-second of the loop at its best, with as many texts at a time.
    fn best_raw(&self) -> f64 {
        let together = self.raw.iter().filter(|raw| raw.way != ONE_BY_ONE);
        together.map(rate).fold(f64::NAN, f64::max)
    }

    fn against_raw(&self) -> f64 {
        self.together.tokens_per_cpu() / self.best_raw()
    }

    fn against_alone(&self) -> f64 {
        self.together.tokens_per_cpu() / self.alone.tokens_per_cpu()
    }
}

fn rate(raw: &Raw) -> f64 {
    raw.tokens as f64 / raw.cpu_seconds
}

pub(super) async fn run(options: &Options) -> Result<Vec<String>> {
    let server = super::start(options, &[]).await?;
    // Memory of every number of texts is taken once.
    let warm_up = Measurement {
        server: &server,
        options,
        chats: options.chats,
        series: WARM_UP,
        seconds: 1,
    };
    warm_up.run().await?;
    let mut rounds = Vec::new();
    for number in 0..options.rounds {
        let told = format!("chat: round {} of {}", number + 1, options.rounds);
        report::progress(&format!("{told}, {} at a time", options.chats));
        let together = Measurement {
            series: number as u64,
            seconds: options.seconds,
            ..warm_up
        };
        let served = together.run().await?;
        report::progress(&format!("{told}, the bare loop"));
        let same = (0..served.texts).map(|index| prompts::short(number as u64, index));
        let raw = raw::measure(options, &same.collect::<Vec<_>>()).await?;
        report::progress(&format!("{told}, one at a time"));
        let alone = Measurement {
            chats: 1,
            series: ALONE + number as u64,
            ..together
        };
        rounds.push(Round {
            together: served,
            alone: alone.run().await?,
            raw,
        });
    }
    print(options, &rounds);
    Ok(lines(&rounds))
}

/// Chats for some seconds.
#[derive(Clone, Copy)]
struct Measurement<'a> {
    server: &'a Server,
    options: &'a Options,
    chats: usize,
    series: u64,
    seconds: u64,
}

impl Measurement<'_> {
    /// All prompts that are begun are answered, so that prompts and tokens that are counted belong together.
    async fn run(&self) -> Result<Served> {
        let next = Arc::new(AtomicUsize::new(0));
        let (start, cpu) = (Instant::now(), self.server.process_cpu_seconds()?);
        let end = start + Duration::from_secs(self.seconds);
        let mut clients = JoinSet::new();
        for _ in 0..self.chats {
            let connection = Connection::open(self.server.address).await?;
            let chats = Chats {
                series: self.series,
                max_tokens: self.options.max_tokens,
                end,
                next: Arc::clone(&next),
            };
            clients.spawn(chats.run(connection));
        }
        let usage = together(&mut clients, &next, start).await?;
        ensure!(
            usage.cached == 0,
            "{} tokens of prompts were known already; each prompt was to be read whole",
            usage.cached
        );
        Ok(Served {
            texts: next.load(Ordering::Relaxed),
            usage,
            cpu_seconds: self.server.process_cpu_seconds()? - cpu,
            elapsed: start.elapsed(),
        })
    }
}

/// Waits for all clients, and tells how far they are.
async fn together(
    clients: &mut JoinSet<Result<Usage>>,
    next: &AtomicUsize,
    start: Instant,
) -> Result<Usage> {
    let mut usage = Usage::default();
    let mut tell = tokio::time::interval_at(start + TELL, TELL);
    loop {
        tokio::select! {
            client = clients.join_next() => match client {
                None => return Ok(usage),
                Some(client) => usage.add(client??),
            },
            _ = tell.tick() => report::progress(&format!(
                "chat: {} texts begun after {} s",
                next.load(Ordering::Relaxed),
                start.elapsed().as_secs()
            )),
        }
    }
}

/// One client: a chat after another, until the time is over.
struct Chats {
    series: u64,
    max_tokens: u32,
    end: Instant,
    next: Arc<AtomicUsize>,
}

impl Chats {
    async fn run(self, mut connection: Connection) -> Result<Usage> {
        let mut usage = Usage::default();
        while Instant::now() < self.end {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let conversation = prompts::short(self.series, number);
            let call = prompts::call(&conversation, self.max_tokens, true);
            let written = written::write(&mut connection, &call, |_| {}).await;
            usage.add(written.with_context(|| format!("chat {number}"))?);
        }
        Ok(usage)
    }
}

fn print(options: &Options, rounds: &[Round]) {
    report::line(&format!(
        "chat, at most {} tokens a text, chats begin for {} s, medians of {} rounds:\n",
        options.max_tokens, options.seconds, options.rounds
    ));
    let mut table = Table::new(&[
        "what",
        "texts",
        "tokens of a prompt",
        "tokens of a text",
        "tokens/s",
        "tokens per CPU-second",
        "against the best raw",
    ]);
    let best = middle(rounds, Round::best_raw);
    let name = format!("brink up, {} at a time", options.chats);
    table.row(served_row(name, rounds, best, |round| &round.together));
    let name = "brink up, one at a time".to_owned();
    table.row(served_row(name, rounds, best, |round| &round.alone));
    let ways = rounds.first().map_or(0, |round| round.raw.len());
    for way in 0..ways {
        table.row(raw_row(rounds, best, way));
    }
    table.print();
}

fn served_row(
    name: String,
    rounds: &[Round],
    best: f64,
    served: impl Fn(&Round) -> &Served,
) -> [String; 7] {
    let of = |value: fn(&Served) -> f64| middle(rounds, |round| value(served(round)));
    let rate = of(Served::tokens_per_cpu);
    [
        name,
        format!("{:.0}", of(|it| it.texts as f64)),
        format!("{:.1}", of(|it| it.usage.prompt as f64 / it.texts as f64)),
        format!(
            "{:.1}",
            of(|it| it.usage.completion as f64 / it.texts as f64)
        ),
        format!(
            "{:.1}",
            of(|it| it.usage.completion as f64 / it.elapsed.as_secs_f64())
        ),
        format!("{rate:.1}"),
        format!("{:.2}", rate / best),
    ]
}

fn raw_row(rounds: &[Round], best: f64, way: usize) -> [String; 7] {
    let of = |value: fn(&Raw) -> f64| middle(rounds, |round| value(&round.raw[way]));
    let name = rounds.first().map_or("", |round| &round.raw[way].way);
    [
        format!("raw loop, {name}"),
        format!("{:.0}", of(|raw| raw.texts as f64)),
        String::new(),
        format!("{:.1}", of(|raw| raw.tokens as f64 / raw.texts as f64)),
        String::new(),
        format!("{:.1}", of(rate)),
        format!("{:.2}", of(rate) / best),
    ]
}

fn middle(rounds: &[Round], value: impl Fn(&Round) -> f64) -> f64 {
    median(&rounds.iter().map(value).collect::<Vec<_>>())
}

fn lines(rounds: &[Round]) -> Vec<String> {
    let tokens = middle(rounds, |round| round.together.tokens_per_cpu());
    vec![
        format!("chat_tokens_per_cpu_second {tokens:.1}"),
        format!("chat_raw_ratio {:.2}", middle(rounds, Round::against_raw)),
        format!(
            "chat_one_at_a_time_ratio {:.2}",
            middle(rounds, Round::against_alone)
        ),
    ]
}
