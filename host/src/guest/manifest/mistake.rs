//! What can be wrong in a manifest. Mistakes are collected, so that one run
//! shows all of them, each with the path of the setting as the manifest writes it.

use std::{cell::RefCell, fmt, path::PathBuf};

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file cannot be read.
    #[error("cannot read the manifest {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("the manifest {path} is not valid TOML", path = path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// The file is TOML, but settings are wrong. All of them are listed.
    #[error("the manifest {path} has {count} mistake(s):{list}",
        path = path.display(), count = mistakes.len(), list = Lines(mistakes))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Every mistake, in the order in which they were found.
        mistakes: Vec<Mistake>,
    },
}

/// One wrong setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The setting, for example `component.gateway.source`.
    pub setting: String,
    /// What is wrong with it, and what is allowed.
    pub problem: Problem,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.problem)
    }
}

/// What is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No such setting exists here.
    #[error("unknown field; allowed here: {allowed}")]
    Unknown {
        /// The fields that this table may hold, separated by commas.
        allowed: String,
    },
    /// The setting has to be there.
    #[error("missing; {expected} is required")]
    Missing {
        /// What belongs there.
        expected: &'static str,
    },
    /// The value is of another type.
    #[error("is of type {found}; {expected} is expected")]
    WrongType {
        /// What belongs there.
        expected: &'static str,
        /// The type that was found.
        found: &'static str,
    },
    /// The value is of the right type, but not allowed.
    #[error("is {value:?}; {expected}")]
    Value {
        /// The value as written.
        value: String,
        /// What is allowed.
        expected: String,
    },
    /// Spin knows the setting; this host does not serve it.
    #[error("is not supported by this host; {instead}")]
    Unsupported {
        /// What to do about it.
        instead: &'static str,
    },
    /// A `{{ name }}` cannot be resolved.
    #[error("{0}")]
    Template(#[from] super::template::TemplateError),
    /// A variable has no value, or no such variable exists.
    #[error("{0}")]
    Variable(#[from] super::variables::VariableError),
}

/// Collects mistakes. A cell, because nested sections report while their parent is alive.
#[derive(Default)]
pub(super) struct Mistakes(RefCell<Vec<Mistake>>);

impl Mistakes {
    pub(super) fn add(&self, setting: impl Into<String>, problem: impl Into<Problem>) {
        self.0.borrow_mut().push(Mistake {
            setting: setting.into(),
            problem: problem.into(),
        });
    }

    pub(super) fn into_vec(self) -> Vec<Mistake> {
        self.0.into_inner()
    }
}

/// One mistake a line, indented.
struct Lines<'a>(&'a [Mistake]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}
