//! Which models a host serves.

use brink_cache::ModelDigest;
use brink_cache::key::Task;
use serde::{Deserialize, Serialize};

/// The key of an edge's copy in a key-value store: a message of the time it was fetched
/// (`UnixSeconds`) and the [`Catalog`]. Keys of results are 64 hexadecimal digits, so this one can
/// never be one of theirs.
pub const STORE_KEY: &str = "brink/catalog/1";

/// All models of a host. An edge keeps it for some seconds, and keeps using it while the
/// host is away: entries of known models are still served then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    /// In the order in which `/v1/models` lists them.
    pub models: Vec<ModelInfo>,
}

impl Catalog {
    /// The model of that name.
    pub fn find(&self, name: &str) -> Option<&ModelInfo> {
        self.models.iter().find(|model| model.name == name)
    }
}

/// What an edge must know about a model to check a request and to name its results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// The name clients use.
    pub name: String,
    /// What the model is, byte for byte.
    pub digest: ModelDigest,
    /// What it does.
    pub task: Task,
    /// Elements of its vectors.
    pub dimensions: u32,
    /// Most tokens of one input, special tokens included.
    pub max_tokens: u32,
    /// Token ids are below this.
    pub vocabulary: u32,
    /// When the model was released, in Unix seconds (OpenAI's `created`).
    pub created: u64,
    /// Who made it (OpenAI's `owned_by`).
    pub owned_by: String,
}
