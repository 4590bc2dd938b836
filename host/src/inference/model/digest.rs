//! What a model is, byte for byte.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use brink_cache::ModelDigest;

use super::MANIFEST;
use super::manifest::ModelTask;

/// Changes when the parts of the digest change; every old entry is then unreachable.
const SCHEMA: &[u8] = b"brink-model-3";
/// Most files of a model's folder; more are no model but a disk.
const MAX_FILES: usize = 1_000;

/// Hashes what can change a result: the task with its settings, which file is the model, and every file of the folder but
/// `model.toml`. Weights may lie in files that only the ONNX file names, so all count. Folders inside
/// count too, unless they hold a model of their own (another version).
///
/// The name is a part of every key already; `created` and `owned_by` are for people. The device and the
/// forming of batches are left out: the same weights elsewhere differ by rounding alone, and an edge
/// must not go cold for that.
pub(super) fn digest(
    task: &ModelTask,
    model_file: &str,
    folder: &Path,
) -> Result<ModelDigest, (PathBuf, io::Error)> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(SCHEMA);
    let task = serde_json::to_vec(task).expect("numbers and texts always serialise");
    part(&mut hasher, &task);
    part(&mut hasher, model_file.as_bytes());
    let mut files = Vec::new();
    list(folder, &mut files)?;
    files.sort();
    for path in files {
        let name = path.strip_prefix(folder).unwrap_or(&path);
        part(&mut hasher, name.as_os_str().as_encoded_bytes());
        // Each file by its own hash, so that no byte can move from one file to the next unseen.
        let hash = hash_file(&path).map_err(|error| (path, error))?;
        hasher.update(hash.as_bytes());
    }
    Ok(ModelDigest(*hasher.finalize().as_bytes()))
}

fn part(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), (PathBuf, io::Error)> {
    let failed = |error| (folder.to_owned(), error);
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            if !path.join(MANIFEST).is_file() {
                list(&path, files)?;
            }
        } else if path.file_name().is_some_and(|name| name != MANIFEST) {
            files.push(path);
        }
        if files.len() > MAX_FILES {
            let message = format!("the folder has more than {MAX_FILES} files");
            return Err(failed(io::Error::other(message)));
        }
    }
    Ok(())
}

fn hash_file(path: &Path) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(hasher.finalize())
}
