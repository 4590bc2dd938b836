//! `cargo xtask bench`: builds what is measured and what measures, and runs one benchmark.

use std::ffi::OsString;
use std::process::Command;

use crate::cache::CacheDir;
use crate::cli::BenchArgs;
use crate::components::{self, Components};
use crate::error::Error;
use crate::release::{RAW_BASELINE, RAW_DECODE, ReleaseBinary, WASI_COMMAND};
use crate::setup::onnxruntime::Build;
use crate::setup::{self, cuda};
use crate::steps::{Progress, Step};
use crate::workspace::Workspace;
use crate::{environment, process};

/// The benchmark that needs a model which writes, and that model, which is no part of the default set-up.
const CHAT: &str = "chat";
const WRITER: (&str, &str) = ("smollm2-135m-instruct", "smollm2");

/// Sets up, builds in release mode, and becomes `brink-bench NAME`; benchmarks of rules need no set-up.
pub(crate) fn run(args: &BenchArgs, cache: &CacheDir, workspace: &Workspace) -> Result<(), Error> {
    match args.name.as_str() {
        "decision" => return decision(workspace),
        "purge" => return rules(workspace, &["--bench", "purge"]),
        _ => {}
    }
    let is_chat = args.name == CHAT;
    if is_chat {
        // Before minutes are spent on building.
        require_writer(cache)?;
    }
    let build = Build::for_gpu(args.name == "gpu" && !on_processor(&args.args));
    let steps = setup::for_serving(cache, workspace, build)?;
    let mut progress = Progress::new(steps.len() + 4);
    setup::run(&steps, cache, &mut progress)?;
    progress.run(&Components::new(components::WITH_TEST_GUESTS, workspace))?;
    progress.run(&ReleaseBinary::host(workspace))?;
    progress.run(&ReleaseBinary::bench(workspace))?;
    progress.run(&if is_chat {
        ReleaseBinary::raw_decode(workspace)
    } else {
        ReleaseBinary::raw_baseline(workspace)
    })?;

    let examples = workspace.release_binary("examples");
    let mut bench = Command::new(workspace.release_binary("brink-bench"));
    bench
        .arg(&args.name)
        .args(&args.args)
        .envs(environment::exported(cache, workspace, build))
        .env("LD_LIBRARY_PATH", cuda::library_path(cache))
        .env("BRINK_BIN", workspace.release_binary("brink"))
        .env("BRINK_RAW_BASELINE", examples.join(RAW_BASELINE))
        .env("BRINK_RAW_DECODE", examples.join(RAW_DECODE));
    process::become_program(&mut bench)
}

fn require_writer(cache: &CacheDir) -> Result<(), Error> {
    let (model, short) = WRITER;
    let folder = cache.models().join(model);
    if folder.join("model.toml").is_file() {
        return Ok(());
    }
    Err(Error::BenchModelMissing {
        benchmark: CHAT,
        model,
        short,
        folder,
    })
}

/// Whether `bench gpu` is only rehearsed, with `--device cpu`.
fn on_processor(options: &[OsString]) -> bool {
    let after = options
        .windows(2)
        .any(|pair| pair[0] == "--device" && pair[1] == "cpu");
    after || options.iter().any(|option| option == "--device=cpu")
}

/// The cost of the rules on a hit: natively, and in the engine that runs components.
fn decision(workspace: &Workspace) -> Result<(), Error> {
    let mut progress = Progress::new(2);
    progress.run(&WasmExample {
        name: "decision",
        workspace,
    })?;
    progress.run(&ReleaseBinary::wasi_command(workspace))?;
    eprintln!("natively:");
    rules(workspace, &["--example", "decision"])?;
    eprintln!("as Wasm:");
    let runner = workspace.release_binary("examples").join(WASI_COMMAND);
    let wasm = workspace.wasm_example("decision");
    process::run(Command::new(runner).arg(wasm))
}

fn rules(workspace: &Workspace, which: &[&str]) -> Result<(), Error> {
    let bench = ["bench", "--package", "brink-cache"];
    process::run(workspace.cargo().args(bench).args(which))
}

/// An example of the cache crate, as a WASI command.
struct WasmExample<'a> {
    name: &'static str,
    workspace: &'a Workspace,
}

impl Step for WasmExample<'_> {
    fn title(&self) -> String {
        format!("{} as Wasm", self.name)
    }

    fn run(&self) -> Result<(), Error> {
        let options = ["build", "--release", "--package", "brink-cache", "--target"];
        let which = [components::TARGET, "--example", self.name];
        process::run(self.workspace.cargo().args(options).args(which))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use crate::setup::model;

    #[test]
    fn missing_writer_is_told_by_a_name_that_can_be_built() {
        let scratch = Scratch::new("writer");
        let cache = CacheDir::at(scratch.path());
        let error = require_writer(&cache).unwrap_err();
        let (name, short) = WRITER;
        assert!(error.to_string().contains(name), "{error}");
        assert!(model::names().contains(&short));
        let folder = cache.models().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("model.toml"), "").unwrap();
        assert!(require_writer(&cache).is_ok());
    }
}
