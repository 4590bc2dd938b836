//! Where the model and the runtime are: the variables that the commands set, or the cache folder.

use std::env;
use std::path::PathBuf;

/// The folder of the default model.
pub(crate) fn model() -> PathBuf {
    named("all-MiniLM-L6-v2")
}

/// The folder of a model.
pub(crate) fn named(name: &str) -> PathBuf {
    let models = env::var_os("BRINK_MODELS").map(PathBuf::from);
    models.unwrap_or_else(|| cache().join("models")).join(name)
}

/// The folder of models that are no part of the default set-up.
pub(crate) fn on_demand() -> PathBuf {
    let models = env::var_os("BRINK_TEST_MODELS").map(PathBuf::from);
    models.unwrap_or_else(|| cache().join("models-test"))
}

/// The ONNX Runtime library.
pub(crate) fn onnxruntime() -> PathBuf {
    let library = env::var_os("BRINK_ONNXRUNTIME").map(PathBuf::from);
    library.unwrap_or_else(|| cache().join("onnxruntime/1.31.1/libonnxruntime.so"))
}

fn cache() -> PathBuf {
    let folder = |variable| env::var_os(variable).map(PathBuf::from);
    folder("BRINK_CACHE")
        .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("brink")))
        .or_else(|| folder("HOME").map(|home| home.join(".cache/brink")))
        .unwrap_or_else(|| PathBuf::from(".cache/brink"))
}
