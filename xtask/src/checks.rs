//! `cargo xtask test`: every check, each with its duration; CI runs the same.

use std::fmt;
use std::process::Command;

use clap::ValueEnum;

use crate::cache::CacheDir;
use crate::components::{self, Components};
use crate::error::Error;
use crate::setup::onnxruntime::Build;
use crate::steps::{Progress, State, Step};
use crate::workspace::Workspace;
use crate::{environment, process, setup, web};

/// One check; the order is the order in which they run: what fails fastest comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Check {
    /// Formatting.
    Fmt,
    /// The browser client: types, tests, size, and the chat page that is built from it.
    Web,
    /// Lints of the native build.
    Clippy,
    /// Lints of the components, as compiled for Wasm.
    ClippyWasm,
    /// Components, with the guests that the tests need.
    Components,
    /// Every test of the workspace.
    Tests,
    /// Examples in the documentation, which cargo-nextest does not run.
    Doctests,
    /// Licences, banned crates and sources of the dependencies.
    Deny,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().expect("no check is hidden");
        f.write_str(value.get_name())
    }
}

/// Sets up what is missing and runs the checks, or the one that is asked for.
pub(crate) fn run(
    only: Option<Check>,
    cache: &CacheDir,
    workspace: &Workspace,
) -> Result<(), Error> {
    let set_up = setup::for_tests(cache, workspace)?;
    let checks = selected(only);
    let mut progress = Progress::new(set_up.len() + checks.len());
    let result = setup::run(&set_up, cache, &mut progress).and_then(|()| {
        checks.into_iter().try_for_each(|check| {
            let step = CheckStep {
                check,
                cache,
                workspace,
            };
            progress.run(&step).map_err(|source| Error::CheckFailed {
                check,
                source: Box::new(source),
            })
        })
    });
    eprint!("\nSummary\n{}", progress.summary());
    result
}

/// All checks, or one and what it depends on: tests load the components.
fn selected(only: Option<Check>) -> Vec<Check> {
    match only {
        None => Check::value_variants().to_vec(),
        Some(Check::Tests) => vec![Check::Components, Check::Tests],
        Some(check) => vec![check],
    }
}

struct CheckStep<'a> {
    check: Check,
    cache: &'a CacheDir,
    workspace: &'a Workspace,
}

impl CheckStep<'_> {
    /// Whether cargo has this sub-command. None is installed here: that takes minutes, and is the user's choice.
    fn has(&self, subcommand: &str) -> bool {
        process::succeeds(self.workspace.cargo().args([subcommand, "--version"]))
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut cargo = self.workspace.cargo();
        cargo.args(arguments).envs(environment::exported(
            self.cache,
            self.workspace,
            Build::Cpu,
        ));
        cargo
    }

    fn clippy_wasm(&self) -> Command {
        let mut cargo = self.cargo(&["clippy", "--target", components::TARGET]);
        for component in components::WITH_TEST_GUESTS {
            cargo.args(["--package", component.package]);
        }
        cargo.args(["--", "-D", "warnings"]);
        cargo
    }

    fn tests(&self) -> Command {
        if self.has("nextest") {
            self.cargo(&["nextest", "run", "--workspace"])
        } else {
            self.cargo(&["test", "--workspace", "--lib", "--bins", "--tests"])
        }
    }
}

impl Step for CheckStep<'_> {
    fn title(&self) -> String {
        self.check.to_string()
    }

    fn state(&self) -> Result<State, Error> {
        let reason = match self.check {
            Check::Deny if !self.has("deny") => {
                Some("no cargo-deny (`cargo install --locked cargo-deny`)".to_owned())
            }
            Check::Web => web::cannot_run(),
            _ => None,
        };
        Ok(reason.map_or(State::Needed, State::Skipped))
    }

    fn run(&self) -> Result<(), Error> {
        let mut command = match self.check {
            Check::Fmt => self.cargo(&["fmt", "--all", "--check"]),
            Check::Web => return web::check(self.workspace),
            Check::Clippy => self.cargo(&[
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ]),
            Check::ClippyWasm => self.clippy_wasm(),
            Check::Components => {
                return Components::new(components::WITH_TEST_GUESTS, self.workspace).run();
            }
            Check::Tests => self.tests(),
            Check::Doctests => self.cargo(&["test", "--workspace", "--doc"]),
            // Not `advisories`: they change without a commit, and need a network.
            Check::Deny => self.cargo(&["deny", "check", "bans", "licenses", "sources"]),
        };
        process::run(&mut command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_check_brings_what_it_needs() {
        assert_eq!(selected(Some(Check::Fmt)), [Check::Fmt]);
        assert_eq!(
            selected(Some(Check::Tests)),
            [Check::Components, Check::Tests]
        );
        assert_eq!(selected(None).len(), Check::value_variants().len());
    }

    #[test]
    fn failed_check_says_how_to_repeat_it_alone() {
        let error = Error::CheckFailed {
            check: Check::ClippyWasm,
            source: Box::new(Error::NoHome),
        };
        assert!(
            error
                .remedy()
                .contains("cargo xtask test --only clippy-wasm")
        );
    }
}
