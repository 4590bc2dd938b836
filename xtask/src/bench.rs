//! `cargo xtask bench`: builds what is measured and what measures, and runs one benchmark.

use std::process::Command;

use crate::cache::CacheDir;
use crate::cli::BenchArgs;
use crate::components::{self, Components};
use crate::error::Error;
use crate::release::{RAW_BASELINE, ReleaseBinary};
use crate::steps::Progress;
use crate::workspace::Workspace;
use crate::{environment, process, setup};

/// Sets up, builds in release mode, and becomes `brink-bench NAME`.
pub(crate) fn run(args: &BenchArgs, cache: &CacheDir, workspace: &Workspace) -> Result<(), Error> {
    let steps = setup::for_serving(cache, workspace)?;
    let mut progress = Progress::new(steps.len() + 4);
    setup::run(&steps, cache, &mut progress)?;
    progress.run(&Components::new(components::WITH_TEST_GUESTS, workspace))?;
    progress.run(&ReleaseBinary::host(workspace))?;
    progress.run(&ReleaseBinary::bench(workspace))?;
    progress.run(&ReleaseBinary::raw_baseline(workspace))?;

    let mut bench = Command::new(workspace.release_binary("brink-bench"));
    bench
        .arg(&args.name)
        .args(&args.args)
        .envs(environment::exported(cache, workspace))
        .env("BRINK_BIN", workspace.release_binary("brink"))
        .env(
            "BRINK_RAW_BASELINE",
            workspace.release_binary("examples").join(RAW_BASELINE),
        );
    process::become_program(&mut bench)
}
