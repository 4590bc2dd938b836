//! What can go wrong, and what the reader can type to mend it.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use crate::checks::Check;

/// A failed command. Each variant carries what its message and its remedy need.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no folder for the cache: neither BRINK_CACHE nor HOME is set")]
    NoHome,

    #[error("cannot {action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },

    #[error("{} has {free_mib} MiB free; this step needs {needed_mib} MiB", path.display())]
    DiskFull {
        path: PathBuf,
        free_mib: u64,
        needed_mib: u64,
    },

    #[error("there is no program {program} on the PATH")]
    ProgramMissing { program: String },

    #[error("python3 is Python {major}.{minor}; 3.9 or newer is needed")]
    PythonTooOld { major: u32, minor: u32 },

    #[error("python3 can neither create an environment with pip (no ensurepip) nor run pip")]
    PythonWithoutPip,

    #[error("pip could not fetch {wanted}; its message is above")]
    Pip { wanted: String, retry: &'static str },

    #[error("`{command}` failed ({status})")]
    ChildFailed { command: String, status: ExitStatus },

    #[error("`{command}` printed something unexpected: {output}")]
    ChildOutput { command: String, output: String },

    #[error("the converter of {model} failed; its message is above")]
    Converter {
        model: &'static str,
        python: PathBuf,
    },

    #[error("{} has the wrong checksum: expected sha256 {expected}, got {found}", path.display())]
    Checksum {
        path: PathBuf,
        expected: String,
        found: String,
    },

    #[error("cannot read {member} in {}", path.display())]
    Wheel {
        path: PathBuf,
        member: &'static str,
        #[source]
        source: zip::result::ZipError,
    },

    #[error("no pinned ONNX Runtime for {os} on {arch}, only for Linux on x86_64 and aarch64")]
    UnsupportedPlatform {
        os: &'static str,
        arch: &'static str,
    },

    #[error("BRINK_ONNXRUNTIME names {}, which is not a file", .0.display())]
    NoSuchLibrary(PathBuf),

    #[error("{0} is in use")]
    PortInUse(SocketAddr),

    #[error("cannot listen on {address}")]
    CannotListen {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },

    #[error("check `{check}` failed")]
    CheckFailed {
        check: Check,
        #[source]
        source: Box<Error>,
    },
}

impl Error {
    /// For `map_err`: the action and the path, which [`io::Error`] leaves out.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    /// The command that mends it. The match has no `_` arm on purpose: a new variant does not compile until
    /// someone has thought about its remedy.
    pub(crate) fn mend(&self) -> String {
        match self {
            Self::NoHome => "set BRINK_CACHE to a folder you can write to".to_owned(),
            Self::Io { path, source, .. } => mend_io(path, source),
            Self::DiskFull { path, .. } => free_space(path),
            Self::ProgramMissing { program } => install(program),
            Self::PythonTooOld { .. } => install("python3"),
            Self::PythonWithoutPip => "install venv and pip for Python 3 (Debian, Ubuntu: `apt-get install python3-venv`)".to_owned(),
            Self::Pip { retry, .. } => format!(
                "check the network (pip reads HTTPS_PROXY and PIP_INDEX_URL), then repeat `{retry}`; it goes on where it stopped"
            ),
            Self::ChildFailed { command, .. } => format!("see its message above; to repeat it alone: `{command}`"),
            Self::ChildOutput { command, .. } => format!("run `{command}` and see what it says"),
            Self::Converter { model, python } => format!("`rm -r {} && cargo xtask models {model}`", python.display()),
            Self::Checksum { path, .. } => format!("`rm {}`, then repeat the command: it is fetched again", path.display()),
            Self::Wheel { path, .. } => format!("`rm {}`, then repeat the command", path.display()),
            Self::UnsupportedPlatform { .. } => {
                "set BRINK_ONNXRUNTIME to the path of an ONNX Runtime library, version 1.31 or newer".to_owned()
            }
            Self::NoSuchLibrary(_) => "correct it, or `unset BRINK_ONNXRUNTIME` to have the library fetched".to_owned(),
            Self::PortInUse(address) => format!("stop what listens there, or `cargo xtask up --listen {}`", neighbour(*address)),
            Self::CannotListen { .. } => "choose another address: `cargo xtask up --listen 127.0.0.1:3000`".to_owned(),
            Self::CheckFailed { check, .. } => format!("see its message above; to repeat it alone: `cargo xtask test --only {check}`"),
        }
    }
}

fn mend_io(path: &Path, source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => free_space(path),
        io::ErrorKind::PermissionDenied => format!(
            "make {} writable for you, or set BRINK_CACHE to another folder",
            path.display()
        ),
        _ => "repeat the command; it goes on where it stopped".to_owned(),
    }
}

fn free_space(path: &Path) -> String {
    format!(
        "free space (`df -h {}`), or set BRINK_CACHE to a folder on another disk, then repeat the command",
        path.display()
    )
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
    let port = address
        .port()
        .checked_add(100)
        .unwrap_or(address.port() - 100);
    SocketAddr::new(address.ip(), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_remedy_names_what_to_type() {
        let wheel = PathBuf::from("/cache/downloads/x.whl");
        let check = |error: Error, expected: &str| {
            let mend = error.mend();
            assert!(mend.contains(expected), "{error}: {mend}");
        };
        check(
            Error::Checksum {
                path: wheel,
                expected: "aa".into(),
                found: "bb".into(),
            },
            "rm /cache/downloads/x.whl",
        );
        check(
            Error::PortInUse(([127, 0, 0, 1], 3000).into()),
            "cargo xtask up --listen 127.0.0.1:3100",
        );
        check(Error::PythonWithoutPip, "apt-get install python3-venv");
        check(
            Error::ProgramMissing {
                program: "python3".into(),
            },
            "apt-get install python3",
        );
        check(
            Error::io("write", Path::new("/cache/x"))(io::ErrorKind::StorageFull.into()),
            "df -h /cache/x",
        );
    }

    #[test]
    fn wrong_checksum_tells_path_and_both_sums() {
        let error = Error::Checksum {
            path: "/x.whl".into(),
            expected: "aa".into(),
            found: "bb".into(),
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
