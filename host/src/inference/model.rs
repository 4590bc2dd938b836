//! A model folder: `model.toml` says what the model is, the files beside it are the model.
//!
//! A folder is read in two steps: [`ModelFolder`] knows what `model.toml` says, which costs nothing, and
//! [`ModelFiles`] has hashed every byte, which may be gigabytes.

use std::io;
use std::path::{Path, PathBuf};

use brink_cache::ModelDigest;

use super::device::Device;

mod digest;
mod folder;
mod labels;
mod manifest;

pub use folder::{Claim, ModelFolder};
pub use manifest::{
    BatchSettings, BytesInput, Classification, ClassifierInput, DecodeSettings, Embedding,
    Generation, ImageInput, Manifest, ModelTask, Pooling, Resize, RunSettings, WarmUp,
};

/// The file that describes the model.
pub const MANIFEST: &str = "model.toml";

/// A model folder that was read and hashed.
#[derive(Clone, Debug)]
pub struct ModelFiles {
    /// What `model.toml` says.
    pub manifest: Manifest,
    /// The folder.
    pub folder: PathBuf,
    /// Of a classifier, what each score is for.
    pub labels: Vec<String>,
    /// Bytes of the weights: of the ONNX file, and of those beside it whose names begin with its own, as
    /// those do by custom that hold a part of its weights (`model.onnx_data`).
    pub model_bytes: u64,
    /// What the model is, byte for byte.
    pub digest: ModelDigest,
}

