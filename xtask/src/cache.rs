//! The folder that keeps what set-up fetched and built, outside the checkout, so that several checkouts and
//! CI runs share it. Everything in it can be deleted at any time; it is made again.
//!
//! ```text
//! staging/                             what is being made right now, or was when it was interrupted
//! downloads/                           packages as fetched, checked by sha256
//! onnxruntime/1.31.1/                  libonnxruntime.so; 1.31.1-gpu/ likewise, with the CUDA provider
//! cuda/                                NVIDIA's packages, if somebody put them there
//! venv/ venv-test/                     Python: for the converters, and for the tests
//! models/NAME/                         model.toml, model.onnx, and a tokenizer.json or a labels.txt
//! models-test/NAME/                    likewise, of models that only tests use unless somebody asks for them
//! ```

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// The cache folder; its path is absolute.
#[derive(Clone, Debug)]
pub(crate) struct CacheDir {
    root: PathBuf,
}

impl CacheDir {
    /// `$BRINK_CACHE`, else `$XDG_CACHE_HOME/brink`, else `~/.cache/brink`.
    pub(crate) fn from_environment() -> Result<Self, Error> {
        let root = resolve(|name| std::env::var_os(name).filter(|value| !value.is_empty()))
            .ok_or(Error::NoHome)?;
        let root = std::path::absolute(&root).map_err(Error::io("find", &root))?;
        Ok(Self { root })
    }

    #[cfg(test)]
    pub(crate) fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where folders are filled before they are moved into place. Not beside their place: whoever lists
    /// `models/` sees finished models only.
    pub(crate) fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    pub(crate) fn downloads(&self) -> PathBuf {
        self.root.join("downloads")
    }

    pub(crate) fn onnxruntime(&self, version: &str) -> PathBuf {
        self.root.join("onnxruntime").join(version)
    }

    /// Where NVIDIA's Python packages may be put.
    pub(crate) fn cuda(&self) -> PathBuf {
        self.root.join("cuda")
    }

    pub(crate) fn models(&self) -> PathBuf {
        self.root.join("models")
    }

    /// Models for tests that are no part of the default set-up.
    pub(crate) fn test_models(&self) -> PathBuf {
        self.root.join("models-test")
    }

    /// Compiled components, as `brink up` keeps them.
    pub(crate) fn compiled_components(&self) -> PathBuf {
        self.root.join("compiled")
    }

    /// The Python environment that fetches packages and runs the converters.
    pub(crate) fn converter_python(&self) -> PathBuf {
        self.root.join("venv")
    }

    /// The Python environment of the tests: the official client.
    pub(crate) fn test_python(&self) -> PathBuf {
        self.root.join("venv-test")
    }
}

fn resolve(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if let Some(explicit) = variable("BRINK_CACHE") {
        return Some(explicit.into());
    }
    // The XDG specification tells programs to ignore a relative path.
    let shared = variable("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let caches = shared.or_else(|| Some(Path::new(&variable("HOME")?).join(".cache")))?;
    Some(caches.join("brink"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_variable_that_is_set_decides() {
        let check = |variables: &[(&str, &str)], expected: Option<&str>| {
            let found = resolve(|wanted| {
                let (_, value) = variables.iter().find(|(name, _)| *name == wanted)?;
                Some(value.into())
            });
            assert_eq!(found, expected.map(PathBuf::from), "{variables:?}");
        };
        check(&[("BRINK_CACHE", "/b"), ("HOME", "/h")], Some("/b"));
        check(
            &[("XDG_CACHE_HOME", "/x"), ("HOME", "/h")],
            Some("/x/brink"),
        );
        check(
            &[("XDG_CACHE_HOME", "relative"), ("HOME", "/h")],
            Some("/h/.cache/brink"),
        );
        check(&[("HOME", "/h")], Some("/h/.cache/brink"));
        check(&[], None);
    }
}
