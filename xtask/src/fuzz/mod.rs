//! `cargo xtask fuzz`: feeds made-up bytes to everything that reads bytes of others.
//!
//! No nightly compiler and no sanitizer: stable rustc passes LLVM's counters of coverage on, libFuzzer is
//! linked in by `libfuzzer-sys`. What is looked for are panics, and inputs that take seconds or much memory.

mod report;

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) use report::Crash;
use report::{Report, table};

use crate::cli::FuzzArgs;
use crate::error::Error;
use crate::process;
use crate::steps::{Progress, Step};
use crate::workspace::Workspace;

/// Runs every target.
const ALL: &str = "all";

/// The files of `cache/fuzz/targets/`.
const TARGETS: [&str; 17] = [
    "api_keys",
    "cache_status",
    "canonical_json",
    "directives",
    "entry",
    "field_values",
    "freshness",
    "http_names",
    "http_record",
    "infer_request",
    "marks_stored",
    "picture",
    "policy_file",
    "policy_stored",
    "seal",
    "tenants_file",
    "tenants_stored",
];

/// Targets that need the host's crate, which takes minutes to build with counters.
const OF_THE_HOST: [&str; 1] = ["picture"];

/// Counters for every edge, and every comparison told to libFuzzer: without them it guesses blindly.
const FLAGS: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
];

/// Limits of one input: bytes, memory of the process, and seconds. Longer inputs than this find little, and
/// an edge that thinks for seconds about one is down.
const LIMITS: [&str; 3] = ["-max_len=65536", "-rss_limit_mb=2048", "-timeout=10"];

/// What can be asked for.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    TARGETS.into_iter().chain([ALL])
}

/// Builds the targets, runs those that are asked for one after the other, and tells how each went.
pub(crate) fn run(args: &FuzzArgs, workspace: &Workspace) -> Result<(), Error> {
    let chosen = |name: &&str| args.target == ALL || args.target == *name;
    let names: Vec<_> = TARGETS.into_iter().filter(chosen).collect();
    let mut progress = Progress::new(names.len() + 1);
    let with_host = names.iter().any(|name| OF_THE_HOST.contains(name));
    let build = Build::new(workspace, with_host)?;
    progress.run(&build)?;
    let mut reports = Vec::with_capacity(names.len());
    for name in names {
        let target = Target {
            name,
            seconds: args.seconds,
            build: &build,
        };
        // A crash of one target says nothing about the next.
        let survived = match progress.run(&target) {
            Ok(()) => true,
            Err(Error::ChildFailed { .. }) => false,
            Err(error) => return Err(error),
        };
        reports.push(target.report(survived)?);
    }
    eprint!("\n{}", table(&reports));
    let crashes: Vec<_> = reports
        .into_iter()
        .filter_map(|report| report.crash)
        .collect();
    if crashes.is_empty() {
        Ok(())
    } else {
        Err(Error::FuzzCrashes { crashes })
    }
}

/// Builds every target.
struct Build<'a> {
    workspace: &'a Workspace,
    /// The triple of this machine. Naming it keeps the flags away from build scripts and macros.
    triple: String,
    with_host: bool,
}

impl<'a> Build<'a> {
    fn new(workspace: &'a Workspace, with_host: bool) -> Result<Self, Error> {
        let mut command = workspace.cargo();
        command.arg("-vV");
        let output = process::read(&mut command)?;
        let Some(triple) = host_triple(&output).map(str::to_owned) else {
            let command = process::as_typed(&command);
            return Err(Error::ChildOutput { command, output });
        };
        Ok(Self {
            workspace,
            triple,
            with_host,
        })
    }

    fn binary(&self, name: &str) -> PathBuf {
        let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
        let folder = self.workspace.fuzz_dir().join(&self.triple);
        folder.join("release").join(file)
    }
}

