//! ONNX Runtime alone: the baseline of `cargo xtask bench miss` and `classify`.
//!
//! Runs the texts of a JSON file, or every file of a folder, through one session, without a queue or a
//! server, in several ways, and prints for each `WAY<TAB>ITEMS PER CPU-SECOND`. Tokenising and decoding
//! are counted, as often as the way needs them: once for each item.
//!
//! ```text
//! raw_onnxruntime LIBRARY MODEL_FOLDER TEXTS.json|FOLDER
//! ```

#![expect(clippy::print_stdout, reason = "a measurement prints its result")]

use std::error::Error;
use std::path::{Path, PathBuf};

use brink_host::inference::{
    Backend, DeviceChoice, InferenceConfig, ModelFiles, Payload, Reader, Runtime, Session,
    open_sessions,
};
use brink_protocol::Input;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |name: &str| arguments.next().ok_or(format!("{name} is missing"));
    let library = PathBuf::from(argument("the library")?);
    let folder = PathBuf::from(argument("the model's folder")?);
    let inputs = inputs(&PathBuf::from(argument(
        "the file of texts, or a folder of files",
    )?))?;

    let files = ModelFiles::read(&folder)?;
    let reader = Reader::load(&files, &[])?;
    let config = InferenceConfig {
        device: DeviceChoice::Cpu,
        sessions: Some(1),
        ..InferenceConfig::default()
    };
    let runtime = Runtime::load(&library)?;
    let session = open_sessions(&runtime, &files, &config)?.sessions.remove(0);
    let mut bench = Bench { reader, session };
    let arrival: Vec<usize> = (0..inputs.len()).collect();
    let mut sorted = arrival.clone();
    let sizes = bench.read(&inputs)?;
    sorted.sort_by_key(|index| sizes[*index].size());
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
    Ok(())
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

    /// Items per CPU-second of this process.
    fn measure(&mut self, inputs: &[Input], order: &[usize], size: usize) -> Result<f64> {
        let before = cpu_seconds()?;
        let read = self.read(inputs)?;
        for chunk in order.chunks(size) {
            let batch: Vec<&Payload> = chunk.iter().map(|index| &read[*index]).collect();
            self.session.run(&batch)?;
        }
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
