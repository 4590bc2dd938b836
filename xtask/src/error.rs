//! What can go wrong. What mends it is in [`crate::remedy`].

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use crate::checks::Check;
use crate::fuzz::Crash;
use crate::setup::model::LabelsError;

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
        environment: PathBuf,
    },

    #[error("--variant is none of {model}'s")]
    NoSuchVariant {
        model: &'static str,
        variants: &'static [&'static str],
    },

    #[error("bench {benchmark} needs the model {model}, and there is no {}", folder.display())]
    BenchModelMissing {
        benchmark: &'static str,
        model: &'static str,
        /// What `cargo xtask models` calls it.
        short: &'static str,
        folder: PathBuf,
    },

    #[error("{model} has no usable labels")]
    Labels {
        model: &'static str,
        #[source]
        source: LabelsError,
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

    #[error("the CUDA provider cannot load {}", missing.join(", "))]
    CudaMissing {
        missing: Vec<&'static str>,
        folder: PathBuf,
    },

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

    #[error("{} of the fuzz targets crashed", crashes.len())]
    FuzzCrashes { crashes: Vec<Crash> },
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
}
