//! Native binaries in release mode.

use crate::error::Error;
use crate::process;
use crate::steps::Step;
use crate::workspace::Workspace;

/// The example that runs ONNX Runtime without a server.
pub(crate) const RAW_BASELINE: &str = "raw_onnxruntime";

/// The example that writes texts with ONNX Runtime and without a server.
pub(crate) const RAW_DECODE: &str = "raw_decode";

/// The example that runs a WASI command.
pub(crate) const WASI_COMMAND: &str = "wasi_command";

/// Builds one binary of one package.
pub(crate) struct ReleaseBinary<'a> {
    package: &'static str,
    /// `--bin` or `--example`.
    kind: &'static str,
    binary: &'static str,
    workspace: &'a Workspace,
}

impl<'a> ReleaseBinary<'a> {
    /// The host: everything that serves.
    pub(crate) fn host(workspace: &'a Workspace) -> Self {
        Self {
            package: "brink-host",
            kind: "--bin",
            binary: "brink",
            workspace,
        }
    }

    /// The benchmarks, which see the host only through the wire.
    pub(crate) fn bench(workspace: &'a Workspace) -> Self {
        Self {
            package: "brink-bench",
            kind: "--bin",
            binary: "brink-bench",
            workspace,
        }
    }

    /// The engine alone, for benchmarks of rules as Wasm.
    pub(crate) fn wasi_command(workspace: &'a Workspace) -> Self {
        Self {
            package: "brink-host",
            kind: "--example",
            binary: WASI_COMMAND,
            workspace,
        }
    }

    /// ONNX Runtime alone, which `bench miss` compares with.
    pub(crate) fn raw_baseline(workspace: &'a Workspace) -> Self {
        Self {
            package: "brink-host",
            kind: "--example",
            binary: RAW_BASELINE,
            workspace,
        }
    }

    /// A bare decode loop, which `bench chat` compares with.
    pub(crate) fn raw_decode(workspace: &'a Workspace) -> Self {
        Self {
            package: "brink-host",
            kind: "--example",
            binary: RAW_DECODE,
            workspace,
        }
    }
}

impl Step for ReleaseBinary<'_> {
    fn title(&self) -> String {
        format!("{} in release mode", self.binary)
    }

    fn run(&self) -> Result<(), Error> {
        let (package, binary) = (self.package, self.binary);
        process::run(self.workspace.cargo().args([
            "build",
            "--release",
            "--package",
            package,
            self.kind,
            binary,
        ]))
    }
}
