//! `files` of a component: read-only folders that it sees.
//!
//! A folder with a destination is mounted where it is, if nothing is excluded.
//! Everything else is copied once, at start, into a temporary folder that is
//! mounted as `/`, as Spin does it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tempfile::TempDir;

use super::manifest::{ComponentSpec, FileMount};

/// Why a component's files cannot be mounted.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A pattern that is no glob pattern.
    #[error("{pattern:?} is not a valid file pattern")]
    Pattern {
        /// As written.
        pattern: String,
        /// Why not.
        #[source]
        source: glob::PatternError,
    },
    /// Nothing is there.
    #[error("{path} does not exist, or no file matches it", path = path.display())]
    NotFound {
        /// As written.
        path: PathBuf,
    },
    /// A file cannot be read or copied.
    #[error("cannot copy {path}", path = path.display())]
    Copy {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// The folders that a component sees, and where.
#[derive(Clone, Default)]
pub(super) struct Mounts {
    folders: Vec<(PathBuf, String)>,
    /// Deleted when the last user is gone.
    _copied: Option<Arc<TempDir>>,
}

impl Mounts {
    /// Prepares the files of `spec`; `folder` is the manifest's.
    pub(super) fn prepare(spec: &ComponentSpec, folder: &Path) -> Result<Self, FilesError> {
        let mut copier = Copier::new(spec, folder)?;
        let mut folders = Vec::new();
        for mount in &spec.files {
            match mount {
                FileMount::Pattern(pattern) => copier.copy_pattern(pattern)?,
                FileMount::Placement {
                    source,
                    destination,
                } => {
                    let path = folder.join(source);
                    if path.is_dir() && spec.exclude_files.is_empty() {
                        folders.push((path, destination.clone()));
                    } else {
                        copier.copy_placement(source, destination)?;
                    }
                }
            }
        }
        let copied = copier.target.map(Arc::new);
        if let Some(target) = &copied {
            folders.push((target.path().to_owned(), "/".to_owned()));
        }
        Ok(Self {
            folders,
            _copied: copied,
        })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Path, &str)> {
        self.folders
            .iter()
            .map(|(folder, destination)| (folder.as_path(), destination.as_str()))
    }
}

/// Copies files below `folder` into a temporary folder, which is created with the first one.
struct Copier<'a> {
    folder: &'a Path,
    exclude: Vec<glob::Pattern>,
    target: Option<TempDir>,
}

impl<'a> Copier<'a> {
    fn new(spec: &ComponentSpec, folder: &'a Path) -> Result<Self, FilesError> {
        let parse = |pattern: &String| {
            glob::Pattern::new(pattern).map_err(|source| FilesError::Pattern {
                pattern: pattern.clone(),
                source,
            })
        };
        Ok(Self {
            folder,
            exclude: spec
                .exclude_files
                .iter()
                .map(parse)
                .collect::<Result<_, _>>()?,
            target: None,
        })
    }

    fn copy_pattern(&mut self, pattern: &str) -> Result<(), FilesError> {
        let mut found = false;
        for path in self.matching(pattern)? {
            found = true;
            if path.is_file() {
                let relative = path.strip_prefix(self.folder).unwrap_or(&path).to_owned();
                self.copy(&path, &relative)?;
            }
        }
        if found {
            return Ok(());
        }
        let path = PathBuf::from(pattern);
        Err(FilesError::NotFound { path })
    }

    fn copy_placement(&mut self, source: &Path, destination: &str) -> Result<(), FilesError> {
        let destination = Path::new(destination.trim_start_matches('/'));
        let path = self.folder.join(source);
        if path.is_file() {
            return self.copy(&path, destination);
        }
        if !path.is_dir() {
            let path = source.to_owned();
            return Err(FilesError::NotFound { path });
        }
        for file in self.matching(&format!("{}/**/*", source.display()))? {
            if file.is_file() {
                let relative = file.strip_prefix(&path).unwrap_or(&file);
                self.copy(&file, &destination.join(relative))?;
            }
        }
        Ok(())
    }

