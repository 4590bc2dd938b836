//! What a model does: the part of `model.toml` that can change a result.

use brink_cache::key::Task;
use brink_protocol::TextLimits;
use brink_protocol::limits::MAX_BLOB_BYTES;
use serde::Serialize;

use super::generation::Generation;
use super::keys::Keys;

/// Most pixels of a picture before it is made smaller, unless the model says less: 4K, 8 megapixels and
/// a bit. Decoded, that is 36 MiB.
const MAX_PIXELS: u32 = 12_000_000;
/// Most pixels that `max_pixels` may allow.
const MOST_PIXELS: u32 = 100_000_000;
/// Largest width and height that a model may have.
const MOST_SIDE: u32 = 4_096;
/// Most numbers that a classifier of files may read of one.
const MOST_FEATURES: u32 = 1 << 20;

/// What a model does, with what it needs for that.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum ModelTask {
    /// Text to a vector.
    Embed(Embedding),
    /// Something to scores.
    Classify(Classification),
    /// Tensors to tensors.
    Generic {
        /// Whether the first dimension of every tensor counts items.
        batched: bool,
    },
    /// A prompt to text.
    Generate(Generation),
}

/// Settings of `task = "embed"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Embedding {
    /// The tokenizer, relative to the folder.
    pub tokenizer_file: String,
    /// Limits of the input.
    pub text: TextLimits,
    /// Elements of a vector.
    pub dimensions: u32,
    /// What becomes of the model's output.
    pub pooling: Pooling,
    /// Whether vectors are divided by their length afterwards.
    pub normalize: bool,
}

/// How one vector is made of what the model gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Pooling {
    /// The model gives one vector per item.
    Inside,
    /// The mean of the tokens' vectors, padding left out.
    Mean,
    /// The first token's vector.
    Cls,
}

/// Settings of `task = "classify"`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Classification {
    /// What the model reads.
    pub input: ClassifierInput,
    /// One label a line, relative to the folder.
    pub labels_file: String,
    /// The output with the scores; the first one if that is not said.
    pub output: Option<String>,
    /// Whether the scores are logits, which softmax makes probabilities of.
    pub logits: bool,
}

/// What a classifier reads.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum ClassifierInput {
    /// Text.
    Text {
        /// The tokenizer, relative to the folder.
        tokenizer_file: String,
        /// Limits of the input.
        text: TextLimits,
    },
    /// A picture.
    Image(ImageInput),
    /// The beginning and the end of a file.
    Bytes(BytesInput),
}

/// How a picture becomes a tensor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImageInput {
    /// The model's input.
    pub tensor: String,
    /// Pixels in a row of the tensor.
    pub width: u32,
    /// Rows of the tensor.
    pub height: u32,
    /// Share of the shorter side that is kept, centred, before the picture is resized.
    pub crop: f32,
    /// How it is resized.
    pub resize: Resize,
    /// Subtracted from each colour, which is 0 to 255.
    pub mean: [f32; 3],
    /// Each colour is divided by it.
    pub std: [f32; 3],
    /// Blue first instead of red.
    pub bgr: bool,
    /// Colours last instead of first.
    pub channels_last: bool,
    /// Most bytes of a picture, compressed.
    pub max_bytes: u32,
    /// Most pixels of a picture.
    pub max_pixels: u32,
}

/// How pictures are resized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Resize {
    /// Cubic, with a = -0.5; smoothed when the picture gets smaller.
    Bicubic,
    /// Linear; smoothed when the picture gets smaller.
    Bilinear,
}

/// Which bytes of a file a model reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BytesInput {
    /// The model's input.
    pub tensor: String,
    /// How many from the beginning.
    pub begin: u32,
    /// How many from the end.
    pub end: u32,
    /// How far to look for them where white space is left out.
    pub block: u32,
    /// The number where there are no more bytes.
    pub padding: u32,
    /// Whether white space at the beginning and the end is left out.
    pub strip: bool,
    /// Most bytes of a file.
    pub max_bytes: u32,
}

impl ModelTask {
    /// The task's name, as in keys.
    pub fn task(&self) -> Task {
        match self {
            Self::Embed(_) => Task::Embed,
            Self::Classify(_) => Task::Classify,
            Self::Generic { .. } => Task::Generic,
            Self::Generate(_) => Task::Generate,
        }
    }

