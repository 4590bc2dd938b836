//! Settings: `brink.toml`, then `--set section.key=value` on top.
//!
//! `brink.example.toml` lists every setting with its default, unit and consequence; a test holds it
//! against what is read here. All mistakes are told at once.

mod reader;
mod sections;

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::batch::BatchConfig;
use crate::generate::GenerateConfig;
use crate::guest::GuestConfig;
use crate::inference::InferenceConfig;
use crate::live::LiveConfig;
use crate::results::ResultsConfig;
use crate::server::ServerConfig;
use crate::service::{RepositoryConfig, ServiceConfig};
use crate::telemetry::TelemetryConfig;

pub use reader::{Mistake, Reader, Setting};

/// Every setting of the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `[server]`: listeners and connections.
    pub server: ServerConfig,
    /// `[guest]`, `[guest_body]` and `[outbound]`: what components may use.
    pub guest: GuestConfig,
    /// `[key_value]`: memory of each key-value store, in bytes.
    pub key_value_bytes: u64,
    /// `[inference]`: where and how models run.
    pub inference: InferenceConfig,
    /// `[batch]`: how batches are formed.
    pub batch: BatchConfig,
    /// `[generate]`: how texts are written.
    pub generate: GenerateConfig,
    /// `[results]`: what the host remembers.
    pub results: ResultsConfig,
    /// `[service]`: limits of calls.
    pub service: ServiceConfig,
    /// `[models]`: which are served, and how long they stay in memory.
    pub models: RepositoryConfig,
    /// `[live]`: WebSockets.
    pub live: LiveConfig,
    /// `[log]`: what is written about requests.
    pub log: LogConfig,
    /// `[telemetry]`: traces.
    pub telemetry: TelemetryConfig,
}

/// What the log looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// JSON objects instead of text.
    pub json: bool,
    /// Least severe level that is written.
    pub level: Level,
}

/// Severity, from least to most text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Only failures.
    Error,
    /// And what needs attention.
    Warn,
    /// And a line per request.
    Info,
    /// And every ended connection.
    Debug,
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("the settings file {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file is no TOML.
    #[error("the settings file {} is no valid TOML", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: toml::de::Error,
    },
    /// `--set` is not understood.
    #[error("--set {0:?} is not understood; section.key=value is wanted")]
    Override(String),
    /// Settings that do not exist or have a wrong value.
    #[error("{} wrong in the settings:\n{}", count(.0.len()), list(.0))]
    Wrong(Vec<Mistake>),
}

fn count(mistakes: usize) -> String {
    if mistakes == 1 {
        "one thing is".to_owned()
    } else {
        format!("{mistakes} things are")
    }
}

fn list(mistakes: &[Mistake]) -> String {
    let lines: Vec<String> = mistakes
        .iter()
        .map(|mistake| format!("  {mistake}"))
        .collect();
    lines.join("\n")
}

impl Settings {
    /// Reads the file, if there is one, and applies the overrides.
    pub fn load(file: Option<&Path>, overrides: &[String]) -> Result<Self, SettingsError> {
        let mut table = match file {
            Some(path) => parse(path)?,
            None => Table::new(),
        };
        for one in overrides {
            apply(&mut table, one).ok_or_else(|| SettingsError::Override(one.clone()))?;
        }
        let (settings, _, mistakes) = Self::read(table);
        if mistakes.is_empty() {
            Ok(settings)
        } else {
            Err(SettingsError::Wrong(mistakes))
        }
    }

    /// The settings in a table, which settings there are, and what is wrong.
    pub fn read(table: Table) -> (Self, Vec<Setting>, Vec<Mistake>) {
        let mut reader = Reader::new(table);
        let generate = sections::generate(&mut reader);
        let live = sections::live(&mut reader);
        let settings = Self {
            server: sections::server(&mut reader),
            guest: sections::guest(&mut reader),
            key_value_bytes: sections::key_value(&mut reader),
            inference: sections::inference(&mut reader),
            batch: sections::batch(&mut reader),
            results: sections::results(&mut reader),
            service: sections::service(&mut reader, &generate, &live),
            generate,
            models: sections::models(&mut reader),
            live,
            log: sections::log(&mut reader),
            telemetry: sections::telemetry(&mut reader),
        };
        let (known, mistakes) = reader.finish();
        (settings, known, mistakes)
    }
}

fn parse(path: &Path) -> Result<Table, SettingsError> {
    let path = path.to_owned();
    let text = std::fs::read_to_string(&path).map_err(|source| SettingsError::Read {
        path: path.clone(),
        source,
    })?;
    text.parse()
        .map_err(|source| SettingsError::Syntax { path, source })
}

/// `section.key=value`; a value that is no TOML counts as text, so that quotes are not needed.
fn apply(table: &mut Table, text: &str) -> Option<()> {
    let (name, value) = text.split_once('=')?;
    let (section, key) = name.trim().split_once('.')?;
    let parsed = format!("v = {value}")
        .parse::<Table>()
        .ok()
        .and_then(|mut one| one.remove("v"));
    let value = parsed.unwrap_or_else(|| Value::String(value.trim().to_owned()));
    let section = table
        .entry(section)
        .or_insert_with(|| Value::Table(Table::new()));
    section.as_table_mut()?.insert(key.to_owned(), value);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../../brink.example.toml");

    fn example() -> Table {
        EXAMPLE.parse().expect("the example is valid TOML")
    }

    #[test]
    fn example_lists_every_setting_with_its_default() {
        let (settings, known, mistakes) = Settings::read(example());
        assert_eq!(mistakes, []);
        let (defaults, ..) = Settings::read(Table::new());
        assert_eq!(settings, defaults, "the example states the defaults");
        let example = example();
        for setting in known {
            let (section, key) = setting.name.split_once('.').unwrap();
            let shown = example.get(section).and_then(|table| table.get(key));
            assert!(
                shown.is_some(),
                "{} is not in brink.example.toml",
                setting.name
            );
        }
    }

    #[test]
    fn overrides_win_over_the_file() {
        let mut table = "[server]\nmax_in_flight = 7".parse().unwrap();
        apply(&mut table, "server.max_in_flight=9").unwrap();
        apply(&mut table, "log.level=warn").unwrap();
        apply(&mut table, "server.listen=127.0.0.1:9").unwrap();
        let (settings, _, mistakes) = Settings::read(table);
        assert_eq!(mistakes, []);
        assert_eq!(settings.server.max_in_flight, 9);
        assert_eq!(settings.log.level, Level::Warn);
        assert_eq!(settings.server.listen.port(), 9);
    }

    #[test]
    fn mistakes_of_all_sections_are_told_at_once() {
        let overrides = [
            "server.max_in_flight=0",
            "batch.max_padding_ratio=0.5",
            "guest.max_memory_mib=1",
            "nonsense.key=1",
        ]
        .map(str::to_owned);
        let error = Settings::load(None, &overrides).unwrap_err().to_string();
        for name in [
            "server.max_in_flight",
            "batch.max_padding_ratio",
            "guest.max_memory_mib",
            "nonsense",
        ] {
            assert!(error.contains(name), "{name} is missing in: {error}");
        }
        let error = Settings::load(None, &["x".to_owned()])
            .unwrap_err()
            .to_string();
        assert!(error.contains("section.key=value"), "{error}");
        let missing = Settings::load(Some(Path::new("no/such/file")), &[]).unwrap_err();
        assert!(missing.to_string().contains("no/such/file"));
    }
}