    /// Paths below the manifest's folder that match `pattern`.
    fn matching(&self, pattern: &str) -> Result<Vec<PathBuf>, FilesError> {
        let root = glob::Pattern::escape(&self.folder.to_string_lossy());
        let full = Path::new(&root).join(pattern);
        let paths = glob::glob(&full.to_string_lossy()).map_err(|source| FilesError::Pattern {
            pattern: pattern.to_owned(),
            source,
        })?;
        paths
            .map(|path| {
                path.map_err(|error| FilesError::Copy {
                    path: error.path().to_owned(),
                    source: error.into(),
                })
            })
            .collect()
    }

    /// Copies one file to `relative` below the target, unless it is excluded.
    fn copy(&mut self, path: &Path, relative: &Path) -> Result<(), FilesError> {
        let in_app = path.strip_prefix(self.folder).unwrap_or(path);
        if self
            .exclude
            .iter()
            .any(|pattern| pattern.matches_path(in_app))
        {
            return Ok(());
        }
        let failed = |source| FilesError::Copy {
            path: path.to_owned(),
            source,
        };
        let target = match &self.target {
            Some(target) => target.path().to_owned(),
            None => {
                let target = TempDir::with_prefix("brink-files-").map_err(failed)?;
                self.target.insert(target).path().to_owned()
            }
        };
        let to = target.join(relative);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        fs::copy(path, to).map_err(failed)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn spec(files: Vec<FileMount>, exclude: &[&str]) -> ComponentSpec {
        ComponentSpec {
            id: "test".into(),
            source: PathBuf::new(),
            files,
            exclude_files: exclude.iter().map(ToString::to_string).collect(),
            variables: BTreeMap::new(),
            environment: BTreeMap::new(),
            allowed_outbound_hosts: Default::default(),
            key_value_stores: BTreeSet::new(),
        }
    }

    fn app() -> TempDir {
        let app = TempDir::new().unwrap();
        fs::create_dir_all(app.path().join("static/deep")).unwrap();
        for file in ["static/a.html", "static/b.map", "static/deep/c.html"] {
            fs::write(app.path().join(file), file).unwrap();
        }
        app
    }

    #[test]
    fn patterns_are_copied_to_the_same_place_without_what_is_excluded() {
        let app = app();
        let files = vec![FileMount::Pattern("static/**/*".into())];
        let mounts = Mounts::prepare(&spec(files, &["**/*.map"]), app.path()).unwrap();
        let (folder, destination) = mounts.iter().next().unwrap();
        assert_eq!(destination, "/");
        assert!(folder.join("static/deep/c.html").is_file());
        assert!(!folder.join("static/b.map").exists());
        let folder = folder.to_owned();
        drop(mounts);
        assert!(!folder.exists(), "the copy goes with its last user");
    }

    #[test]
    fn folders_are_mounted_directly_and_single_files_are_copied() {
        let app = app();
        let place = |source: &str, destination: &str| FileMount::Placement {
            source: source.into(),
            destination: destination.into(),
        };
        let files = vec![
            place("static", "/site"),
            place("static/a.html", "/x/index.html"),
        ];
        let mounts = Mounts::prepare(&spec(files, &[]), app.path()).unwrap();
        let all: Vec<_> = mounts.iter().collect();
        assert_eq!(all[0], (app.path().join("static").as_path(), "/site"));
        assert!(all[1].0.join("x/index.html").is_file());
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error_that_names_it() {
        let app = app();
        let files = vec![FileMount::Pattern("missing/*".into())];
        let error = Mounts::prepare(&spec(files, &[]), app.path())
            .err()
            .unwrap();
        assert_eq!(
            error.to_string(),
            "missing/* does not exist, or no file matches it"
        );
    }
}
