//! A model folder: `model.toml` says what the model is, the files beside it are the model.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use brink_cache::ModelDigest;
use brink_protocol::{ModelInfo, ModelKind, TextLimits};

mod manifest;

pub use manifest::Manifest;

/// The file that describes the model.
const MANIFEST: &str = "model.toml";
/// Changes when the parts of the digest change; every old entry is then unreachable.
const DIGEST_SCHEMA: &[u8] = b"brink-model-1";

/// A model folder that was read and hashed.
#[derive(Clone, Debug)]
pub struct ModelFiles {
    /// What `model.toml` says.
    pub manifest: Manifest,
    /// The ONNX file.
    pub model: PathBuf,
    /// The tokenizer.
    pub tokenizer: PathBuf,
    /// What the model is, byte for byte.
    pub digest: ModelDigest,
}

/// Why a folder is no model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file is missing or cannot be read.
    #[error("{} cannot be read: run `cargo xtask setup` to build the default model", path.display())]
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
}

impl ModelFiles {
    /// Reads and hashes a folder. Reads every byte of the model: some tenths of a second.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join(MANIFEST);
        let text = std::fs::read_to_string(&path).map_err(|source| ModelError::Read {
            path: path.clone(),
            source,
        })?;
        let manifest =
            Manifest::parse(&text).map_err(|mistakes| ModelError::Manifest { path, mistakes })?;
        let model = folder.join(&manifest.model_file);
        let tokenizer = folder.join(&manifest.tokenizer_file);
        let digest = digest(&manifest, [&model, &tokenizer])?;
        Ok(Self {
            manifest,
            model,
            tokenizer,
            digest,
        })
    }

    /// What edges are told about the model.
    pub fn info(&self) -> ModelInfo {
        ModelInfo {
            name: self.manifest.name.clone(),
            version: "1".to_owned(),
            digest: self.digest,
            kind: ModelKind::Embed {
                text: TextLimits {
                    max_tokens: self.manifest.max_tokens,
                    vocabulary: self.manifest.vocabulary,
                },
                dimensions: self.manifest.dimensions,
            },
            created: self.manifest.created,
            owned_by: self.manifest.owned_by.clone(),
        }
    }
}

/// Hashes the files and the settings that can change a result. The name is a part of every key
/// already; `created` and `owned_by` are for people. The device is left out: the same
/// weights on another device differ by rounding alone, and an edge must not go cold for that.
fn digest(manifest: &Manifest, files: [&Path; 2]) -> Result<ModelDigest, ModelError> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(DIGEST_SCHEMA);
    hasher.update(manifest.task.name().as_bytes());
    for setting in [
        manifest.dimensions,
        manifest.max_tokens,
        manifest.vocabulary,
    ] {
        hasher.update(&setting.to_le_bytes());
    }
    for path in files {
        // Each file by its own hash, so that no byte can move from one file to the next unseen.
        let hash = hash_file(path).map_err(|source| ModelError::Read {
            path: path.to_owned(),
            source,
        })?;
        hasher.update(hash.as_bytes());
    }
    Ok(ModelDigest(*hasher.finalize().as_bytes()))
}

fn hash_file(path: &Path) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(hasher.finalize())
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

    fn folder(settings: &str, model: &str, tokenizer: &str) -> ModelFiles {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, content) in [
            (MANIFEST, settings),
            ("model.onnx", model),
            ("tokenizer.json", tokenizer),
        ] {
            std::fs::write(folder.path().join(name), content).expect("a writable folder");
        }
        ModelFiles::read(folder.path()).expect("a model")
    }

    #[test]
    fn digest_follows_every_file_and_setting_that_can_change_a_result() {
        let base = folder(SETTINGS, "weights", "words").digest;
        assert_eq!(base, folder(SETTINGS, "weights", "words").digest);
        let renamed = SETTINGS.replace("\"us\"", "\"them\"");
        assert_eq!(base, folder(&renamed, "weights", "words").digest);

        assert_ne!(base, folder(SETTINGS, "weight", "swords").digest);
        assert_ne!(base, folder(SETTINGS, "weights", "other").digest);
        let shorter = SETTINGS.replace("max_tokens = 16", "max_tokens = 8");
        assert_ne!(base, folder(&shorter, "weights", "words").digest);
    }

    #[test]
    fn missing_files_are_named() {
        let empty = tempfile::tempdir().expect("a temporary folder");
        let error = ModelFiles::read(empty.path()).expect_err("nothing is there");
        assert!(error.to_string().contains("model.toml"), "{error}");
        std::fs::write(empty.path().join(MANIFEST), SETTINGS).expect("a writable folder");
        let error = ModelFiles::read(empty.path()).expect_err("no weights");
        assert!(error.to_string().contains("model.onnx"), "{error}");
    }
}
