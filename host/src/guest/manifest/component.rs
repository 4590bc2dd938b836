//! Reads `[component.ID]`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Component as PathPart, Path, PathBuf},
};

use toml::Value;

use super::{
    mistake::{Mistakes, Problem},
    names,
    section::{Section, wrong_type},
    template,
    variables::Variables,
};
use crate::guest::outbound::allow::{AllowList, AllowedHost};

/// A component with every template resolved.
#[derive(Clone)]
pub struct ComponentSpec {
    /// The id, `gateway` in `[component.gateway]`.
    pub id: String,
    /// The `.wasm` file, joined to the manifest's folder.
    pub source: PathBuf,
    /// What the component may read as files.
    pub files: Vec<FileMount>,
    /// Patterns of files that `files` leaves out.
    pub exclude_files: Vec<String>,
    /// Component variables; values may be secret.
    pub variables: BTreeMap<String, String>,
    /// The process environment that the component sees.
    pub environment: BTreeMap<String, String>,
    /// Which requests it may send.
    pub allowed_outbound_hosts: AllowList,
    /// Labels of the key-value stores that it may open.
    pub key_value_stores: BTreeSet<String>,
}

/// Leaves out the values of variables and environment: they may be secret.
impl fmt::Debug for ComponentSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComponentSpec")
            .field("id", &self.id)
            .field("source", &self.source)
            .field("allowed_outbound_hosts", &self.allowed_outbound_hosts)
            .field("key_value_stores", &self.key_value_stores)
            .finish_non_exhaustive()
    }
}

/// One entry of `files`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileMount {
    /// Every file that matches, at the same relative path below `/`.
    Pattern(String),
    /// A file or folder, at another place.
    Placement {
        /// Relative to the manifest's folder.
        source: PathBuf,
        /// Absolute, as the component sees it.
        destination: String,
    },
}

/// What a component is read with.
pub(super) struct Context<'a> {
    pub(super) folder: &'a Path,
    pub(super) variables: &'a Variables,
}

/// Reads one component; `None` if it is too broken to be used (then mistakes are recorded).
pub(super) fn read(
    id: &str,
    mut section: Section<'_>,
    context: &Context<'_>,
) -> Option<ComponentSpec> {
    let source = read_source(&mut section, context.folder);
    let variables = read_variables(&mut section, context.variables);
    let spec = ComponentSpec {
        id: id.to_owned(),
        source: source.unwrap_or_default(),
        files: read_files(&mut section),
        exclude_files: section.strings("exclude_files"),
        variables,
        environment: section.string_map("environment"),
        allowed_outbound_hosts: read_allowed_hosts(&mut section, context.variables),
        key_value_stores: read_labels(&mut section),
    };
    section.ignore("description");
    section.ignore("tool");
    section.ignore("targets");
    section.ignore("profile");
    section.ignore("dependencies_inherit_configuration");
    section.refuse("allowed_http_hosts", "use allowed_outbound_hosts");
    section.refuse("sqlite_databases", "use key_value_stores");
    section.refuse("ai_models", "call the host's inference API over HTTP");
    section.refuse("dependencies", "compose the component when it is built");
    read_build(&mut section);
    section.finish();
    (!spec.source.as_os_str().is_empty()).then_some(spec)
}

fn read_source(section: &mut Section<'_>, folder: &Path) -> Option<PathBuf> {
    let unsupported = Problem::Unsupported {
        instead: "fetch or build the file first, and give its path",
    };
    match section.take("source") {
        None => {
            let expected = "the path of a .wasm file";
            section.report("source", Problem::Missing { expected });
            None
        }
        Some(Value::String(path)) if path.contains("://") => {
            section.report("source", unsupported);
            None
        }
        Some(Value::String(path)) => Some(folder.join(path)),
        Some(Value::Table(_)) => {
            section.report("source", unsupported);
            None
        }
        Some(other) => {
            section.report("source", wrong_type("a path", &other));
            None
        }
    }
}

