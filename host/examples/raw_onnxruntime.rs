//! ONNX Runtime alone: the baseline of `cargo xtask bench miss` and `classify`.
//!
//! Runs the texts of a JSON file, or every file of a folder, through one session, without a queue or a
//! server, in several ways, and prints for each `WAY<TAB>ITEMS PER CPU-SECOND`. Tokenising and decoding
//! are counted, as often as the way needs them: once for each item. The last line, `runs alone`, is one by one
//! without them: what is left is what inference itself costs.
//!
//! ```text
//! raw_onnxruntime LIBRARY MODEL_FOLDER TEXTS.json|FOLDER [--device DEVICE] [--batches N,N,...]
//! ```
//!
//! With `--batches`, as for `cargo xtask bench gpu`, it runs sorted batches of those sizes only, and prints
//! `N<TAB>ITEMS PER SECOND`: time by the clock and of the runs alone, because what counts there is how long
//! the device takes.

#![expect(clippy::print_stdout, reason = "a measurement prints its result")]

use std::error::Error;
use std::path::{Path, PathBuf};

use brink_host::inference::{
    Backend, DeviceChoice, InferenceConfig, ModelFiles, Payload, Reader, Runtime, Session,
    open_sessions,
};
use brink_protocol::Input;
use tokio::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments = Arguments::read(std::env::args().skip(1))?;
    let inputs = inputs(&arguments.inputs)?;
    let files = ModelFiles::read(&arguments.folder)?;
    let reader = Reader::load(&files, &[])?;
    let config = InferenceConfig {
        device: arguments.device,
        sessions: Some(1),
        ..InferenceConfig::default()
    };
    let runtime = Runtime::load(&arguments.library)?;
    let session = open_sessions(&runtime, &files, &config)?.sessions.remove(0);
    let mut bench = Bench { reader, session };
    let arrival: Vec<usize> = (0..inputs.len()).collect();
    let mut sorted = arrival.clone();
    let read = bench.read(&inputs)?;
    sorted.sort_by_key(|index| read[*index].size());
    if !arguments.batches.is_empty() {
        for size in arguments.batches {
            // The first pass allocates.
            bench.run(&read, &sorted, size)?;
            println!("{size}\t{:.1}", bench.per_second(&read, &sorted, size)?);
        }
        return Ok(());
    }
    bench.measure(&inputs, &sorted, 16)?;
    let ways = [
        ("one by one", &arrival, 1),
        ("arrival order x16", &arrival, 16),
        ("sorted x4", &sorted, 4),
        ("sorted x8", &sorted, 8),
        ("sorted x16", &sorted, 16),
        ("sorted x32", &sorted, 32),
    ];
    for (name, order, size) in ways {
        println!("{name}\t{:.3}", bench.measure(&inputs, order, size)?);
    }
    println!("runs alone\t{:.3}", bench.measure_runs(&read, &arrival)?);
    Ok(())
}

struct Arguments {
    library: PathBuf,
    folder: PathBuf,
    inputs: PathBuf,
    device: DeviceChoice,
    batches: Vec<usize>,
}

impl Arguments {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut argument = |name: &str| arguments.next().ok_or(format!("{name} is missing"));
        let mut read = Self {
            library: argument("the library")?.into(),
            folder: argument("the model's folder")?.into(),
            inputs: argument("the file of texts, or a folder of files")?.into(),
            device: DeviceChoice::Cpu,
            batches: Vec::new(),
        };
        while let Some(option) = arguments.next() {
            let value = arguments.next().ok_or(format!("{option} needs a value"))?;
            match &option[..] {
                "--device" => read.device = value.parse()?,
                "--batches" => {
                    let sizes = value.split(',').map(str::parse);
                    read.batches = sizes.collect::<std::result::Result<_, _>>()?;
                }
                _ => return Err(format!("{option} is no option").into()),
            }
        }
        if read.batches.contains(&0) {
            return Err("--batches: no batch has 0 items".into());
        }
        Ok(read)
    }
}

/// The texts of a JSON file, or every file of a folder.
fn inputs(path: &Path) -> Result<Vec<Input>> {
    if !path.is_dir() {
        let texts: Vec<String> = serde_json::from_slice(&std::fs::read(path)?)?;
        return Ok(texts.into_iter().map(Input::Text).collect());
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        files.push(entry?.path());
    }
    files.sort();
    let read = |file: PathBuf| Ok(Input::Blob(std::fs::read(file)?.into()));
    files.into_iter().map(read).collect()
}

struct Bench {
    reader: Reader,
    session: Session,
}

impl Bench {
    fn read(&self, inputs: &[Input]) -> Result<Vec<Payload>> {
        let read = |input| Ok(self.reader.read(input, false)?);
        inputs.iter().map(read).collect()
    }

    fn run(&mut self, read: &[Payload], order: &[usize], size: usize) -> Result<()> {
        for chunk in order.chunks(size) {
            let batch: Vec<&Payload> = chunk.iter().map(|index| &read[*index]).collect();
            self.session.run(&batch)?;
        }
        Ok(())
    }

    /// Items per second by the clock, of what was read before.
    fn per_second(&mut self, read: &[Payload], order: &[usize], size: usize) -> Result<f64> {
        let start = Instant::now();
        self.run(read, order, size)?;
        Ok(order.len() as f64 / start.elapsed().as_secs_f64())
    }

    /// Items per CPU-second of inference one by one, of what was read before.
    fn measure_runs(&mut self, read: &[Payload], order: &[usize]) -> Result<f64> {
        let before = cpu_seconds()?;
        self.run(read, order, 1)?;
        Ok(order.len() as f64 / (cpu_seconds()? - before))
    }

    /// Items per CPU-second of this process.
    fn measure(&mut self, inputs: &[Input], order: &[usize], size: usize) -> Result<f64> {
        let before = cpu_seconds()?;
        let read = self.read(inputs)?;
        self.run(&read, order, size)?;
        Ok(inputs.len() as f64 / (cpu_seconds()? - before))
    }
}

/// User and system time; Linux counts in hundredths of a second.
fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("unexpected /proc/self/stat")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
}
