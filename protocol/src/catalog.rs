//! Which models a host serves.

use brink_cache::ModelDigest;
use brink_cache::key::Task;
use serde::{Deserialize, Serialize};

use crate::tensor::TensorInfo;

/// The key of an edge's copy in a key-value store: a message of the time it was fetched
/// (`UnixSeconds`) and the [`Catalog`]. Keys of results are 64 hexadecimal digits, so this one can
/// never be one of theirs.
pub const STORE_KEY: &str = "brink/catalog/2";

/// All models of a host. An edge keeps it for some seconds, and keeps using it while the
/// host is away: entries of known models are still served then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    /// In the order in which `/v1/models` lists them. Of several versions of one model, the one that
    /// is served by default comes first.
    pub models: Vec<ModelInfo>,
}

impl Catalog {
    /// The model of that name, in the version that is served by default.
    pub fn find(&self, name: &str) -> Option<&ModelInfo> {
        self.models.iter().find(|model| model.name == name)
    }

    /// That version of the model.
    pub fn find_version(&self, name: &str, version: &str) -> Option<&ModelInfo> {
        let mut models = self.models.iter();
        models.find(|model| model.name == name && model.version == version)
    }
}

/// What an edge must know about a model to check a request and to name its results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// The name clients use.
    pub name: String,
    /// Which of several, as the operator names it.
    pub version: String,
    /// What the model is, byte for byte.
    pub digest: ModelDigest,
    /// What it does, and with what.
    pub kind: ModelKind,
    /// When the model was released, in Unix seconds (OpenAI's `created`).
    pub created: u64,
    /// Who made it (OpenAI's `owned_by`).
    pub owned_by: String,
}

/// What a model does, with what it reads and what it gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModelKind {
    /// Text or tokens in, one vector out.
    Embed {
        /// Limits of the input.
        text: TextLimits,
        /// Elements of a vector.
        dimensions: u32,
    },
    /// One input in, one score for each label out.
    Classify {
        /// What an input is.
        reads: Reads,
        /// One for each score, in the order of the scores.
        labels: Vec<String>,
    },
    /// Tensors in, tensors out.
    Generic {
        /// What an item consists of. Without the dimension of the batch.
        inputs: Vec<TensorInfo>,
        /// What comes out for an item. Without the dimension of the batch.
        outputs: Vec<TensorInfo>,
        /// Whether requests have a first dimension that counts items; otherwise a request is one item.
        batched: bool,
    },
    /// A prompt in, text out.
    Generate {
        /// Tokens of prompt and answer together, and of the vocabulary.
        text: TextLimits,
        /// Most tokens of an answer.
        max_new_tokens: u32,
        /// Whether it has a template for conversations.
        chat: bool,
    },
}

/// Limits of inputs that are texts or token ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextLimits {
    /// Most tokens of one input, special tokens included.
    pub max_tokens: u32,
    /// Token ids are below this.
    pub vocabulary: u32,
}

/// What a classifier reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reads {
    /// Text or token ids.
    Text(TextLimits),
    /// A picture: JPEG, PNG or WebP.
    Image {
        /// Most bytes of one, compressed.
        max_bytes: u32,
    },
    /// A file of any kind.
    Bytes {
        /// Most bytes of one.
        max_bytes: u32,
    },
}

impl ModelInfo {
    /// What it does, as a part of keys.
    pub fn task(&self) -> Task {
        match self.kind {
            ModelKind::Embed { .. } => Task::Embed,
            ModelKind::Classify { .. } => Task::Classify,
            ModelKind::Generic { .. } => Task::Generic,
            ModelKind::Generate { .. } => Task::Generate,
        }
    }

    /// Limits of texts, where it reads texts.
    pub fn text(&self) -> Option<TextLimits> {
        match &self.kind {
            ModelKind::Embed { text, .. } | ModelKind::Generate { text, .. } => Some(*text),
            ModelKind::Classify {
                reads: Reads::Text(text),
                ..
            } => Some(*text),
            ModelKind::Classify { .. } | ModelKind::Generic { .. } => None,
        }
    }

    /// Elements of its vectors, where it makes vectors.
    pub fn dimensions(&self) -> Option<u32> {
        match self.kind {
            ModelKind::Embed { dimensions, .. } => Some(dimensions),
            ModelKind::Classify { .. } | ModelKind::Generic { .. } | ModelKind::Generate { .. } => {
                None
            }
        }
    }
}