    /// Reads what the task needs.
    pub(super) fn read(keys: &mut Keys<'_>) -> Self {
        let tasks = [
            ("embed", Task::Embed),
            ("classify", Task::Classify),
            ("generic", Task::Generic),
            ("generate", Task::Generate),
        ];
        match keys.required_choice("task", &tasks) {
            Task::Embed => Self::Embed(embedding(keys)),
            Task::Classify => Self::Classify(classification(keys)),
            Task::Generic => Self::Generic {
                batched: keys.flag("batched", true),
            },
            Task::Generate => Self::Generate(Generation::read(keys)),
        }
    }
}

fn embedding(keys: &mut Keys<'_>) -> Embedding {
    let poolings = [
        ("inside", Pooling::Inside),
        ("mean", Pooling::Mean),
        ("cls", Pooling::Cls),
    ];
    Embedding {
        tokenizer_file: keys.file("tokenizer_file"),
        dimensions: keys.count("dimensions"),
        text: text_limits(keys),
        pooling: keys.choice("pooling", &poolings),
        normalize: keys.flag("normalize", false),
    }
}

fn text_limits(keys: &mut Keys<'_>) -> TextLimits {
    TextLimits {
        max_tokens: keys.count("max_tokens"),
        vocabulary: keys.count("vocabulary"),
    }
}

fn classification(keys: &mut Keys<'_>) -> Classification {
    let labels_file = keys.file("labels_file");
    let input = classifier_input(&mut keys.section("input"));
    let mut output = keys.section("output");
    Classification {
        input,
        labels_file,
        output: output.optional_text("tensor"),
        logits: output.choice("scores", &[("probabilities", false), ("logits", true)]),
    }
}

fn classifier_input(keys: &mut Keys<'_>) -> ClassifierInput {
    #[derive(Clone, Copy)]
    enum Kind {
        Text,
        Image,
        Bytes,
    }
    let kinds = [
        ("text", Kind::Text),
        ("image", Kind::Image),
        ("bytes", Kind::Bytes),
    ];
    match keys.required_choice("kind", &kinds) {
        Kind::Text => ClassifierInput::Text {
            tokenizer_file: keys.file("tokenizer_file"),
            text: text_limits(keys),
        },
        Kind::Image => ClassifierInput::Image(image_input(keys)),
        Kind::Bytes => ClassifierInput::Bytes(bytes_input(keys)),
    }
}

fn image_input(keys: &mut Keys<'_>) -> ImageInput {
    let mut sides = [0; 2];
    for (value, key) in sides.iter_mut().zip(["width", "height"]) {
        *value = keys.count(key);
        if *value > MOST_SIDE {
            keys.wrong(key, &format!("is {value}; it must be at most {MOST_SIDE}"));
        }
    }
    let std = keys.colours("std", [1.0; 3]);
    if std.iter().any(|number| *number <= 0.0) {
        keys.wrong("std", "has a number that is not above 0");
    }
    ImageInput {
        tensor: keys.text("tensor"),
        width: sides[0],
        height: sides[1],
        crop: keys.optional_number("crop", 0.01, 1.0).unwrap_or(1.0) as f32,
        resize: keys.choice(
            "resize",
            &[("bicubic", Resize::Bicubic), ("bilinear", Resize::Bilinear)],
        ),
        mean: keys.colours("mean", [0.0; 3]),
        std,
        bgr: keys.choice("channels", &[("rgb", false), ("bgr", true)]),
        channels_last: keys.choice("layout", &[("nchw", false), ("nhwc", true)]),
        max_bytes: max_bytes(keys),
        max_pixels: keys
            .optional_count("max_pixels", MOST_PIXELS)
            .unwrap_or(MAX_PIXELS),
    }
}

fn bytes_input(keys: &mut Keys<'_>) -> BytesInput {
    let begin = keys.optional_count("begin", MOST_FEATURES);
    let end = keys.optional_count("end", MOST_FEATURES);
    if begin.is_none() && end.is_none() {
        keys.wrong(
            "begin",
            "and end are missing: nothing of a file would be read",
        );
    }
    let (begin, end) = (begin.unwrap_or(0), end.unwrap_or(0));
    let block = keys.optional_count("block", MOST_FEATURES);
    BytesInput {
        tensor: keys.text("tensor"),
        begin,
        end,
        block: block.unwrap_or(begin.max(end)).max(begin).max(end),
        padding: keys.count("padding"),
        strip: keys.flag("strip", false),
        max_bytes: max_bytes(keys),
    }
}

fn max_bytes(keys: &mut Keys<'_>) -> u32 {
    let most = u32::try_from(MAX_BLOB_BYTES).unwrap_or(u32::MAX);
    keys.optional_count("max_bytes", most).unwrap_or(most)
}
