//! Running other programs, with errors that name the program.

use std::io;
use std::process::{Command, Output, Stdio};

use crate::error::Error;

/// Runs a program to its end. Its output goes to the terminal, so it shows its own progress.
pub(crate) fn run(command: &mut Command) -> Result<(), Error> {
    let status = command
        .status()
        .map_err(|source| cannot_start(command, source))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::ChildFailed {
        command: as_typed(command),
        status,
    })
}

/// Runs a quick program and returns what it printed; its complaints still go to the terminal.
pub(crate) fn read(command: &mut Command) -> Result<String, Error> {
    let Output { status, stdout, .. } = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| cannot_start(command, source))?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    Err(Error::ChildFailed {
        command: as_typed(command),
        status,
    })
}

/// Whether the program exists and succeeds; its output is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// Becomes the program: signals then reach it directly, so that Ctrl-C and SIGTERM drain it.
#[cfg(unix)]
pub(crate) fn become_program(command: &mut Command) -> Result<(), Error> {
    use std::os::unix::process::CommandExt;
    let source = command.exec();
    Err(cannot_start(command, source))
}

/// Without `exec`, the console sends Ctrl-C to both programs, and this one waits.
#[cfg(not(unix))]
pub(crate) fn become_program(command: &mut Command) -> Result<(), Error> {
    run(command)
}

/// The command as a reader would type it.
pub(crate) fn as_typed(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    // Cargo hands us the path of the toolchain's own binary; nobody types that.
    let program = if program.ends_with("/cargo") {
        "cargo"
    } else {
        &program
    };
    let mut typed = program.to_owned();
    for argument in command.get_args() {
        let argument = argument.to_string_lossy();
        typed.push(' ');
        if argument.contains(char::is_whitespace) {
            typed.push_str(&format!("'{argument}'"));
        } else {
            typed.push_str(&argument);
        }
    }
    typed
}

fn cannot_start(command: &Command, source: io::Error) -> Error {
    let program = command.get_program();
    if source.kind() == io::ErrorKind::NotFound {
        return Error::ProgramMissing {
            program: program.to_string_lossy().into_owned(),
        };
    }
    Error::io("start", program.as_ref())(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_program_is_named() {
        let error = run(&mut Command::new("brink-no-such-program")).unwrap_err();
        assert!(
            matches!(&error, Error::ProgramMissing { program } if program == "brink-no-such-program"),
            "{error:?}"
        );
    }

    #[test]
    fn failed_command_can_be_copied_and_repeated() {
        let mut command = Command::new("/toolchain/bin/cargo");
        command.args(["build", "--config", "a = 1"]);
        assert_eq!(as_typed(&command), "cargo build --config 'a = 1'");
    }
}
