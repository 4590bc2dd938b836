//! Which models a host serves.

use brink_cache::ModelDigest;
use brink_cache::key::Task;
use serde::{Deserialize, Serialize};

use crate::tensor::TensorInfo;

/// The key of an edge's copy in a key-value store: a message of the time it was fetched
/// (`UnixSeconds`) and the [`Catalog`]. Keys of results are 64 hexadecimal digits, so this one can
/// never be one of theirs.
pub const STORE_KEY: &str = "brink/catalog/3";

/// All models of a host. An edge keeps it for some seconds, and keeps using it while the
/// host is away: entries of known models are still served then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    /// In the order in which `/v1/models` lists them. Of several versions of one model, the one that
    /// is served by default comes first.
    pub models: Vec<ModelInfo>,
    /// Places in `models` of those that could not run when the host told this: their model only failed
    /// lately, or cannot be loaded. A model that is loaded when somebody asks is none of them.
    pub broken: Vec<u32>,
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

    /// Whether a model of this catalogue could run when the host told it.
    pub fn is_ready(&self, model: &ModelInfo) -> bool {
        let same = |other: &ModelInfo| other.name == model.name && other.version == model.version;
        let mut broken = self.broken.iter();
        !broken.any(|place| self.models.get(*place as usize).is_some_and(same))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str, version: &str) -> ModelInfo {
        ModelInfo {
            name: name.to_owned(),
            version: version.to_owned(),
            digest: ModelDigest([0; 32]),
            kind: ModelKind::Generic {
                inputs: Vec::new(),
                outputs: Vec::new(),
                batched: true,
            },
            created: 0,
            owned_by: "us".to_owned(),
        }
    }

    #[test]
    fn one_broken_version_says_nothing_about_the_others() {
        let catalog = Catalog {
            models: vec![model("a", "2"), model("a", "1"), model("b", "1")],
            // The second place is none: whoever wrote it, nobody falls over it.
            broken: vec![1, 9],
        };
        let ready = catalog.models.iter().map(|model| catalog.is_ready(model));
        assert_eq!(ready.collect::<Vec<_>>(), [true, false, true]);
    }
}
