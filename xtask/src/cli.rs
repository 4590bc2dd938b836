//! The command line: what can be asked for, and where each command lives.

use std::ffi::OsString;
use std::net::SocketAddr;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, value_parser};

use crate::cache::CacheDir;
use crate::checks::{self, Check};
use crate::components::{self, Components};
use crate::error::Error;
use crate::setup::onnxruntime::Build;
use crate::setup::{self, model};
use crate::steps::Progress;
use crate::workspace::Workspace;
use crate::{bench, fuzz, up};

const ENVIRONMENT: &str = "\
Environment:
  BRINK_CACHE        folder for what set-up fetches and builds (default: $XDG_CACHE_HOME/brink, else
                     ~/.cache/brink). It can be deleted at any time; its `downloads/` alone, too
  BRINK_ONNXRUNTIME  ONNX Runtime library to use instead of fetching one
  CARGO_TARGET_DIR   where cargo builds (default: target/)
  PIP_INDEX_URL, HTTPS_PROXY and the like are read by pip, which fetches everything
";

const EXAMPLES: &str = "\
Examples:
  cargo xtask up                              set up, build, and serve on 127.0.0.1:3000
  cargo xtask up --listen 127.0.0.1:8080      the same on another port
  cargo xtask up --gpu                        the same with models on a CUDA device
  cargo xtask models smollm2                  fetch and build a model that chats; `up` serves it then
  cargo xtask up -- --help                    every option of `brink up`
  cargo xtask test                            set up and run every check
  cargo xtask test --only clippy              repeat one check
  cargo xtask bench hit                       measure cached hits
  cargo xtask fuzz entry --seconds 600        look for stored bytes that break the reader of entries
";

const FUZZ: &str = "\
Needs a C++ compiler, for libFuzzer. Everything lies below target/fuzz/: `corpus/` (inputs found to be interesting, from
which the next run goes on), `artifacts/` (inputs that crashed a target) and `logs/`. Exit code 1 if a target crashed.

Environment:
  CARGO_TARGET_DIR   used instead of target/
  CARGO_BUILD_JOBS   how many compilers run at a time
";

/// Set-up and development commands of Brink.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = format!("{EXAMPLES}\n{ENVIRONMENT}"))]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sets up what is missing, builds components and host in release mode, and serves.
    #[command(after_help = ENVIRONMENT)]
    Up(UpArgs),
    /// Only sets up: Wasm target, ONNX Runtime, models. Downloads about 155 MB the first time.
    #[command(after_help = ENVIRONMENT)]
    Setup {
        /// Fetches the GPU build of ONNX Runtime (256 MB more), and says which CUDA libraries are missing.
        #[arg(long)]
        gpu: bool,
    },
    /// Fetches and builds models.
    #[command(after_help = ENVIRONMENT)]
    Models {
        /// The model to build; if left out, those that `up` sets up. `smollm2` is a model that chats: 93 MB to fetch,
        /// 650 MB on disk, 0.8 GB of memory.
        #[arg(value_parser = PossibleValuesParser::new(model::names()))]
        name: Option<String>,
        /// How its weights are kept, of a model that has the choice (smollm2: fp32, q4c, fp16). Default: the first.
        #[arg(long, requires = "name")]
        variant: Option<String>,
    },
    /// Builds the Wasm components into target/components/.
    Components,
    /// Sets up what is missing and runs every check; CI runs the same.
    #[command(visible_alias = "ci", after_help = ENVIRONMENT)]
    Test {
        /// Run this check only (with what it needs).
        #[arg(long, value_name = "CHECK")]
        only: Option<Check>,
    },
    /// Builds everything in release mode and runs one benchmark.
    #[command(after_help = ENVIRONMENT)]
    Bench(BenchArgs),
    /// Feeds made-up bytes to everything that reads bytes of others.
    #[command(after_help = FUZZ)]
    Fuzz(FuzzArgs),
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Address and port to serve on (default: server.listen in brink.toml, or 127.0.0.1:3000).
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Run models on the first CUDA device; see docs/gpu.md.
    #[arg(long)]
    pub(crate) gpu: bool,
    /// Options for `brink up`.
    #[arg(last = true)]
    pub(crate) brink_args: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// The benchmark: `hit`, `miss`, `classify`, `chat`, `latency`, `overload`, `soak`, `streams`, `waiting`, `neighbours` or
    /// `gpu` of the product; `decision` or `purge` of the rules. `chat` needs `cargo xtask models smollm2` first.
    pub(crate) name: String,
    /// Options of the benchmark.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) args: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct FuzzArgs {
    /// The target to run.
    #[arg(default_value = "all", value_parser = PossibleValuesParser::new(fuzz::names()))]
    pub(crate) target: String,
    /// How long each target runs, in seconds.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = value_parser!(u32).range(1..))]
    pub(crate) seconds: u32,
}

impl Cli {
    pub(crate) fn run(self) -> Result<(), Error> {
        let cache = CacheDir::from_environment()?;
        let workspace = Workspace::locate()?;
        match self.command {
            Command::Up(args) => up::run(&args, &cache, &workspace),
            Command::Setup { gpu } => set_up(
                &cache,
                setup::for_serving(&cache, &workspace, Build::for_gpu(gpu))?,
            ),
            Command::Models { name, variant } => set_up(
                &cache,
                setup::for_models(name.as_deref(), variant.as_deref(), &cache, &workspace)?,
            ),
            Command::Components => {
                Progress::new(1).run(&Components::new(components::SERVED, &workspace))
            }
            Command::Test { only } => checks::run(only, &cache, &workspace),
            Command::Bench(args) => bench::run(&args, &cache, &workspace),
            Command::Fuzz(args) => fuzz::run(&args, &workspace),
        }
    }
}

fn set_up(cache: &CacheDir, steps: setup::Steps) -> Result<(), Error> {
    setup::run(&steps, cache, &mut Progress::new(steps.len()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_names_examples_and_environment() {
        let help = Cli::command().render_long_help().to_string();
        for expected in [
            "cargo xtask up --listen",
            "BRINK_CACHE",
            "BRINK_ONNXRUNTIME",
        ] {
            assert!(help.contains(expected), "{expected} is missing in:\n{help}");
        }
    }

    #[test]
    fn options_after_two_dashes_belong_to_brink() {
        let cli = Cli::try_parse_from(["xtask", "up", "--", "--listen", "x"]).unwrap();
        let Command::Up(args) = cli.command else {
            panic!("not `up`: {cli:?}")
        };
        assert_eq!(args.brink_args, ["--listen", "x"]);
    }

    #[test]
    fn fuzzing_runs_every_target_for_a_minute_unless_told_otherwise() {
        let check = |arguments: &[&str], expected: Option<(&str, u32)>| {
            let arguments = ["xtask", "fuzz"].iter().chain(arguments);
            let found = Cli::try_parse_from(arguments).ok().map(|cli| cli.command);
            let found = found.map(|command| match command {
                Command::Fuzz(FuzzArgs { target, seconds }) => (target, seconds),
                other => panic!("not `fuzz`: {other:?}"),
            });
            let expected = expected.map(|(target, seconds)| (target.to_owned(), seconds));
            assert_eq!(found, expected);
        };
        check(&[], Some(("all", 60)));
        check(&["entry", "--seconds", "5"], Some(("entry", 5)));
        check(&["entry", "--seconds", "0"], None);
        check(&["no-such-target"], None);
    }
}
