//! A model folder by what its `model.toml` says: cheap, whatever the size of the model.

use std::io;
use std::path::{Path, PathBuf};

use super::digest;
use super::labels;
use super::manifest::{FIRST_VERSION, Manifest, ModelTask};
use super::{MANIFEST, ModelError, ModelFiles};

/// A folder whose `model.toml` was read. Nothing is known of the files beside it.
#[derive(Clone, Debug)]
pub struct ModelFolder {
    /// What `model.toml` says.
    pub manifest: Manifest,
    /// The folder.
    pub folder: PathBuf,
}

/// What a `model.toml` with mistakes says all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The model that it claims to be; `None` if that is absent or no text.
    pub name: Option<String>,
    /// The version; `None` if that is no text.
    pub version: Option<String>,
}

impl ModelFolder {
    /// Reads `model.toml`, and nothing else.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join(MANIFEST);
        let text = std::fs::read_to_string(&path).map_err(failed(&path))?;
        let manifest =
            Manifest::parse(&text).map_err(|mistakes| ModelError::Manifest { path, mistakes })?;
        Ok(Self {
            manifest,
            folder: folder.to_owned(),
        })
    }

    /// Which model a folder claims to be that cannot be read; `None` if its `model.toml` is no TOML.
    pub fn claim(folder: &Path) -> Option<Claim> {
        let text = std::fs::read_to_string(folder.join(MANIFEST)).ok()?;
        let table: toml::Table = text.parse().ok()?;
        let text = |value: &toml::Value| value.as_str().map(str::to_owned);
        Some(Claim {
            name: table.get("name").and_then(text),
            version: match table.get("version") {
                None => Some(FIRST_VERSION.to_owned()),
                Some(version) => text(version),
            },
        })
    }

    /// Looks at the model itself: reads and hashes every byte.
    pub fn hash(self) -> Result<ModelFiles, ModelError> {
        let Self { manifest, folder } = self;
        let model = folder.join(&manifest.model_file);
        let model_bytes = weight_bytes(&folder, &manifest.model_file).map_err(failed(&model))?;
        let beside = [
            manifest.tokenizer_file(),
            manifest.template_file(),
            manifest.run.fp16_file.as_deref(),
        ];
        for name in beside.into_iter().flatten() {
            let path = folder.join(name);
            std::fs::metadata(&path).map_err(failed(&path))?;
        }
        let digest = digest::digest(&manifest.task, &manifest.model_file, &folder)
            .map_err(|(path, source)| ModelError::Read { path, source })?;
        // After the hash, as all that is loaded: a change between the two is seen by hashing again.
        let labels = match &manifest.task {
            ModelTask::Classify(it) => labels::read(&folder.join(&it.labels_file))?,
            ModelTask::Embed(_) | ModelTask::Generic { .. } | ModelTask::Generate(_) => Vec::new(),
        };
        Ok(ModelFiles {
            manifest,
            folder,
            labels,
            model_bytes,
            digest,
        })
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> ModelError {
    let path = path.to_owned();
    move |source| ModelError::Read { path, source }
}

/// Bytes of a file and of those beside it whose names begin with its own.
fn weight_bytes(folder: &Path, file: &str) -> io::Result<u64> {
    let mut bytes = std::fs::metadata(folder.join(file))?.len();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(file.as_bytes()) && name != file.as_bytes() {
            bytes += std::fs::metadata(entry.path())?.len();
        }
    }
    Ok(bytes)
}
