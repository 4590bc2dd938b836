//! The ONNX Runtime library, loaded by path.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::ep::{self, ExecutionProvider};

/// The library allows one environment per process, and cannot be unloaded.
static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

/// A loaded ONNX Runtime. There is one per process: the first path that loads wins, and later
/// calls get that library. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Runtime {
    environment: Environment,
}

/// Why there is no runtime. Each message says what mends it.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// Nothing there: the usual case on a machine that was not set up.
    #[error("ONNX Runtime is missing at {}: run `cargo xtask setup`, or set BRINK_ONNXRUNTIME to the library", .0.display())]
    Missing(PathBuf),
    /// Something is there that cannot be loaded: another architecture, another library, too old.
    #[error("ONNX Runtime at {} cannot be used: run `cargo xtask setup` to fetch one that can", path.display())]
    Unusable {
        /// The library.
        path: PathBuf,
        /// What the loader says, with the version found and the version needed.
        #[source]
        source: ort::LoadDynamicError,
    },
    /// The library loaded and would not start.
    #[error("ONNX Runtime does not start")]
    Start(#[source] ort::Error),
}

impl Runtime {
    /// Loads the library. The path must be absolute or relative to the working directory.
    pub fn load(library: &Path) -> Result<Self, RuntimeError> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*loaded {
            return Ok(runtime.clone());
        }
        let runtime = Self::load_first(library)?;
        *loaded = Some(runtime.clone());
        Ok(runtime)
    }

    fn load_first(library: &Path) -> Result<Self, RuntimeError> {
        let path = std::path::absolute(library).unwrap_or_else(|_| library.to_owned());
        if !path.exists() {
            return Err(RuntimeError::Missing(path));
        }
        let environment = ort::init_from(&path)
            .map_err(|source| RuntimeError::Unusable { path, source })?
            .with_name("brink")
            .with_telemetry(false)
            .build()
            .map_err(RuntimeError::Start)?;
        Ok(Self { environment })
    }

    /// Whether this build of the library can run on CUDA. The machine may still lack a device.
    pub(super) fn has_cuda(&self) -> bool {
        ep::CUDA::is_available().unwrap_or(false)
    }

    pub(super) fn environment(&self) -> &Environment {
        &self.environment
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_and_foreign_libraries_name_the_path_and_the_remedy() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("libonnxruntime.so");
        let error = Runtime::load(&path)
            .expect_err("nothing is there")
            .to_string();
        assert!(error.contains("libonnxruntime.so") && error.contains("cargo xtask setup"));

        std::fs::write(&path, b"no library").expect("a writable folder");
        let error = Runtime::load(&path).expect_err("not a library").to_string();
        assert!(error.contains("libonnxruntime.so") && error.contains("cargo xtask setup"));
    }
}
