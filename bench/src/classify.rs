//! What classifying pictures and files costs.
//!
//! Question: how much of what ONNX Runtime can do reaches the client where batching does not pay? The
//! same inputs through the host, each request one raw body, and straight through ONNX Runtime one by one,
//! decoding and scaling included; rounds alternate. Read items per CPU-second, and the ratio.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use clap::Args;
use tokio::process::Command;

use crate::environment::Environment;
use crate::load::{Call, Load};
use crate::process::Server;
use crate::report::{self, Table, median};

/// Options of `classify`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    environment: Environment,
    /// The raw ONNX Runtime baseline: example `raw_onnxruntime` of brink-host
    #[arg(long, env = "BRINK_RAW_BASELINE")]
    baseline: PathBuf,
    /// The folder of models in the source tree, whose reference inputs are sent
    #[arg(long, default_value = "models")]
    references: PathBuf,
    /// Rounds; each measures the server and the baseline once
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Inputs per round
    #[arg(long, default_value_t = 400)]
    inputs: usize,
    /// Connections
    #[arg(long, default_value_t = 16)]
    connections: usize,
}

/// A model, and how its route is asked.
const MODELS: [(&str, &str); 2] = [
    (
        "efficientnet-lite0",
        "/v1/classify?model=efficientnet-lite0",
    ),
    ("magika", "/v1/classify?model=magika"),
];

/// Runs the benchmark. Its last lines are `classify_MODEL_cpu_ratio N`.
pub(crate) async fn run(options: Options) -> Result<()> {
    let server = options.environment.start_brink(&[]).await?;
    for (model, path) in MODELS {
        let files = reference_inputs(&options.references.join(model))?;
        measure_server(
            &server,
            &options,
            path,
            &inputs(&files, 1000, options.inputs),
        )
        .await?;
        let (mut ours, mut raw) = (Vec::new(), Vec::new());
        for round in 0..options.rounds {
            report::progress(&format!(
                "classify: {model}, round {} of {}",
                round + 1,
                options.rounds
            ));
            let inputs = inputs(&files, round, options.inputs);
            raw.push(measure_baseline(&options, model, &inputs).await?);
            ours.push(measure_server(&server, &options, path, &inputs).await?);
        }
        print(&options, model, &ours, &raw);
    }
    Ok(())
}

/// The inputs of the reference checks, without the tiny ones that only test edges.
fn reference_inputs(model: &Path) -> Result<Vec<Vec<u8>>> {
    let folder = model.join("reference/inputs");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let bytes = std::fs::read(entry?.path())?;
        if bytes.len() > 100 {
            files.push(bytes);
        }
    }
    files.sort();
    ensure!(!files.is_empty(), "{} is empty", folder.display());
    Ok(files)
}

/// Files that differ in bytes behind their end, which decoders do not read: no result is cached.
fn inputs(files: &[Vec<u8>], round: usize, count: usize) -> Vec<Bytes> {
    let input = |index: usize| {
        let mut bytes = files[index % files.len()].clone();
        bytes.extend_from_slice(format!("{round} {index}").as_bytes());
        bytes.into()
    };
    (0..count).map(input).collect()
}

async fn measure_server(
    server: &Server,
    options: &Options,
    path: &'static str,
    inputs: &[Bytes],
) -> Result<f64> {
    let call = |input: &Bytes| Call::post_bytes(path, input.clone());
    let calls: Arc<[Call]> = inputs.iter().map(call).collect();
    let before = server.cpu_seconds()?;
    let load = Load {
        address: server.address,
        connections: options.connections,
        calls,
        rate: None,
    };
    load.run(inputs.len()).await?;
    Ok(inputs.len() as f64 / (server.cpu_seconds()? - before))
}

async fn measure_baseline(options: &Options, model: &str, inputs: &[Bytes]) -> Result<f64> {
    let folder = std::env::temp_dir().join(format!("brink-bench-inputs-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    for (index, input) in inputs.iter().enumerate() {
        std::fs::write(folder.join(format!("{index:06}")), input)?;
    }
    let output = Command::new(&options.baseline)
        .arg(&options.environment.onnxruntime)
        .arg(options.environment.models.join(model))
        .arg(&folder)
        .output()
        .await
        .with_context(|| format!("{} does not start", options.baseline.display()));
    std::fs::remove_dir_all(&folder)?;
    let output = output?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the baseline failed: {told}");
    let lines = String::from_utf8(output.stdout)?;
    let line = lines
        .lines()
        .find_map(|line| line.strip_prefix("one by one\t"));
    Ok(line.context("unexpected output of the baseline")?.parse()?)
}

fn print(options: &Options, model: &str, ours: &[f64], raw: &[f64]) {
    report::line(&format!(
        "classify, {model}, {} inputs a round, {} connections, medians of {} rounds:\n",
        options.inputs, options.connections, options.rounds
    ));
    let mut table = Table::new(&["what", "items per CPU-second"]);
    table.row(["brink up".to_owned(), format!("{:.1}", median(ours))]);
    table.row([
        "raw ONNX Runtime, one by one".to_owned(),
        format!("{:.1}", median(raw)),
    ]);
    table.print();
    let ratios: Vec<f64> = ours.iter().zip(raw).map(|(ours, raw)| ours / raw).collect();
    report::line(&format!(
        "classify_{model}_cpu_ratio {:.2}",
        median(&ratios)
    ));
}
