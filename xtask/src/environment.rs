//! The variables that tell tests and benchmarks where set-up put things.

use std::path::PathBuf;

use crate::cache::CacheDir;
use crate::setup::onnxruntime::{self, Build};
use crate::setup::python;
use crate::workspace::Workspace;

/// Name and value of each variable.
pub(crate) fn exported(
    cache: &CacheDir,
    workspace: &Workspace,
    build: Build,
) -> [(&'static str, PathBuf); 6] {
    [
        ("BRINK_CACHE", cache.root().to_owned()),
        ("BRINK_ONNXRUNTIME", onnxruntime::library(cache, build)),
        ("BRINK_MODELS", cache.models()),
        ("BRINK_TEST_MODELS", cache.test_models()),
        ("BRINK_COMPONENTS", workspace.components_dir()),
        (
            "BRINK_TEST_PYTHON",
            python::interpreter(&cache.test_python()),
        ),
    ]
}
