//! Application variables: `[variables]`, and where their values come from.

use std::{collections::BTreeMap, fmt};

use super::{mistake::Problem, names, section::Section, template::TemplateError};

/// Environment variables with this prefix set application variables, as in Spin.
const ENV_PREFIX: &str = "SPIN_VARIABLE_";

/// Where variables get their values, besides the defaults in the manifest.
pub struct Overrides<'a> {
    /// `--variable name=value`: wins over everything else.
    pub variables: &'a BTreeMap<String, String>,
    /// Looks up an environment variable. A function, so that tests need no process environment.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

/// What is wrong with a variable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VariableError {
    /// A required variable without a value.
    #[error("has no value; set it with --variable {name}=VALUE or {env}", env = env_name(name))]
    NoValue {
        /// The name of the variable.
        name: String,
    },
    /// `--variable` names a variable that the manifest does not declare.
    #[error("is set by --variable, but [variables] declares only: {declared}")]
    Undeclared {
        /// The declared names, separated by commas.
        declared: String,
    },
}

/// The application's variables with their values.
#[derive(Default)]
pub(super) struct Variables(BTreeMap<String, Option<String>>);

impl Variables {
    /// Reads `[variables]` and settles every value: `--variable` before
    /// `SPIN_VARIABLE_NAME` before `default`.
    pub(super) fn read(root: &mut Section<'_>, overrides: &Overrides<'_>) -> Self {
        let mut values = BTreeMap::new();
        for (name, value) in root.entries("variables") {
            let path = format!("variables.{name}");
            if !names::is_lower_snake(&name) {
                let expected = "names are lower_snake_case".to_owned();
                let value = name.clone();
                root.mistakes()
                    .add(&path, Problem::Value { value, expected });
            }
            if let Some(section) = Section::from_value(path, value, root.mistakes()) {
                let value = read_one(section, &name, overrides);
                values.insert(name, value);
            }
        }
        for name in overrides.variables.keys() {
            if !values.contains_key(name) {
                let declared = values.keys().cloned().collect::<Vec<_>>().join(", ");
                root.mistakes().add(
                    format!("variables.{name}"),
                    VariableError::Undeclared { declared },
                );
            }
        }
        Self(values)
    }

    /// The value of a declared variable.
    pub(super) fn value(&self, name: &str) -> Result<&str, TemplateError> {
        let name_owned = || name.to_owned();
        self.0
            .get(name)
            .ok_or_else(|| TemplateError::Undeclared { name: name_owned() })?
            .as_deref()
            .ok_or_else(|| TemplateError::NoValue { name: name_owned() })
    }

    #[cfg(test)]
    pub(super) fn for_tests(values: &[(&str, Option<&str>)]) -> Self {
        let owned =
            |(name, value): &(&str, Option<&str>)| (name.to_string(), value.map(String::from));
        Self(values.iter().map(owned).collect())
    }
}

/// Values may be secret: only names are shown.
impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

fn read_one(mut section: Section<'_>, name: &str, overrides: &Overrides<'_>) -> Option<String> {
    section.ignore("description");
    section.flag("secret");
    let required = section.flag("required");
    let default = section.string("default");
    if required == default.is_some() {
        let value = format!("required = {required}");
        let expected = "a variable has either a default or required = true".to_owned();
        section.report("required", Problem::Value { value, expected });
    }
    let value = overrides
        .variables
        .get(name)
        .cloned()
        .or_else(|| (overrides.env)(&env_name(name)))
        .or(default);
    if value.is_none() && required {
        let name = name.to_owned();
        section
            .mistakes()
            .add(format!("variables.{name}"), VariableError::NoValue { name });
    }
    section.finish();
    value
}

fn env_name(variable: &str) -> String {
    format!("{ENV_PREFIX}{}", variable.to_ascii_uppercase())
}
