//! The `[models]` settings.

use std::time::Duration;

/// Which models are served and how long they stay in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryConfig {
    /// Which of several versions of a model are loaded at start. Default: the latest.
    pub versions: Versions,
    /// A model that nobody asked for so long leaves memory, and comes back when somebody asks. `None`
    /// (the default): never.
    pub idle_unload_after: Option<Duration>,
    /// Most memory of all models, in bytes. Beyond it the one that was used longest ago leaves; a
    /// request for a model that finds no room gets 503. One that takes more by itself is not loaded.
    /// `None` (the default): no limit.
    pub max_memory_bytes: Option<u64>,
    /// How long a model that could not be loaded on demand is not tried again. Default: 10 s.
    pub retry_load_after: Duration,
    /// Longest time for reading, loading and warming a model; then the load is given up. Default: five
    /// minutes, which large models take from a slow disk.
    pub load_timeout: Duration,
}

/// Which of several versions are loaded at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// The highest: numbers by value, all else by its letters.
    Latest,
    /// All; the highest is the one that is served where a request names none.
    All,
}

impl Default for RepositoryConfig {
    fn default() -> Self {
        Self {
            versions: Versions::Latest,
            idle_unload_after: None,
            max_memory_bytes: None,
            retry_load_after: Duration::from_secs(10),
            load_timeout: Duration::from_secs(300),
        }
    }
}
