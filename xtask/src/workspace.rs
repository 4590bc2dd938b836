//! Where the sources are and where cargo builds.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::process;

/// The checked-out workspace that this program was built from.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    target_dir: PathBuf,
}

impl Workspace {
    /// Asks cargo for the target folder, which an environment variable or a configuration file may move.
    pub(crate) fn locate() -> Result<Self, Error> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("xtask is a folder of the workspace")
            .to_owned();
        let mut command = cargo_in(&root);
        command.args(["metadata", "--no-deps", "--format-version", "1"]);
        let target_dir =
            target_directory(&process::read(&mut command)?).ok_or_else(|| Error::ChildOutput {
                command: process::as_typed(&command),
                output: "no target_directory".to_owned(),
            })?;
        Ok(Self { root, target_dir })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Cargo, run at the root of the workspace.
    pub(crate) fn cargo(&self) -> Command {
        cargo_in(&self.root)
    }

    /// Where cargo puts a binary of the release profile.
    pub(crate) fn release_binary(&self, name: &str) -> PathBuf {
        let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
        self.target_dir.join("release").join(file)
    }

    /// Where an example of the cache crate lies as a WASI command.
    pub(crate) fn wasm_example(&self, name: &str) -> PathBuf {
        let folder = self.target_dir.join("wasm32-wasip2/release/examples");
        folder.join(format!("{name}.wasm"))
    }

    /// Where fuzz targets are built and what they find is kept: compiled with other flags than all the rest.
    pub(crate) fn fuzz_dir(&self) -> PathBuf {
        self.target_dir.join("fuzz")
    }

    /// Where cargo puts a component, by the name of its package.
    pub(crate) fn built_component(&self, package: &str) -> PathBuf {
        let file = format!("{}.wasm", package.replace('-', "_"));
        self.target_dir.join("wasm32-wasip2/component").join(file)
    }

    /// Where components lie for `spin.toml`, whose paths are relative to the root: not in
    /// `CARGO_TARGET_DIR`, which may be elsewhere.
    pub(crate) fn components_dir(&self) -> PathBuf {
        self.root.join("target/components")
    }
}

/// `CARGO` is set by cargo itself, and is the one that built this program.
fn cargo_in(root: &Path) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.current_dir(root);
    command
}

fn target_directory(metadata: &str) -> Option<PathBuf> {
    let metadata: serde_json::Value = serde_json::from_str(metadata).ok()?;
    Some(metadata.get("target_directory")?.as_str()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_directory_is_read_from_metadata() {
        let metadata = r#"{"packages":[],"target_directory":"/elsewhere"}"#;
        assert_eq!(target_directory(metadata), Some("/elsewhere".into()));
        assert_eq!(target_directory("not JSON"), None);
    }
}