/// Why a folder is no model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file is missing or cannot be read.
    #[error("{} cannot be read: run `cargo xtask setup` to build the default models", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// `model.toml` is wrong; every mistake is listed.
    #[error("{} is wrong: {}", path.display(), mistakes.join("; "))]
    Manifest {
        /// The file.
        path: PathBuf,
        /// One sentence each, with the key.
        mistakes: Vec<String>,
    },
    /// The labels are wrong.
    #[error("{} {problem}", path.display())]
    Labels {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

impl ModelFiles {
    /// Reads and hashes a folder. Reads every byte of the model: some tenths of a second.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        ModelFolder::read(folder)?.hash()
    }

    /// Whether the files are still those that were hashed. Reads every byte again: what was loaded between
    /// the two is what the digest says only if this is true.
    pub fn are_unchanged(&self) -> Result<bool, ModelError> {
        let manifest = &self.manifest;
        let now = digest::digest(&manifest.task, &manifest.model_file, &self.folder);
        let now = now.map_err(|(path, source)| ModelError::Read { path, source })?;
        Ok(now == self.digest)
    }

    /// The ONNX file.
    pub fn model(&self) -> PathBuf {
        self.folder.join(&self.manifest.model_file)
    }

    /// The ONNX file that runs on a device: that of half precision on CUDA, if there is one.
    pub fn model_on(&self, device: Device) -> PathBuf {
        match (&self.manifest.run.fp16_file, device) {
            (Some(file), Device::Cuda(_)) => self.folder.join(file),
            _ => self.model(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: &str = r#"
        name = "m"
        task = "embed"
        model_file = "model.onnx"
        tokenizer_file = "tokenizer.json"
        dimensions = 4
        max_tokens = 16
        vocabulary = 10
        created = 1
        owned_by = "us"
    "#;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, content) in files {
            let path = folder.path().join(name);
            let parent = path.parent().expect("it is in a folder");
            std::fs::create_dir_all(parent).expect("a writable folder");
            std::fs::write(path, content).expect("a writable folder");
        }
        folder
    }

    fn digest(settings: &str, more: &[(&str, &str)]) -> ModelDigest {
        let mut files = vec![
            (MANIFEST, settings),
            ("model.onnx", "weights"),
            ("tokenizer.json", "words"),
        ];
        files.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
        files.extend(more);
        let folder = folder(&files);
        ModelFiles::read(folder.path()).expect("a model").digest
    }

    #[test]
    fn digest_follows_every_file_and_setting_that_can_change_a_result() {
        let base = digest(SETTINGS, &[]);
        assert_eq!(base, digest(SETTINGS, &[]));
        let without_effect = [
            SETTINGS.replace("\"us\"", "\"them\""),
            SETTINGS.replace("created = 1", "created = 2\nversion = \"9\""),
            format!("{SETTINGS}\n[run]\nthreads = 2\n[batching]\nmax_items = 3"),
        ];
        let generic = |more: &str| {
            let settings = "name = \"g\"\ntask = \"generic\"\nmodel_file = \"model.onnx\"\ncreated = 1\nowned_by = \"us\"\n";
            digest(&format!("{settings}{more}"), &[])
        };
        assert_eq!(generic(""), generic("warm_up.shapes.x = [1, 8]"));
        for settings in without_effect {
            assert_eq!(base, digest(&settings, &[]), "{settings}");
        }
        for setting in [
            ("dimensions = 4", "dimensions = 5"),
            ("max_tokens = 16", "max_tokens = 17"),
            ("vocabulary = 10", "vocabulary = 11"),
            ("created", "pooling = \"mean\"\ncreated"),
            ("created", "normalize = true\ncreated"),
        ] {
            let changed = SETTINGS.replace(setting.0, setting.1);
            assert_ne!(base, digest(&changed, &[]), "{setting:?}");
        }
        let other_files: [&[(&str, &str)]; 4] = [
            &[("model.onnx", "weight"), ("tokenizer.json", "swords")],
            &[("model.onnx", "weights2")],
            &[("model.onnx_data", "more weights")],
            &[("data/part", "more weights")],
        ];
        for files in other_files {
            assert_ne!(base, digest(SETTINGS, files), "{files:?}");
        }
    }

    #[test]
    fn digest_follows_which_of_several_files_is_the_model() {
        let files = [("a.onnx", "one"), ("b.onnx", "two")];
        let of = |name: &str| digest(&SETTINGS.replace("model.onnx", name), &files);
        assert_ne!(of("a.onnx"), of("b.onnx"));
    }

    #[test]
    fn other_versions_inside_the_folder_are_models_of_their_own() {
        let inside = [("2/model.toml", "another"), ("2/model.onnx", "another")];
        assert_eq!(digest(SETTINGS, &[]), digest(SETTINGS, &inside));
    }

    /// Both files count for the digest wherever the model runs, so an edge need not know the device.
    #[test]
    fn device_chooses_between_the_files_of_a_model() {
        let settings = format!("{SETTINGS}\n[run]\nfp16_file = \"half.onnx\"");
        let files = [
            (MANIFEST, &settings[..]),
            ("model.onnx", "weights"),
            ("tokenizer.json", "words"),
        ];
        let folder = folder(&files);
        let error = ModelFiles::read(folder.path()).expect_err("no such file");
        assert!(error.to_string().contains("half.onnx"), "{error}");
        std::fs::write(folder.path().join("half.onnx"), "half").expect("a writable folder");
        let files = ModelFiles::read(folder.path()).expect("a model");
        assert!(files.model_on(Device::Cpu).ends_with("model.onnx"));
        assert!(files.model_on(Device::Cuda(1)).ends_with("half.onnx"));
        assert_ne!(files.digest, digest(SETTINGS, &[]));
    }

    /// Whatever is read after the hash, such as labels, is what was hashed, or the change is seen.
    #[test]
    fn change_after_the_hash_is_seen() {
        let files = [
            (MANIFEST, SETTINGS),
            ("model.onnx", "weights"),
            ("tokenizer.json", "words"),
        ];
        let folder = folder(&files);
        let files = ModelFiles::read(folder.path()).expect("a model");
        assert!(files.are_unchanged().expect("files"));
        std::fs::write(folder.path().join("tokenizer.json"), "swords").expect("writable");
        assert!(!files.are_unchanged().expect("files"));
        std::fs::remove_file(folder.path().join("model.onnx")).expect("writable");
        assert!(!files.are_unchanged().expect("files"));
    }

    #[test]
    fn weights_are_those_in_files_beside_the_model_too() {
        let files = [
            (MANIFEST, SETTINGS),
            ("model.onnx", "1234"),
            ("model.onnx_data", "123456"),
            ("model_fp16.onnx", "123"),
            ("tokenizer.json", "words"),
        ];
        let folder = folder(&files);
        let files = ModelFiles::read(folder.path()).expect("a model");
        assert_eq!(files.model_bytes, 10);
    }

    #[test]
    fn missing_files_are_named_with_the_remedy() {
        let folder = folder(&[]);
        let error = ModelFiles::read(folder.path()).expect_err("no model.toml");
        let message = error.to_string();
        assert!(message.contains("model.toml") && message.contains("cargo xtask setup"));

        std::fs::write(folder.path().join(MANIFEST), SETTINGS).expect("a writable folder");
        let error = ModelFiles::read(folder.path()).expect_err("no model.onnx");
        assert!(error.to_string().contains("model.onnx"));
    }
}
