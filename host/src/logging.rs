//! The log: text or JSON lines on standard error, written by a thread of its own.

use std::io::IsTerminal;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;

use crate::config::{Level, LogConfig};

/// Lines that wait for a slow reader; further ones are dropped, so that a stuck terminal never
/// stops a request.
const MAX_WAITING_LINES: usize = 16_384;

/// Starts the log. What waits is written when the guard is dropped.
///
/// The environment variable `RUST_LOG` wins over the configured level, for a single session of looking
/// closer.
pub fn start(config: LogConfig) -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(MAX_WAITING_LINES)
        .lossy(true)
        .finish(std::io::stderr());
    let level = match config.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(level.into())
        .from_env_lossy();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    // A second start in one process (tests) keeps the first log.
    let _ = if config.json {
        builder.json().try_init()
    } else {
        builder.try_init()
    };
    guard
}
