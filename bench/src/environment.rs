//! Where the programs and files under test are; `cargo xtask bench` sets the variables.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use crate::process::{Server, free_address};

/// The model that every benchmark uses.
pub(crate) const MODEL: &str = "all-MiniLM-L6-v2";

/// Programs and files under test.
#[derive(Clone, Debug, Args)]
pub(crate) struct Environment {
    /// The program `brink`, built in release mode
    #[arg(long, env = "BRINK_BIN")]
    pub(crate) brink: PathBuf,
    /// The folder that holds the models
    #[arg(long, env = "BRINK_MODELS")]
    pub(crate) models: PathBuf,
    /// The ONNX Runtime library
    #[arg(long, env = "BRINK_ONNXRUNTIME")]
    pub(crate) onnxruntime: PathBuf,
    /// The Spin manifest
    #[arg(long, default_value = "spin.toml")]
    pub(crate) manifest: PathBuf,
    /// A further setting of `brink up`, as `section.key=value`; may be given several times
    #[arg(long = "set", value_name = "SETTING")]
    pub(crate) settings: Vec<String>,
}

impl Environment {
    /// Starts `brink up` on free ports, with further settings as `section.key=value`.
    pub(crate) async fn start_brink(&self, settings: &[&str]) -> Result<Server> {
        self.start_brink_with(settings, &[]).await
    }

    /// The same, with variables of the component as `name=value`.
    pub(crate) async fn start_brink_with(
        &self,
        settings: &[&str],
        variables: &[&str],
    ) -> Result<Server> {
        let address = free_address()?;
        let shown = |path: &Path| path.display().to_string();
        let mut arguments: Vec<String> = [
            "up",
            "--manifest",
            &shown(&self.manifest),
            "--models",
            &shown(&self.models),
            "--onnxruntime",
            &shown(&self.onnxruntime),
            "--listen",
            &address.to_string(),
            "--admin-listen",
            &free_address()?.to_string(),
        ]
        .map(str::to_owned)
        .to_vec();
        // Neither baseline writes a log, so the server under test writes none either.
        let given = self.settings.iter().map(String::as_str);
        for setting in ["log.level=warn"]
            .iter()
            .chain(settings)
            .copied()
            .chain(given)
        {
            arguments.extend(["--set".to_owned(), setting.to_owned()]);
        }
        for variable in variables {
            arguments.extend(["--variable".to_owned(), (*variable).to_owned()]);
        }
        Server::start(&self.brink, &arguments, address).await
    }

    /// Starts this program's own native baseline.
    pub(crate) async fn start_native(&self, file_bytes: usize) -> Result<Server> {
        let address: SocketAddr = free_address()?;
        let arguments = [
            "native-server".to_owned(),
            address.to_string(),
            file_bytes.to_string(),
        ];
        Server::start(&std::env::current_exe()?, &arguments, address).await
    }
}
