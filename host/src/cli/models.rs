//! `brink models`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use clap::{Args, Subcommand};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use prometheus_client::registry::Registry;
use serde::de::DeserializeOwned;

use super::Common;
use crate::batch::{BatchConfig, BatchMetrics};
use crate::connect::{Connector, Roots, Tls};
use crate::inference::{ModelFiles, Runtime};
use crate::server::{ModelChange, ModelChanged, ModelList};
use crate::service::Model;

/// Longest time for a connection to the host.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time until a model was loaded; large ones take minutes from a slow disk.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(600);
/// Most bytes of an answer of the host.
const MAX_ANSWER_BYTES: usize = 4 << 20;

/// `brink models`
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// Lists the models that a running host serves
    List(ToHost),
    /// Reads, loads and runs models of folders, and tells what is wrong; needs no running host
    Check {
        /// Folders with a model.toml
        #[arg(required = true, value_name = "FOLDER")]
        folders: Vec<PathBuf>,
        /// The ONNX Runtime library
        #[arg(
            long,
            value_name = "FILE",
            env = "BRINK_ONNXRUNTIME",
            default_value = "libonnxruntime.so"
        )]
        onnxruntime: PathBuf,
        /// Settings.
        #[command(flatten)]
        common: Common,
    },
    /// Puts a model in place without a restart: its files are read anew, and it is warm before it serves.
    /// If it cannot be used, the one that is served goes on
    Load {
        /// The name in its model.toml
        name: String,
        /// Which version (default: the latest in the folder of models)
        #[arg(long)]
        version: Option<String>,
        /// Go on serving other versions, for requests that name them
        #[arg(long)]
        keep: bool,
        /// The host.
        #[command(flatten)]
        host: ToHost,
    },
    /// Serves a model no more; what was accepted is answered
    Unload {
        /// The name
        name: String,
        /// Which version (default: all)
        #[arg(long)]
        version: Option<String>,
        /// The host.
        #[command(flatten)]
        host: ToHost,
    },
}

/// The host that a command is for.
#[derive(Clone, Debug, Args)]
pub struct ToHost {
    /// Its admin pages
    #[arg(
        long,
        value_name = "URL",
        env = "BRINK_ADMIN",
        default_value = "http://127.0.0.1:3001"
    )]
    admin: Uri,
}

impl ModelsCommand {
    /// Does it, and says what to print.
    ///
    /// # Errors
    /// When the host cannot be reached or refuses, or a model is wrong.
    pub async fn run(&self) -> Result<String> {
        match self {
            Self::List(host) => host.list().await,
            Self::Check {
                folders,
                onnxruntime,
                common,
            } => check(folders, onnxruntime, common),
            Self::Load {
                name,
                version,
                keep,
                host,
            } => {
                let change = ModelChange {
                    name: name.clone(),
                    version: version.clone(),
                    keep: *keep,
                };
                host.change("/models/load", &change).await
            }
            Self::Unload {
                name,
                version,
                host,
            } => {
                let change = ModelChange {
                    name: name.clone(),
                    version: version.clone(),
                    keep: false,
                };
                host.change("/models/unload", &change).await
            }
        }
    }
}

impl ToHost {
    async fn list(&self) -> Result<String> {
        let list: ModelList = self.ask(Method::GET, "/models", Bytes::new()).await?;
        let mut text = String::from("NAME\tVERSION\tTASK\tSTATE\tDEVICE\tMEMORY\tIDLE\tDIGEST");
        for model in list.models {
            let memory = model.memory_bytes;
            let memory = memory.map_or("-".to_owned(), |bytes| format!("{} MiB", bytes >> 20));
            write!(
                text,
                "\n{}\t{}\t{}\t{}\t{}\t{memory}\t{} s\t{}",
                model.name,
                model.version,
                model.task,
                model.state,
                model.device.as_deref().unwrap_or("-"),
                model.idle_ms / 1000,
                model.digest.get(..12).unwrap_or_default(),
            )?;
        }
        Ok(columns(&text))
    }

    async fn change(&self, path: &str, change: &ModelChange) -> Result<String> {
        let body = serde_json::to_vec(change)?;
        match self.ask(Method::POST, path, body.into()).await? {
            ModelChanged::Loaded { version, replaced } => {
                let mut text = format!("{} is served in version {version}", change.name);
                if !replaced.is_empty() {
                    write!(text, "; no more served: {}", replaced.join(", "))?;
                }
                Ok(text)
            }
            ModelChanged::Unloaded { versions } => Ok(format!(
                "{} is served no more (version {})",
                change.name,
                versions.join(", ")
            )),
            ModelChanged::Error { message } => anyhow::bail!(message),
        }
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T> {
        let connector = Connector::new(CONNECT_TIMEOUT, Tls::new(Roots::System));
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
        let base = self.admin.to_string();
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", base.trim_end_matches('/')))
            .header("content-type", "application/json")
            .body(Full::new(body))
            .context("--admin is not http://HOST[:PORT]")?;
        let ask = async {
            let answer = client.request(request).await.with_context(|| {
                format!("no host answers at {base}: is it running, and is --admin its server.admin_listen?")
            })?;
            let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect();
            let body = body.await.map_err(|error| anyhow::anyhow!(error))?;
            serde_json::from_slice(&body.to_bytes())
                .with_context(|| format!("what answers at {base} is no host of this release"))
        };
        let asked = tokio::time::timeout(ANSWER_TIMEOUT, ask).await;
        asked.with_context(|| format!("no answer within {ANSWER_TIMEOUT:?}"))?
    }
}

fn check(folders: &[PathBuf], onnxruntime: &Path, common: &Common) -> Result<String> {
    let settings = common.settings()?;
    let runtime = Runtime::load(onnxruntime)?;
    let metrics = BatchMetrics::register(&mut Registry::default());
    let mut text = String::new();
    for folder in folders {
        let files = ModelFiles::read(folder)?;
        let model = Model::of_files(
            &runtime,
            &files,
            &settings.inference,
            &BatchConfig::default(),
            &metrics,
        )
        .with_context(|| format!("the model in {} cannot be used", folder.display()))?;
        writeln!(
            text,
            "{} is in order: {} version {}, task {}, runs on {}, digest {}",
            folder.display(),
            model.info.name,
            model.info.version,
            model.info.task().name(),
            model.device,
            model.info.digest
        )?;
    }
    Ok(text.trim_end().to_owned())
}

/// Tabs become columns.
fn columns(text: &str) -> String {
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let line = |row: &Vec<&str>| {
        let cells = row.iter().enumerate();
        let cells = cells.map(|(column, cell)| format!("{cell:<width$}", width = width(column)));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        assert_eq!(
            columns("A\tLONG\tC\nbbb\td\te"),
            "A    LONG  C\nbbb  d     e"
        );
    }
}
