//! Where models come from.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::batch::{BatchConfig, BatchMetrics};
use crate::inference::{InferenceConfig, ModelFiles, Runtime, resident_bytes};
use crate::service::model::{GenerateOptions, Model, OpenError, generation};

/// Makes serving models of folders. A trait, so that loading, switching and unloading are tested without
/// a runtime.
pub trait Loader: Send + Sync + fmt::Debug {
    /// The folder that holds a folder per model.
    fn models(&self) -> &Path;

    /// Loads and warms the model. Seconds; not for a thread that serves.
    fn open(&self, files: &ModelFiles) -> Result<Model, OpenError>;

    /// Lets go what was counted of models that are served no more.
    fn forget_all_but(&self, _is_served: &dyn Fn(&str) -> bool) {}

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
    fn models(&self) -> &Path {
        &self.models
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

    fn forget_all_but(&self, is_served: &dyn Fn(&str) -> bool) {
        self.metrics.forget_all_but(is_served);
    }
}
