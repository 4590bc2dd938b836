//! What chats cost.
//!
//! Three questions, each with its baseline in the same run:
//!
//! 1. How much of what a bare decode loop does reaches readers? Sixteen chats at a time, streamed over HTTP/1.1, each
//!    with a prompt of its own (not even its beginning is shared) and `no-store`; when one ends the next one begins.
//!    Read written tokens per CPU-second, reading the prompts included, against the same prompts in `raw_decode` (one
//!    text at a time, and sixteen in two ways, of which the better one counts) and against the server with one chat at a
//!    time. Targets: 0.95 of the raw loop, 5 times one at a time.
//! 2. What does a long prompt do to others? Eight texts are written while prompts of some 1,500 tokens are read, one
//!    after another with pauses between them. Read the p99 of the time between two pieces of a text at its reader, while
//!    a long prompt is read and while none is. Target: at most twice.
//! 3. What does a known text cost? An answer of 200 tokens out of the cache, whole and as a stream, against the hit of an
//!    embedding. Read the time to the first byte and CPU per request, on one connection and on sixteen. Target: twice.

mod cached;
mod company;
mod long_prompt;
mod prompts;
mod raw;
mod written;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use http::Method;
use tokio::time::timeout;

use crate::environment::Environment;
use crate::load::{Call, Connection};
use crate::process::Server;
use crate::report;

/// The model that writes.
const MODEL: &str = "smollm2-135m-instruct";
/// Longest loading of all models, from when the server listens.
const LOADED: Duration = Duration::from_secs(120);
/// Longest time of one text.
const WRITTEN: Duration = Duration::from_secs(240);

/// Options of `chat`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    environment: Environment,
    /// The bare decode loop: example `raw_decode` of brink-host
    #[arg(long, env = "BRINK_RAW_DECODE")]
    baseline: PathBuf,
    /// Measures this part only
    #[arg(long)]
    only: Option<Part>,
    /// Rounds of the first and the last part; each measures every way once
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds in which chats begin; those that go on are waited for
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Chats at a time, and rows of the raw loop
    #[arg(long, default_value_t = 16)]
    chats: usize,
    /// Most tokens of a chat's answer
    #[arg(long, default_value_t = 64)]
    max_tokens: u32,
    /// Texts that are written while a long prompt is read
    #[arg(long, default_value_t = 8)]
    streams: usize,
    /// Long prompts, one after another
    #[arg(long, default_value_t = 6)]
    long_prompts: usize,
    /// Words of a long prompt, some 1.05 tokens each
    #[arg(long, default_value_t = 1420)]
    long_words: usize,
    /// Seconds before each long prompt, and after the last one, in which none is read
    #[arg(long, default_value_t = 10)]
    pause_seconds: u64,
    /// Requests of each measurement of cached answers
    #[arg(long, default_value_t = 4000)]
    requests: usize,
    /// Tokens of the cached answer
    #[arg(long, default_value_t = 200)]
    cached_tokens: u32,
}

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Chats at a time, against a bare decode loop
    Company,
    /// What a long prompt does to others
    LongPrompt,
    /// Answers out of the cache
    Cached,
}

impl Options {
    fn check(&self) -> Result<()> {
        let counts = [
            ("--rounds", self.rounds),
            ("--chats", self.chats),
            ("--max-tokens", self.max_tokens as usize),
            ("--streams", self.streams),
            ("--long-prompts", self.long_prompts),
            ("--requests", self.requests),
            ("--cached-tokens", self.cached_tokens as usize),
        ];
        for (name, count) in counts {
            ensure!(count > 0, "{name} is 0; at least 1 is needed");
        }
        let folder = self.environment.models.join(MODEL);
        ensure!(
            folder.join("model.toml").is_file(),
            "there is no {}; run: cargo xtask models smollm2",
            folder.display()
        );
        Ok(())
    }

    fn measures(&self, part: Part) -> bool {
        self.only.is_none_or(|only| only == part)
    }
}

/// Runs the benchmark. Its last lines are `chat_NAME N`.
pub(crate) async fn run(options: Options) -> Result<()> {
    options.check()?;
    let mut lines = Vec::new();
    if options.measures(Part::Company) {
        lines.extend(company::run(&options).await?);
    }
    if options.measures(Part::LongPrompt) {
        lines.extend(long_prompt::run(&options).await?);
    }
    if options.measures(Part::Cached) {
        lines.extend(cached::run(&options).await?);
    }
    lines.iter().for_each(|line| report::line(line));
    Ok(())
}

/// Starts the server and waits until its models are loaded: it listens before that.
async fn start(options: &Options, settings: &[&str]) -> Result<Server> {
    report::progress("chat: the server loads its models");
    let server = options.environment.start_brink(settings).await?;
    let models = Call {
        method: Method::GET,
        path: "/v1/models",
        body: Bytes::new(),
        content_type: "application/json",
    };
    let mut connection = Connection::open(server.address).await?;
    timeout(LOADED, connection.send(&models)).await??;
    Ok(server)
}
