//! `cargo xtask`: sets a fresh machine up, and runs, tests and measures Brink.
//!
//! Every command is a list of [`steps`]. A step says what it does, is skipped when its result is already
//! there, can be interrupted at any moment, and fails with the command that mends it.

mod bench;
mod cache;
mod checks;
mod cli;
mod components;
mod environment;
mod error;
mod fuzz;
mod port;
mod process;
mod release;
mod remedy;
#[cfg(test)]
mod scratch;
mod setup;
mod steps;
mod up;
mod web;
mod workspace;

use std::error::Error as _;
use std::process::ExitCode;

use clap::Parser;

use crate::error::Error;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

/// Prints the error, what caused it, and what to type now.
fn report(error: &Error) {
    eprintln!("\nerror: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        eprintln!("  because: {cause}");
        source = cause.source();
    }
    eprintln!("  to mend it: {}", error.remedy());
}
