//! Where models come from.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::folders::model_folders;
use crate::batch::{BatchConfig, BatchMetrics};
use crate::inference::{InferenceConfig, ModelFiles, Runtime, resident_bytes};
use crate::service::model::{GenerateOptions, Model, OpenError, generation};

/// Makes serving models of folders. A trait, so that loading, switching and unloading are tested without
/// a runtime.
pub trait Loader: Send + Sync + fmt::Debug {
    /// Every folder with a model.
    fn folders(&self) -> io::Result<Vec<PathBuf>>;

    /// Reads and hashes a folder.
    fn read(&self, folder: &Path) -> Result<ModelFiles, OpenError>;

    /// Loads and warms the model. Seconds; not for a thread that serves.
    fn open(&self, files: &ModelFiles) -> Result<Model, OpenError>;

    /// Bytes of the process that are in memory, by which the size of a model is measured.
    fn resident_bytes(&self) -> u64 {
        resident_bytes()
    }
}

/// Models of a folder, run by ONNX Runtime.
#[derive(Clone, Debug)]
pub struct FolderLoader {
    /// The folder that holds a folder per model.
    pub models: PathBuf,
    /// ONNX Runtime.
    pub runtime: Runtime,
    /// How models are run.
    pub inference: InferenceConfig,
    /// How batches are formed.
    pub batch: BatchConfig,
    /// What to count into.
    pub metrics: BatchMetrics,
    /// How models that write are run.
    pub generate: GenerateOptions,
}

impl Loader for FolderLoader {
    fn folders(&self) -> io::Result<Vec<PathBuf>> {
        model_folders(&self.models)
    }

    fn read(&self, folder: &Path) -> Result<ModelFiles, OpenError> {
        Ok(ModelFiles::read(folder)?)
    }

    fn open(&self, files: &ModelFiles) -> Result<Model, OpenError> {
        if let Some(generation) = generation(files) {
            let (runtime, options) = (&self.runtime, &self.generate);
            return Model::of_writer(runtime, files, generation, &self.inference, options);
        }
        Model::of_files(
            &self.runtime,
            files,
            &self.inference,
            &self.batch,
            &self.metrics,
        )
    }
}