impl Step for Build<'_> {
    fn title(&self) -> String {
        "fuzz targets".to_owned()
    }

    fn run(&self) -> Result<(), Error> {
        let mut cargo = self.workspace.cargo();
        cargo
            .args(["build", "--release"])
            .args(["--manifest-path", "cache/fuzz/Cargo.toml"])
            .args(["--target", &self.triple])
            .args(self.with_host.then_some("--features=host"))
            .arg("--target-dir")
            .arg(self.workspace.fuzz_dir())
            // Cargo would prefer this to the flags below.
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env("RUSTFLAGS", FLAGS.join(" "));
        process::run(&mut cargo)
    }
}

fn host_triple(cargo_version: &str) -> Option<&str> {
    let mut lines = cargo_version.lines();
    lines.find_map(|line| line.strip_prefix("host: "))
}

/// Runs one target. What it finds interesting is kept below the target folder, and is where the next run
/// goes on; its messages go to a file.
struct Target<'a> {
    name: &'static str,
    seconds: u32,
    build: &'a Build<'a>,
}

impl Target<'_> {
    fn folder(&self, kind: &str) -> PathBuf {
        let folder = self.build.workspace.fuzz_dir().join(kind);
        folder.join(self.name)
    }

    fn log(&self) -> PathBuf {
        self.folder("logs").with_extension("log")
    }

    fn command(&self, corpus: &Path, artifacts: &Path) -> Command {
        let seeds = self.build.workspace.root().join("cache/fuzz/seeds");
        // It ends in a separator, because it is a prefix of names and no folder.
        let mut artifact_prefix = OsString::from("-artifact_prefix=");
        artifact_prefix.push(artifacts.join(""));
        let mut command = Command::new(self.build.binary(self.name));
        command
            .args([corpus, &seeds.join(self.name)])
            .arg(format!("-max_total_time={}", self.seconds))
            .args(LIMITS)
            .arg("-print_final_stats=1")
            .arg(artifact_prefix);
        command
    }

    /// Reads what the run wrote. It may hold bytes of an input, and those need not be UTF-8.
    fn report(&self, survived: bool) -> Result<Report, Error> {
        let path = self.log();
        let log = fs::read(&path).map_err(Error::io("read", &path))?;
        let log = String::from_utf8_lossy(&log);
        let binary = self.build.binary(self.name);
        let crash = (!survived).then(|| Crash::read(self.name, &log, &binary));
        Ok(Report::read(self.name, &log, crash))
    }
}

impl Step for Target<'_> {
    fn title(&self) -> String {
        format!("fuzz {} for {} s", self.name, self.seconds)
    }

    fn run(&self) -> Result<(), Error> {
        let (corpus, artifacts) = (self.folder("corpus"), self.folder("artifacts"));
        let log = self.log();
        for folder in [
            corpus.as_path(),
            &artifacts,
            &self.build.workspace.fuzz_dir().join("logs"),
        ] {
            fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        }
        let messages = File::create(&log).map_err(Error::io("create", &log))?;
        let mut command = self.command(&corpus, &artifacts);
        process::run(command.stderr(messages))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of the entries of a folder below `cache/fuzz`, without their endings, in order.
    fn names_in(folder: &str) -> Vec<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cache/fuzz");
        let entries = fs::read_dir(root.join(folder)).unwrap();
        let name = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut names: Vec<_> = entries.map(|entry| name(entry.unwrap().path())).collect();
        names.sort();
        names
    }

    #[test]
    fn every_target_can_be_asked_for_and_has_seeds() {
        assert_eq!(names_in("targets"), TARGETS);
        assert_eq!(names_in("seeds"), TARGETS);
    }

    #[test]
    fn triple_is_read_from_what_cargo_says_of_itself() {
        let output = "cargo 1.95.0\nrelease: 1.95.0\nhost: x86_64-unknown-linux-gnu\n";
        assert_eq!(host_triple(output), Some("x86_64-unknown-linux-gnu"));
        assert_eq!(host_triple("cargo 1.95.0\n"), None);
    }
}
