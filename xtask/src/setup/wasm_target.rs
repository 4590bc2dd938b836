//! The Rust target that components are compiled for.

use std::path::Path;
use std::process::Command;

use crate::components::TARGET;
use crate::error::Error;
use crate::process;
use crate::steps::{State, Step};

/// Adds the target to the toolchain in use.
pub(super) struct WasmTarget;

impl Step for WasmTarget {
    fn title(&self) -> String {
        format!("Wasm target {TARGET}")
    }

    /// Asks the compiler, not rustup: a Rust without rustup may have the target, too.
    fn state(&self) -> Result<State, Error> {
        let mut rustc = Command::new("rustc");
        let library = process::read(rustc.args(["--print", "target-libdir", "--target", TARGET]))?;
        Ok(if Path::new(library.trim()).is_dir() {
            State::AlreadyThere
        } else {
            State::Needed
        })
    }

    fn run(&self) -> Result<(), Error> {
        process::run(Command::new("rustup").args(["target", "add", TARGET]))
    }
}
