//! A folder for one test.

use std::fs;
use std::path::{Path, PathBuf};

/// Removed when dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// `name` must differ between tests, which run at the same time.
    pub(crate) fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("brink-xtask-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}
