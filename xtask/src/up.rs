//! `cargo xtask up`: from a fresh machine to a serving host.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use crate::cache::CacheDir;
use crate::cli::UpArgs;
use crate::components::{self, Components};
use crate::error::Error;
use crate::release::ReleaseBinary;
use crate::setup::onnxruntime::{self, Build};
use crate::setup::{self, cuda};
use crate::steps::Progress;
use crate::workspace::Workspace;
use crate::{port, process};

/// Sets up, builds, and becomes `brink up`.
pub(crate) fn run(args: &UpArgs, cache: &CacheDir, workspace: &Workspace) -> Result<(), Error> {
    if let Some(address) = listen_address(args, workspace) {
        port::require_free(address)?;
    }
    let steps = setup::for_serving(cache, workspace, Build::for_gpu(args.gpu))?;
    let mut progress = Progress::new(steps.len() + 2);
    setup::run(&steps, cache, &mut progress)?;
    progress.run(&Components::new(components::SERVED, workspace))?;
    progress.run(&ReleaseBinary::host(workspace))?;
    process::become_program(&mut brink_up(args, cache, workspace))
}

/// Where `brink` will listen, as far as it is known before the build: a settings file may say otherwise.
fn listen_address(args: &UpArgs, workspace: &Workspace) -> Option<SocketAddr> {
    let settled = !workspace.root().join("brink.toml").is_file() && args.brink_args.is_empty();
    args.listen
        .or_else(|| settled.then(|| (Ipv4Addr::LOCALHOST, 3000).into()))
}

/// Paths are absolute and the working folder is the caller's, so that relative paths among the caller's own
/// options keep their meaning.
fn brink_up(args: &UpArgs, cache: &CacheDir, workspace: &Workspace) -> Command {
    let mut command = Command::new(workspace.release_binary("brink"));
    command
        .arg("up")
        .arg("--manifest")
        .arg(workspace.root().join("spin.toml"))
        .arg("--models")
        .arg(cache.models())
        .arg("--onnxruntime")
        .arg(onnxruntime::library(cache, Build::for_gpu(args.gpu)));
    if let Some(address) = args.listen {
        command.arg("--listen").arg(address.to_string());
    }
    let config = workspace.root().join("brink.toml");
    if args.gpu {
        command.env("LD_LIBRARY_PATH", cuda::library_path(cache));
        let settings = std::fs::read_to_string(&config).unwrap_or_default();
        if !device_is_given(&args.brink_args, &settings) {
            command.args(["--set", "inference.device=cuda"]);
        }
    }
    if config.is_file() {
        command.arg("--config").arg(config);
    } else {
        // A component that is compiled once starts at once the next time; a settings file decides for itself.
        let compiled = cache.compiled_components();
        command
            .arg("--set")
            .arg(format!("guest.cache_dir={}", compiled.display()));
    }
    command.args(&args.brink_args);
    command
}

/// Whether the caller says where models run: on the command line, in the settings file, or in another that is named.
fn device_is_given(options: &[OsString], settings: &str) -> bool {
    let named = options.iter().any(|option| {
        let option = option.to_string_lossy();
        option.contains("inference.device") || option.starts_with("--config")
    });
    let mut section = "";
    let in_file = settings.lines().map(str::trim).any(|line| {
        if line.starts_with('[') {
            section = line;
        }
        let key = line.split('=').next().unwrap_or_default().trim();
        (section == "[inference]" && key == "device") || key == "inference.device"
    });
    named || in_file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_of_the_caller_is_left_alone() {
        let check = |options: &[&str], settings: &str, expected: bool| {
            let options: Vec<OsString> = options.iter().map(OsString::from).collect();
            let given = device_is_given(&options, settings);
            assert_eq!(given, expected, "{options:?} {settings}");
        };
        check(&[], "", false);
        check(
            &["--set", "inference.sessions=2"],
            "[log]\ndevice = 1",
            false,
        );
        check(&["--set", "inference.device=cpu"], "", true);
        check(&["--config=x.toml"], "", true);
        check(&[], "[inference]\n# a comment\ndevice = \"cuda:1\"", true);
        check(
            &[],
            "[inference]\n# device = \"cpu\"\n[log]\nlevel = \"warn\"",
            false,
        );
    }
}
