//! What can be wrong in a file, or in what was made of one and stored.

use std::fmt;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The line of the file, from 1; `None` where there is no file or no such line.
    pub line: Option<usize>,
    /// The rule, tenant, origin or alias; `None` for what concerns the whole file.
    pub place: Option<Place>,
    /// The key, such as `match.task`, `negative.404`, or `json.2.path` in the second of the tables
    /// `json`; empty for a mistake in the syntax.
    pub key: String,
    /// What is wrong, with the value and what is allowed.
    pub problem: String,
}

/// Which table of a list is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The list's key, such as `rule`.
    pub kind: &'static str,
    /// Its place in the list, from 0.
    pub index: usize,
    /// Its name; empty if it has none.
    pub name: String,
}

/// Every mistake, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes {
    /// What they are in, for messages, such as "policy".
    pub subject: &'static str,
    /// The mistakes; one at least.
    pub list: Vec<Mistake>,
}

impl Mistake {
    /// A mistake of the file as a whole.
    pub(crate) fn of_file(problem: String) -> Self {
        Self {
            line: None,
            place: None,
            key: String::new(),
            problem,
        }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.list.len() {
            1 => f.write_str("one thing is wrong")?,
            count => write!(f, "{count} things are wrong")?,
        }
        write!(f, " in the {}:", self.subject)?;
        for mistake in self.list.iter().take(MAX_LISTED) {
            write!(f, "\n  {mistake}")?;
        }
        match self.list.len().saturating_sub(MAX_LISTED) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

/// Most mistakes that are listed: whoever has more uploaded something else.
const MAX_LISTED: usize = 100;

/// `line 7: rule 2 "chat": fresh: is "400d"; ...`
impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if let Some(Place { kind, index, name }) = &self.place {
            write!(f, "{kind} {} \"{name}\": ", index + 1)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.problem)
    }
}

/// Longest value that a message repeats, in characters.
const MAX_SHOWN: usize = 60;

/// A value for a message: quoted, and cut where it is long.
pub(crate) fn shown(value: &str) -> String {
    let cut: String = value.chars().take(MAX_SHOWN).collect();
    let dots = if cut.len() < value.len() { "..." } else { "" };
    format!("{cut:?}{dots}")
}
