//! What can be wrong in a policy. Mistakes are collected, so that one run shows all of them.

use std::fmt;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The line of the file, from 1; `None` where there is no file or no such line.
    pub line: Option<usize>,
    /// The rule; `None` for what concerns the whole policy.
    pub rule: Option<RulePlace>,
    /// The key, such as `match.task` or `negative.404`; empty for a mistake in the syntax.
    pub key: String,
    /// What is wrong, with the value and what is allowed.
    pub problem: String,
}

/// Which rule is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulePlace {
    /// Its place in the policy, from 0.
    pub index: usize,
    /// Its name; empty if it has none.
    pub name: String,
}

/// Every mistake of a policy, in the order of the file. Holds one at least.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("one thing is wrong in the policy:")?,
            count => write!(f, "{count} things are wrong in the policy:")?,
        }
        for mistake in self.0.iter().take(MAX_LISTED) {
            write!(f, "\n  {mistake}")?;
        }
        match self.0.len().saturating_sub(MAX_LISTED) {
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
        if let Some(rule) = &self.rule {
            write!(f, "rule {} \"{}\": ", rule.index + 1, rule.name)?;
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
pub(super) fn shown(value: &str) -> String {
    let cut: String = value.chars().take(MAX_SHOWN).collect();
    let dots = if cut.len() < value.len() { "..." } else { "" };
    format!("{cut:?}{dots}")
}