fn read_variables(section: &mut Section<'_>, variables: &Variables) -> BTreeMap<String, String> {
    let mut resolved = BTreeMap::new();
    for (name, template) in section.string_map("variables") {
        let field = format!("variables.{name}");
        if !names::is_lower_snake(&name) {
            let expected = "names are lower_snake_case".to_owned();
            let value = name.clone();
            section.report(&field, Problem::Value { value, expected });
        }
        match template::resolve(&template, variables) {
            Ok(value) => {
                resolved.insert(name, value);
            }
            Err(error) => section.report(&field, error),
        }
    }
    resolved
}

fn read_allowed_hosts(section: &mut Section<'_>, variables: &Variables) -> AllowList {
    let mut entries = Vec::new();
    for (index, entry) in section
        .strings("allowed_outbound_hosts")
        .into_iter()
        .enumerate()
    {
        let field = format!("allowed_outbound_hosts[{index}]");
        let resolved = match template::resolve(&entry, variables) {
            Ok(resolved) => resolved,
            Err(error) => {
                section.report(&field, error);
                continue;
            }
        };
        // An empty variable means "no such endpoint", as in Spin; an empty literal is a mistake.
        let left_empty = matches!(resolved.as_str(), "" | "http://" | "https://");
        if left_empty && resolved != entry {
            continue;
        }
        match AllowedHost::parse(&resolved) {
            Ok(host) => entries.push(host),
            Err(error) => {
                let expected = error.to_string();
                let value = resolved;
                section.report(&field, Problem::Value { value, expected });
            }
        }
    }
    AllowList::new(entries)
}

fn read_labels(section: &mut Section<'_>) -> BTreeSet<String> {
    let labels = section.strings("key_value_stores");
    for label in labels.iter().filter(|label| !names::is_label(label)) {
        let problem = Problem::Value {
            value: label.clone(),
            expected: "labels are kebab-case or lower_snake_case".to_owned(),
        };
        section.report("key_value_stores", problem);
    }
    labels.into_iter().collect()
}

fn read_files(section: &mut Section<'_>) -> Vec<FileMount> {
    let mistakes = section.mistakes();
    section
        .array("files")
        .into_iter()
        .filter_map(|(path, value)| read_mount(path, value, mistakes))
        .collect()
}

fn read_mount(path: String, value: Value, mistakes: &Mistakes) -> Option<FileMount> {
    if let Value::String(pattern) = value {
        require_inside(&path, &pattern, mistakes)?;
        return Some(FileMount::Pattern(pattern));
    }
    let mut section = Section::from_value(path.clone(), value, mistakes)?;
    let source = section.required_string("source");
    let destination = section.required_string("destination");
    section.finish();
    let (source, destination) = (source?, destination?);
    require_inside(&format!("{path}.source"), &source, mistakes)?;
    if !destination.starts_with('/') || has_parent(&destination) {
        let problem = Problem::Value {
            value: destination,
            expected: "a destination is an absolute path without '..'".to_owned(),
        };
        mistakes.add(format!("{path}.destination"), problem);
        return None;
    }
    Some(FileMount::Placement {
        source: source.into(),
        destination,
    })
}

/// Files come from below the manifest's folder, and from nowhere else.
fn require_inside(setting: &str, path: &str, mistakes: &Mistakes) -> Option<()> {
    if Path::new(path).is_relative() && !has_parent(path) {
        return Some(());
    }
    let problem = Problem::Value {
        value: path.to_owned(),
        expected: "a path is relative to the manifest, without '..'".to_owned(),
    };
    mistakes.add(setting, problem);
    None
}

fn has_parent(path: &str) -> bool {
    Path::new(path)
        .components()
        .any(|part| part == PathPart::ParentDir)
}

/// `build` is for `spin build`; it is checked, so that a typing error shows, and not used.
fn read_build(section: &mut Section<'_>) {
    let Some(mut build) = section.section("build") else {
        return;
    };
    match build.take("command") {
        Some(Value::String(_)) => {}
        Some(Value::Array(commands)) if commands.iter().all(Value::is_str) => {}
        Some(other) => build.report(
            "command",
            wrong_type("a string or an array of strings", &other),
        ),
        None => {
            let expected = "a command";
            build.report("command", Problem::Missing { expected });
        }
    }
    build.string("workdir");
    build.strings("watch");
    build.finish();
}
