//! Reads `spin.toml` (manifest version 2) as Spin 4.1 does.
//!
//! A [`Manifest`] is checked and resolved: every template has its value, every
//! route its component. Reading never stops at the first mistake; an error lists
//! all of them with their settings ([`ManifestError::Invalid`]).
//!
//! Not here: sources that have to be fetched, component dependencies, and every
//! trigger but HTTP. They are refused with a message that says what to do.

mod component;
mod mistake;
mod names;
mod section;
mod template;
#[cfg(test)]
mod tests;
mod trigger;
mod variables;

use std::{collections::BTreeMap, path::Path};

use toml::{Table, Value};

pub use component::{ComponentSpec, FileMount};
pub use mistake::{ManifestError, Mistake, Problem};
pub use template::TemplateError;
pub use trigger::{Route, StaticResponse, Target};
pub use variables::{Overrides, VariableError};

use component::Context;
use mistake::Mistakes;
use section::{Section, wrong_type};
use trigger::Triggers;
use variables::Variables;

/// A checked application.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The application's name.
    pub name: String,
    /// Its version; empty if the manifest names none.
    pub version: String,
    /// The public routes, in the order of the manifest.
    pub routes: Vec<Route>,
    /// All components by id, those of private routes too.
    pub components: BTreeMap<String, ComponentSpec>,
}

impl Manifest {
    /// Reads and checks the manifest at `path`. Relative paths in it are relative
    /// to its folder.
    pub fn load(path: &Path, overrides: &Overrides<'_>) -> Result<Self, ManifestError> {
        let text = std::fs::read_to_string(path).map_err(|source| ManifestError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, path, overrides)
    }

    /// As [`Manifest::load`], from text that stands in for the file at `path`.
    pub fn parse(
        text: &str,
        path: &Path,
        overrides: &Overrides<'_>,
    ) -> Result<Self, ManifestError> {
        let table: Table = text.parse().map_err(|source| ManifestError::Syntax {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let mistakes = Mistakes::default();
        let folder = path.parent().unwrap_or(Path::new(""));
        let manifest = read(table, folder, overrides, &mistakes);
        let mistakes = mistakes.into_vec();
        if mistakes.is_empty() {
            Ok(manifest)
        } else {
            let path = path.to_owned();
            Err(ManifestError::Invalid { path, mistakes })
        }
    }
}

/// Reads everything; the result counts only if no mistake was recorded.
fn read(table: Table, folder: &Path, overrides: &Overrides<'_>, mistakes: &Mistakes) -> Manifest {
    let mut root = Section::new("", table, mistakes);
    read_version(&mut root);
    let (name, version) = read_application(&mut root);
    let variables = Variables::read(&mut root, overrides);
    let context = Context {
        folder,
        variables: &variables,
    };
    let mut triggers = Triggers::default();
    triggers.read(&mut root, &context);
    let mut components = BTreeMap::new();
    let mut declared = Vec::new();
    for (id, value) in root.entries("component") {
        let section = Section::from_value(format!("component.{id}"), value, mistakes);
        if let Some(spec) = section.and_then(|section| component::read(&id, section, &context)) {
            components.insert(id.clone(), spec);
        }
        declared.push(id);
    }
    trigger::check_references(&triggers, &components, &declared, &root);
    for spec in triggers.inline {
        components.insert(spec.id.clone(), spec);
    }
    root.finish();
    Manifest {
        name,
        version,
        routes: triggers.routes,
        components,
    }
}

fn read_version(root: &mut Section<'_>) {
    let field = "spin_manifest_version";
    match root.take(field) {
        Some(Value::Integer(2)) => {}
        Some(Value::Integer(version)) => {
            let value = version.to_string();
            let expected = "version 2 is supported".to_owned();
            root.report(field, Problem::Value { value, expected });
        }
        Some(other) => root.report(field, wrong_type("the integer 2", &other)),
        None => {
            let expected = "spin_manifest_version = 2";
            root.report(field, Problem::Missing { expected });
        }
    }
}

fn read_application(root: &mut Section<'_>) -> (String, String) {
    let Some(mut application) = root.section("application") else {
        let expected = "[application] with a name";
        root.report("application", Problem::Missing { expected });
        return Default::default();
    };
    let name = application.required_string("name").unwrap_or_default();
    let version = application.string("version").unwrap_or_default();
    application.string("description");
    application.strings("authors");
    application.ignore("targets");
    application.ignore("tool");
    read_trigger_defaults(&mut application);
    application.finish();
    (name, version)
}

/// `[application.trigger.http]` knows one setting, and only its default means anything.
fn read_trigger_defaults(application: &mut Section<'_>) {
    let Some(mut triggers) = application.section("trigger") else {
        return;
    };
    if let Some(mut http) = triggers.section("http") {
        if let Some(value) = http.string("base").filter(|base| base != "/") {
            let expected = "only the base \"/\" is supported".to_owned();
            http.report("base", Problem::Value { value, expected });
        }
        http.finish();
    }
    triggers.finish();
}
