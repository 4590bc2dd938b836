//! The folder of models: `NAME/model.toml`, or `NAME/VERSION/model.toml` for several versions.

use std::cmp::Ordering;
use std::io;
use std::path::{Path, PathBuf};

use crate::inference::MANIFEST;

/// Most folders that are looked into.
const MAX_FOLDERS: usize = 10_000;

/// Every folder that holds a `model.toml`, by name.
pub(super) fn model_folders(models: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut looked_into = 0;
    for folder in folders(models)? {
        for candidate in [folder.clone()].into_iter().chain(folders(&folder)?) {
            looked_into += 1;
            if looked_into > MAX_FOLDERS {
                let message = format!("there are more than {MAX_FOLDERS} folders");
                return Err(io::Error::other(message));
            }
            if candidate.join(MANIFEST).is_file() {
                found.push(candidate);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    Ok(folders)
}

/// Which version is the later one: runs of digits by value, all else by its letters. So "2" is before
/// "10", and "1.9" before "1.10".
pub(super) fn compare_versions(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (parts(a), parts(b));
    loop {
        match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (a, b) if a == b => {}
            (Some(a), Some(b)) => return compare_parts(a, b),
            (a, _) => {
                return if a.is_none() {
                    Ordering::Less
                } else {
                    Ordering::Greater
                };
            }
        }
    }
}

fn compare_parts(a: &str, b: &str) -> Ordering {
    let digits = |part: &str| part.starts_with(|it: char| it.is_ascii_digit());
    if digits(a) && digits(b) {
        let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
        return a.len().cmp(&b.len()).then(a.cmp(b));
    }
    a.cmp(b)
}

/// Runs of digits and runs of anything else.
fn parts(version: &str) -> impl Iterator<Item = &str> {
    let mut rest = version;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?.is_ascii_digit();
        let end = rest.find(|it: char| it.is_ascii_digit() != first);
        let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_number() {
        let mut versions = ["10", "2", "1.10", "1.9", "1", "v2", "1.9-rc", "02b"];
        versions.sort_by(|a, b| compare_versions(a, b));
        assert_eq!(
            versions,
            ["1", "1.9", "1.9-rc", "1.10", "2", "02b", "10", "v2"]
        );
    }

    #[test]
    fn models_and_their_versions_are_found() {
        let models = tempfile::tempdir().expect("a temporary folder");
        for folder in ["a", "b/1", "b/2", "c/deep/deeper", "empty"] {
            let folder = models.path().join(folder);
            std::fs::create_dir_all(&folder).expect("a writable folder");
            if !folder.ends_with("empty") {
                std::fs::write(folder.join(MANIFEST), "").expect("a writable folder");
            }
        }
        let found = model_folders(models.path()).expect("a folder");
        let names: Vec<_> = found
            .iter()
            .map(|folder| folder.strip_prefix(models.path()).expect("inside"))
            .collect();
        assert_eq!(names, [Path::new("a"), Path::new("b/1"), Path::new("b/2")]);
        assert!(model_folders(Path::new("/nowhere")).is_err());
    }
}
