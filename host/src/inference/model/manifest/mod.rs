//! `model.toml`: what a model is, and how it is to be run.

use std::time::Duration;

use brink_protocol::TextLimits;

mod generation;
mod keys;
mod task;
mod warm_up;

pub use generation::{DecodeSettings, Generation};
pub use task::{
    BytesInput, Classification, ClassifierInput, Embedding, ImageInput, ModelTask, Pooling, Resize,
};
pub use warm_up::WarmUp;

use keys::{Keys, Mistakes};

use crate::inference::device::DeviceChoice;

/// Most sessions and threads that a model may ask for; above it a machine only switches between them.
const MOST_THREADS: u32 = 1024;
/// Most items of a batch that a model may ask for.
const MOST_BATCH: u32 = 65_536;
/// Most tokens, or other units, of a batch that a model may ask for.
const MOST_UNITS: u32 = 1 << 24;
/// The version of a model that names none.
pub(super) const FIRST_VERSION: &str = "1";
/// Longest `max_queue_delay_ms`, as for the setting.
const MOST_QUEUE_DELAY_MS: u32 = 500;

/// What `model.toml` says. Holding one means that every value is usable.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The name clients use.
    pub name: String,
    /// Which of several; "1" if that is not said.
    pub version: String,
    /// The ONNX file, relative to the folder.
    pub model_file: String,
    /// What the model does.
    pub task: ModelTask,
    /// How it is run.
    pub run: RunSettings,
    /// How its batches are formed.
    pub batching: BatchSettings,
    /// What it is run with before it serves.
    pub warm_up: WarmUp,
    /// When the model was released, in Unix seconds.
    pub created: u64,
    /// Who made it.
    pub owned_by: String,
}

/// `[run]`: what this model has otherwise than `[inference]` of the settings says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunSettings {
    /// Where it runs.
    pub device: Option<DeviceChoice>,
    /// Sessions.
    pub instances: Option<usize>,
    /// Threads inside one run.
    pub threads: Option<usize>,
    /// The ONNX file that runs on CUDA instead, relative to the folder.
    pub fp16_file: Option<String>,
}

/// `[batching]`: what this model has otherwise than `[batch]` of the settings says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchSettings {
    /// Most items of a run.
    pub max_items: Option<usize>,
    /// Most padded units of a run: tokens, or elements of tensors.
    pub max_tokens: Option<usize>,
    /// Most padded units per real one.
    pub max_padding_ratio: Option<f64>,
    /// Longest wait for company.
    pub max_queue_delay: Option<Duration>,
    /// Most items waiting.
    pub max_queue_items: Option<usize>,
    /// Sizes that items are padded to, so that a result never depends on others in its batch, not even
    /// in its last bit. Empty: padded to the longest of the batch.
    pub shape_buckets: Vec<usize>,
    /// Items of every run, if there are buckets: fewer are filled up.
    pub bucket_items: Option<usize>,
}

impl Manifest {
    /// Reads the text of a `model.toml`, or lists every mistake in it.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let table = text
            .parse()
            .map_err(|error: toml::de::Error| vec![error.to_string()])?;
        let mistakes = Mistakes::default();
        let mut keys = Keys::new(table, &mistakes);
        let name = keys.text("name");
        let version = keys.optional_text("version");
        let task = ModelTask::read(&mut keys);
        let manifest = Self {
            name,
            version: version.unwrap_or(FIRST_VERSION.to_owned()),
            warm_up: WarmUp::read(&mut keys, &task),
            task,
            model_file: keys.file("model_file"),
            run: run(&mut keys.section("run")),
            batching: batching(&mut keys.section("batching")),
            created: keys.seconds("created"),
            owned_by: keys.text("owned_by"),
        };
        check_name(&keys, "name", &manifest.name);
        check_name(&keys, "version", &manifest.version);
        drop(keys);
        mistakes.finish().map(|()| manifest)
    }
}

impl Manifest {
    /// Limits of the input, of a model that reads text.
    pub fn text(&self) -> Option<TextLimits> {
        match &self.task {
            ModelTask::Embed(embedding) => Some(embedding.text),
            ModelTask::Classify(Classification {
                input: ClassifierInput::Text { text, .. },
                ..
            }) => Some(*text),
            ModelTask::Generate(generation) => Some(generation.text),
            ModelTask::Classify(_) | ModelTask::Generic { .. } => None,
        }
    }

    /// The tokenizer, relative to the folder, of a model that reads text.
    pub fn tokenizer_file(&self) -> Option<&str> {
        match &self.task {
            ModelTask::Embed(embedding) => Some(&embedding.tokenizer_file),
            ModelTask::Classify(Classification {
                input: ClassifierInput::Text { tokenizer_file, .. },
                ..
            }) => Some(tokenizer_file),
            ModelTask::Generate(generation) => Some(&generation.tokenizer_file),
            ModelTask::Classify(_) | ModelTask::Generic { .. } => None,
        }
    }

    /// The chat template, relative to the folder, of a model that has one.
    pub fn template_file(&self) -> Option<&str> {
        match &self.task {
            ModelTask::Generate(generation) => generation.template_file.as_deref(),
            ModelTask::Embed(_) | ModelTask::Classify(_) | ModelTask::Generic { .. } => None,
        }
    }
}

/// Names and versions are parts of URLs, metrics and file names.
fn check_name(keys: &Keys<'_>, key: &str, name: &str) {
    const MOST: usize = 128;
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_./:+".contains(character);
    if name.len() > MOST {
        keys.wrong(
            key,
            &format!("has {} bytes; at most {MOST} are allowed", name.len()),
        );
    } else if !name.chars().all(plain) {
        keys.wrong(key, "must consist of letters, digits and -_./:+");
    }
}

fn run(keys: &mut Keys<'_>) -> RunSettings {
    let device = |value: &toml::Value| value.as_str()?.parse().ok();
    let threads = |count: Option<u32>| count.map(|count| count as usize);
    RunSettings {
        device: keys.optional("device", "auto, cpu, cuda or cuda:N", device),
        instances: threads(keys.optional_count("instances", MOST_THREADS)),
        threads: threads(keys.optional_count("threads", MOST_THREADS)),
        fp16_file: keys.optional_file("fp16_file"),
    }
}

fn batching(keys: &mut Keys<'_>) -> BatchSettings {
    let delay = format!("a whole number from 0 to {MOST_QUEUE_DELAY_MS}");
    let delay = keys.optional("max_queue_delay_ms", &delay, |value| {
        let ms = u32::try_from(value.as_integer()?).ok()?;
        (ms <= MOST_QUEUE_DELAY_MS).then(|| Duration::from_millis(ms.into()))
    });
    let mut count = |key, most| keys.optional_count(key, most).map(|count| count as usize);
    BatchSettings {
        max_items: count("max_items", MOST_BATCH),
        max_tokens: count("max_tokens", MOST_UNITS),
        max_queue_items: count("max_queue_items", 1_000_000),
        bucket_items: count("bucket_items", MOST_BATCH),
        max_padding_ratio: keys.optional_number("max_padding_ratio", 1.0, 1000.0),
        max_queue_delay: delay,
        shape_buckets: keys.rising("shape_buckets").unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
