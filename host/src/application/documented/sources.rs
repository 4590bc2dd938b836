//! The names of metrics in the files that register them.

use std::path::{Path, PathBuf};

/// File and name of every metric: texts that consist of a name, in files whose own name has "metrics" in it, as
/// CONTRIBUTING.md asks.
pub(super) fn registered() -> Vec<(String, String)> {
    let mut files = Vec::new();
    find(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    let mut names = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a file that can be read");
        let texts = text.split('"').filter(|text| is_name(text));
        names.extend(texts.map(|name| (file.display().to_string(), name.to_owned())));
    }
    assert!(!names.is_empty(), "there are metrics");
    names
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        if path.is_dir() {
            find(&path, files);
        } else if name.is_some_and(|name| name.contains("metrics") && name.ends_with(".rs")) {
            files.push(path);
        }
    }
}

fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.starts_with("brink_") && text.chars().all(allowed)
}
