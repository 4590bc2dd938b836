//! ONNX Runtime alone: the baseline of `cargo xtask bench miss`.
//!
//! Runs the texts of a JSON file through one session, without a queue or a server, in several ways,
//! and prints for each `WAY<TAB>ITEMS PER CPU-SECOND`. Tokenising is not counted: it is the
//! server's to pay.
//!
//! ```text
//! raw_onnxruntime LIBRARY MODEL_FOLDER TEXTS.json
//! ```

#![expect(clippy::print_stdout, reason = "a measurement prints its result")]

use std::error::Error;
use std::path::PathBuf;

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
    let texts: Vec<String> =
        serde_json::from_slice(&std::fs::read(argument("the file of texts")?)?)?;

    let files = ModelFiles::read(&folder)?;
    let reader = Reader::load(&files, &[])?;
    let arrival = texts
        .iter()
        .map(|text| Ok(reader.read(&Input::Text(text.clone()), false)?))
        .collect::<Result<Vec<Payload>>>()?;
    let mut sorted = arrival.clone();
    sorted.sort_by_key(Payload::size);

    let config = InferenceConfig {
        device: DeviceChoice::Cpu,
        sessions: Some(1),
        ..InferenceConfig::default()
    };
    let runtime = Runtime::load(&library)?;
    let mut session = open_sessions(&runtime, &files, &config)?.sessions.remove(0);
    measure(&mut session, &sorted, 16)?;
    let ways = [
        ("one by one", &arrival, 1),
        ("arrival order x16", &arrival, 16),
        ("sorted x4", &sorted, 4),
        ("sorted x8", &sorted, 8),
        ("sorted x16", &sorted, 16),
        ("sorted x32", &sorted, 32),
    ];
    for (name, items, size) in ways {
        println!("{name}\t{:.3}", measure(&mut session, items, size)?);
    }
    Ok(())
}

/// Items per CPU-second of this process.
fn measure(session: &mut Session, items: &[Payload], size: usize) -> Result<f64> {
    let before = cpu_seconds()?;
    for chunk in items.chunks(size) {
        let batch: Vec<&Payload> = chunk.iter().collect();
        session.run(&batch)?;
    }
    Ok(items.len() as f64 / (cpu_seconds()? - before))
}

/// User and system time; Linux counts in hundredths of a second.
fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("unexpected /proc/self/stat")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
}
