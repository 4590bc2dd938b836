//! What batching gains on a GPU, and how much of the device reaches the client.
//!
//! Questions: how many times the items per second of single runs does the best batch give (target 3)? How
//! much is that of ONNX Runtime alone, on the same device in batches of the same size (target 0.90)? How busy
//! is the device, and what does a request wait at half of what the host can do?
//!
//! For each model and each `batch.max_batch_items` a server of its own is measured in a closed loop, with
//! inputs that are all new. Time is by the clock: the device works while the processor does not. It needs no
//! network, and takes every program by its path (`bench/gpu.sh`). The report is Markdown.
//!
//! `--device cpu` rehearses all of it. The figures say nothing then.

mod sampler;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use clap::Args;
use tokio::process::Command;

use self::sampler::{Sampler, Seen};
use crate::environment::{Environment, MODEL};
use crate::load::{Call, Load, Outcome};
use crate::process::Server;
use crate::{report, texts};

/// A model of pictures.
const PICTURES: &str = "efficientnet-lite0";
const CLASSIFY: &str = "/v1/classify?model=efficientnet-lite0";
/// Texts of one request; a picture is a request of its own.
const TEXTS: usize = 32;

/// Options of `gpu`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    environment: Environment,
    /// The raw ONNX Runtime baseline: example `raw_onnxruntime` of brink-host
    #[arg(long, env = "BRINK_RAW_BASELINE")]
    baseline: PathBuf,
    /// The folder of models in the source tree, whose reference pictures are sent
    #[arg(long, default_value = "models")]
    references: PathBuf,
    /// Where models run: `cuda:N`, or `cpu` to rehearse
    #[arg(long, default_value = "cuda:0")]
    device: String,
    /// Models
    #[arg(long, value_delimiter = ',', default_values = [MODEL, PICTURES])]
    models_measured: Vec<String>,
    /// Values of `batch.max_batch_items`; the first is what the others are compared with
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8, 32, 128, 256])]
    batches: Vec<usize>,
    /// Items of each measurement
    #[arg(long, default_value_t = 32_768)]
    items: usize,
    /// Connections, each with a request of 32 texts or one picture at a time
    #[arg(long, default_value_t = 256)]
    connections: usize,
    /// Further settings for the server, as `section.key=value`
    #[arg(long = "set")]
    settings: Vec<String>,
    /// Where the report is written
    #[arg(long, default_value = "gpu-report.md")]
    report: PathBuf,
}

/// One value of `max_batch_items`.
struct Row {
    batch: usize,
    sessions: usize,
    per_second: f64,
    /// Of ONNX Runtime alone, with the same inputs, right after.
    raw_per_second: f64,
    seen: Option<Seen>,
    half_load: Outcome,
}

/// Runs the benchmark. Its last lines are `gpu_MODEL_batching_gain N` and `gpu_MODEL_raw_share N`.
pub(crate) async fn run(options: Options) -> Result<()> {
    ensure!(!options.batches.is_empty(), "--batches names no batch");
    let mut text = heading(&options).await;
    let mut last = String::new();
    for model in &options.models_measured {
        let mut rows = Vec::new();
        for batch in &options.batches {
            rows.push(measure(&options, model, *batch, 1).await?);
        }
        let best = best(&rows).batch;
        // A second session works while the first waits for copies.
        rows.push(measure(&options, model, best, 2).await?);
        text.push_str(&table(model, &rows));
        last.push_str(&summary(model, &rows));
    }
    text.push_str(&last);
    report::line(text.trim_end());
    std::fs::write(&options.report, &text)
        .with_context(|| format!("{} cannot be written", options.report.display()))
}

/// What was measured where.
async fn heading(options: &Options) -> String {
    let query = ["--query-gpu=name,driver_version", "--format=csv,noheader"];
    let asked = Command::new("nvidia-smi").args(query).output().await;
    let device = asked.ok().filter(|it| it.status.success());
    let device = device.map(|it| String::from_utf8_lossy(&it.stdout).trim().to_owned());
    let mut text = format!(
        "# gpu\n\nDevice: {} ({}). {} items a measurement, {} connections, inputs all new.\n\n",
        options.device,
        device.as_deref().unwrap_or("no nvidia-smi here"),
        options.items,
        options.connections
    );
    if options.device == "cpu" {
        text.push_str(
            "This is a rehearsal on a processor: its figures say nothing about a GPU.\n\n",
        );
    }
    text
}

async fn measure(options: &Options, model: &str, batch: usize, sessions: usize) -> Result<Row> {
    report::progress(&format!("gpu: {model}, batch {batch}, {sessions} sessions"));
    let server = start(options, batch, sessions).await?;
    // The first batches of each shape allocate.
    load(
        options,
        &server,
        model,
        (batch * 10, options.items / 4),
        None,
    )
    .await?;
    let sampler = Sampler::start(&options.device);
    let whole = load(
        options,
        &server,
        model,
        (batch * 10 + 1, options.items),
        None,
    )
    .await?;
    let seen = match sampler {
        Some(sampler) => sampler.stop().await?,
        None => None,
    };
    let rate = Some(whole.per_second() / 2.0);
    let half = (batch * 10 + 2, options.items / 2);
    let half_load = load(options, &server, model, half, rate).await?;
    // It would hold memory of the device.
    drop(server);
    let per_request = if model == MODEL { TEXTS } else { 1 };
    Ok(Row {
        batch,
        sessions,
        per_second: whole.per_second() * per_request as f64,
        raw_per_second: measure_raw(options, model, batch).await?,
        seen,
        half_load,
    })
}

