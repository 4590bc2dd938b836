//! The options of `brink warm-up`.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, value_parser};

use crate::warm_up::{Edge, EdgeError, List, Options};

const LIST_FORMAT: &str = "\
LIST is JSON Lines: each line is the body of a POST /v1/embeddings, such as
  {\"model\": \"all-MiniLM-L6-v2\", \"input\": [\"The cat sits outside\", \"I love pasta\"]}
A line has at most 16 MiB. Empty lines are skipped. A line that is no JSON object is counted as a
failure, and the rest goes on. Duplicates cost nothing: the edge computes each input once.

A request may take 60 s. One that is refused with 429 or 503 and a Retry-After is sent again after
that time, at most 60 s, up to 10 tries in all; any other failure is final.

The summary goes to standard output, progress and the first 10 failures to standard error. The exit
code is 1 if any line failed.

Examples:
  brink warm-up list.jsonl --url http://127.0.0.1:3000 --model NEW
  zcat list.gz | brink warm-up - --url https://edge.example --api-key-env BRINK_API_KEY";

/// `brink warm-up`
#[derive(Clone, Debug, Args)]
#[command(after_help = LIST_FORMAT)]
pub struct WarmUp {
    /// The recorded requests; - is standard input
    list: PathBuf,
    /// The edge, as http://HOST[:PORT][/PATH] or https://...; /v1/embeddings is added
    #[arg(long, value_name = "URL")]
    url: String,
    /// Takes the place of the member "model" of each body
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Environment variable that holds the API key
    #[arg(long, value_name = "VAR")]
    api_key_env: Option<String>,
    /// Most requests at the same time, 1 to 256
    #[arg(long, value_name = "N", default_value = "4", value_parser = value_parser!(u16).range(1..=256))]
    concurrency: u16,
}

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub enum WarmUpError {
    /// The list cannot be read.
    #[error("the list {} cannot be read", path.display())]
    List {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// There is no key.
    #[error("--api-key-env names {0}, which is not set or is no text")]
    NoKey(String),
    /// The URL or the key cannot be used.
    #[error(transparent)]
    Edge(#[from] EdgeError),
}

impl WarmUp {
    /// The list, opened.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn list(&self) -> Result<List, WarmUpError> {
        let path: &Path = &self.list;
        List::open(path).map_err(|source| WarmUpError::List {
            path: path.to_owned(),
            source,
        })
    }

    /// The edge. The key is asked of `variable`, by the name that was given.
    ///
    /// # Errors
    /// When the URL names no edge, or the key is missing or cannot be sent.
    pub fn edge(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Edge, WarmUpError> {
        let key = self.api_key_env.as_ref().map(|name| {
            let key = variable(name);
            key.ok_or_else(|| WarmUpError::NoKey(name.clone()))
        });
        let key = key.transpose()?;
        Ok(Edge::new(&self.url, key.as_deref())?)
    }

    /// How the list is sent; people who watch are told more often than a file.
    pub fn options(&self, watched: bool) -> Options {
        let concurrency = NonZeroUsize::new(self.concurrency.into());
        Options {
            model: self.model.clone(),
            concurrency: concurrency.unwrap_or(NonZeroUsize::MIN),
            progress_every: Duration::from_secs(if watched { 2 } else { 10 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parsed(options: &[&str]) -> Result<WarmUp, clap::Error> {
        let line = ["brink", "warm-up", "-", "--url", "http://a"];
        let line = line.iter().chain(options);
        match Cli::try_parse_from(line)?.command {
            Command::WarmUp(command) => Ok(command),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn concurrency_is_4_unless_given_and_has_bounds() {
        let check = |options: &[&str], wanted: Option<usize>| {
            let concurrency = parsed(options).map(|line| line.options(true).concurrency.get());
            assert_eq!(concurrency.ok(), wanted, "{options:?}");
        };
        check(&[], Some(4));
        check(&["--concurrency", "1"], Some(1));
        check(&["--concurrency", "256"], Some(256));
        check(&["--concurrency", "0"], None);
        check(&["--concurrency", "257"], None);
    }

    #[test]
    fn keys_come_from_the_named_variable() {
        let check = |options: &[&str], wanted: Option<&str>| {
            let variable = |name: &str| (name == "KEY").then(|| "sk-1".to_owned());
            let edge = parsed(options).unwrap().edge(variable);
            let problem = edge.err().map(|error| error.to_string());
            assert_eq!(problem.as_deref(), wanted);
        };
        check(&[], None);
        check(&["--api-key-env", "KEY"], None);
        let missing = "--api-key-env names OTHER, which is not set or is no text";
        check(&["--api-key-env", "OTHER"], Some(missing));
    }
}
