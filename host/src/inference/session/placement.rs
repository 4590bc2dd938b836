//! Where the nodes of a model really run.
//!
//! ONNX Runtime gives a node to the processor when the device has no kernel for it, and says so in its log
//! only. What can be asked without that is the profile of a run: it names the provider of each node. So the
//! first session on a device is profiled while it is warmed, and never after.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;

use serde::Deserialize;
use tempfile::TempDir;

use crate::inference::device::Device;

/// Most lines of a profile that are read: far more than the largest model has nodes.
const MAX_LINES: usize = 1_000_000;

/// A profile that is being taken.
#[derive(Debug)]
pub(crate) struct Probe {
    folder: TempDir,
}

/// How many nodes ran, by provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement(BTreeMap<String, usize>);

/// The part of an event of a profile that is read here.
#[derive(Deserialize)]
struct Event {
    cat: String,
    name: String,
    #[serde(default)]
    args: Arguments,
}

#[derive(Default, Deserialize)]
struct Arguments {
    #[serde(default)]
    provider: String,
}

impl Probe {
    /// A probe whose profile goes to a folder of its own.
    pub(crate) fn new() -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("brink-probe-").tempdir()?;
        Ok(Self { folder })
    }

    /// What the file's name begins with.
    pub(super) fn prefix(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// Reads the finished profile.
    pub(super) fn read(&self, profile: &str) -> io::Result<Placement> {
        Placement::read(BufReader::new(File::open(profile)?))
    }
}

impl Placement {
    /// A profile is an array of events, one a line.
    fn read(profile: impl BufRead) -> io::Result<Self> {
        let mut placement = Self::default();
        for line in profile.lines().take(MAX_LINES) {
            let line = line?;
            let event = line.trim().trim_end_matches(',');
            let Ok(event) = serde_json::from_str::<Event>(event) else {
                continue;
            };
            if event.cat == "Node" && event.name.ends_with("_kernel_time") {
                *placement.0.entry(event.args.provider).or_default() += 1;
            }
        }
        Ok(placement)
    }

    /// Nodes that ran on a device of that kind.
    pub fn on(&self, device: Device) -> usize {
        let provider = match device {
            Device::Cpu => "CPUExecutionProvider",
            Device::Cuda(_) => "CUDAExecutionProvider",
        };
        self.0.get(provider).copied().unwrap_or(0)
    }

    /// All nodes that ran.
    pub fn nodes(&self) -> usize {
        self.0.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_counted_by_the_provider_that_ran_them() {
        let profile = r#"[
{"cat" : "Session","pid" :1,"tid" :1,"dur" :2,"ts" :3,"ph" : "X","name" :"model_loading","args" : {}},
{"cat" : "Node","dur" :2,"name" :"a_kernel_time","args" : {"op_name" : "MatMul","provider" : "CUDAExecutionProvider"}},
{"cat" : "Node","dur" :2,"name" :"b_kernel_time","args" : {"provider" : "CUDAExecutionProvider"}},
{"cat" : "Node","dur" :0,"name" :"b_fence_after","args" : {"provider" : "CUDAExecutionProvider"}},
{"cat" : "Node","dur" :2,"name" :"c_kernel_time","args" : {"provider" : "CPUExecutionProvider"}},
{"cat" : "Kernel","name" :"gemm_kernel_time","args" : {"stream" : "7"}}
]"#;
        let placement = Placement::read(profile.as_bytes()).expect("a profile");
        assert_eq!(placement.on(Device::Cuda(3)), 2);
        assert_eq!(placement.on(Device::Cpu), 1);
        assert_eq!(placement.nodes(), 3);
    }
}