async fn start(options: &Options, batch: usize, sessions: usize) -> Result<Server> {
    let mut settings = vec![
        format!("inference.device={}", options.device),
        format!("inference.sessions={sessions}"),
        format!("batch.max_batch_items={batch}"),
        // As on CUDA, so that a rehearsal forms the same batches.
        "batch.max_batch_tokens=16384".to_owned(),
        "batch.max_padding_ratio=2".to_owned(),
        format!(
            "batch.max_queue_items={}",
            (options.connections * TEXTS * 2).max(8192)
        ),
    ];
    settings.extend(options.settings.iter().cloned());
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    options.environment.start_brink(&settings).await
}

/// Sends items of a series.
async fn load(
    options: &Options,
    server: &Server,
    model: &str,
    (series, items): (usize, usize),
    rate: Option<f64>,
) -> Result<Outcome> {
    let calls: Arc<[Call]> = if model == MODEL {
        let texts = texts::mixed(series as u64, items);
        let call = |texts: &[String]| {
            let body =
                serde_json::json!({"model": MODEL, "input": texts, "encoding_format": "base64"});
            Call::post("/v1/embeddings", body.to_string())
        };
        texts.chunks(TEXTS).map(call).collect()
    } else {
        let pictures = pictures(options, series, items)?;
        let call = |picture: Bytes| Call::post_bytes(CLASSIFY, picture);
        pictures.into_iter().map(call).collect()
    };
    let requests = calls.len();
    let load = Load {
        address: server.address,
        connections: options.connections.min(requests).max(1),
        calls,
        rate,
    };
    load.run(requests).await
}

/// Pictures that differ in bytes behind their end, which decoders do not read: no result is cached.
fn pictures(options: &Options, series: usize, count: usize) -> Result<Vec<Bytes>> {
    let folder = options.references.join(PICTURES).join("reference/inputs");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        files.push(std::fs::read(entry?.path())?);
    }
    ensure!(!files.is_empty(), "{} is empty", folder.display());
    files.sort();
    let picture = |index: usize| {
        let mut bytes = files[index % files.len()].clone();
        bytes.extend_from_slice(format!("{series} {index}").as_bytes());
        bytes.into()
    };
    Ok((0..count).map(picture).collect())
}

/// Items per second of ONNX Runtime alone, in batches of that size.
async fn measure_raw(options: &Options, model: &str, batch: usize) -> Result<f64> {
    let scratch = std::env::temp_dir().join(format!("brink-bench-gpu-{}", std::process::id()));
    let measured = raw_of(options, model, batch, &scratch).await;
    std::fs::remove_dir_all(&scratch)?;
    measured
}

async fn raw_of(options: &Options, model: &str, batch: usize, scratch: &Path) -> Result<f64> {
    std::fs::create_dir_all(scratch)?;
    let mut inputs = scratch.to_owned();
    if model == MODEL {
        inputs.push("texts.json");
        let texts = texts::mixed(batch as u64 * 10 + 1, options.items);
        std::fs::write(&inputs, serde_json::to_vec(&texts)?)?;
    } else {
        // All are held in memory as pixels, so fewer do.
        for (index, picture) in pictures(options, 1, options.items.min(2048))?
            .iter()
            .enumerate()
        {
            std::fs::write(inputs.join(format!("{index:06}")), picture)?;
        }
    }
    let output = Command::new(&options.baseline)
        .arg(&options.environment.onnxruntime)
        .arg(options.environment.models.join(model))
        .arg(&inputs)
        .args(["--device", &options.device])
        .args(["--batches", &batch.to_string()])
        .output()
        .await
        .with_context(|| format!("{} does not start", options.baseline.display()))?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the baseline failed: {told}");
    let text = String::from_utf8(output.stdout)?;
    let rate = text.trim().split_once('\t').map(|(_, rate)| rate);
    Ok(rate.context("unexpected output of the baseline")?.parse()?)
}

/// The row of one session with the most items per second.
fn best(rows: &[Row]) -> &Row {
    let single = rows.iter().filter(|row| row.sessions == 1);
    single
        .max_by(|a, b| a.per_second.total_cmp(&b.per_second))
        .expect("there is a batch, as checked at the start")
}

fn table(model: &str, rows: &[Row]) -> String {
    let mut text = format!(
        "## {model}\n\n| batch | sessions | items/s | over the first | raw ONNX Runtime, items/s | share | GPU busy | GPU \
         memory, MiB | p50 at half load, ms | p99 |\n|{}\n",
        " --- |".repeat(10)
    );
    for row in rows {
        let raw = row.raw_per_second;
        let seen = row.seen.map_or(("-".to_owned(), "-".to_owned()), |seen| {
            let busy = format!("{:.0} %", seen.utilisation);
            (busy, format!("{:.0}", seen.memory_mib))
        });
        let millis = |q| row.half_load.quantile_us(q) / 1000.0;
        let _ = writeln!(
            text,
            "| {} | {} | {:.1} | {:.2} | {raw:.1} | {:.2} | {} | {} | {:.1} | {:.1} |",
            row.batch,
            row.sessions,
            row.per_second,
            row.per_second / rows[0].per_second,
            row.per_second / raw,
            seen.0,
            seen.1,
            millis(0.5),
            millis(0.99)
        );
    }
    text.push('\n');
    text
}

fn summary(model: &str, rows: &[Row]) -> String {
    let best = best(rows);
    let gain = best.per_second / rows[0].per_second;
    let share = best.per_second / best.raw_per_second;
    format!("gpu_{model}_batching_gain {gain:.2}\ngpu_{model}_raw_share {share:.2}\n")
}
