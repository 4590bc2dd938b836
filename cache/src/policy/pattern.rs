//! What a rule compares a request with: exact names, and names with one `*` at the end.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::limits::MAX_PATTERN_BYTES;

/// An exact name, or the beginning of one (`text-*`). `*` alone matches everything.
///
/// No wildcard elsewhere: with one at the end, a match is one comparison of bytes, and which
/// of two patterns covers the other is plain to see.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    /// The name, without the `*`.
    text: String,
    is_prefix: bool,
}

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "1 to {MAX_PATTERN_BYTES} bytes without control characters and with no * but one at the end"
)]
pub struct PatternError;

impl Pattern {
    /// Reads a pattern.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let name = text.strip_suffix('*').unwrap_or(text);
        let length_is_fine = (1..=MAX_PATTERN_BYTES).contains(&text.len());
        if !length_is_fine || name.contains('*') || name.chars().any(char::is_control) {
            return Err(PatternError);
        }
        Ok(Self {
            is_prefix: name.len() < text.len(),
            text: name.to_owned(),
        })
    }

    /// Whether the pattern matches a name.
    pub fn matches(&self, name: &str) -> bool {
        if self.is_prefix {
            name.starts_with(&self.text)
        } else {
            name == self.text
        }
    }

    /// Whether every name that `other` matches is matched by this pattern too.
    fn covers(&self, other: &Self) -> bool {
        if self.is_prefix {
            other.text.starts_with(&self.text)
        } else {
            self == other
        }
    }

    /// Whether more may follow the fixed part.
    pub(super) fn is_prefix(&self) -> bool {
        self.is_prefix
    }

    /// The fixed part: the whole name, or its beginning.
    pub(super) fn fixed(&self) -> &str {
        &self.text
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        Self::new(&text)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.to_string()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.is_prefix { "*" } else { "" };
        write!(f, "{}{star}", self.text)
    }
}

/// Alternatives. None at all matches everything: a rule that does not mention tenants is for
/// every tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Patterns(pub Vec<Pattern>);

impl Patterns {
    /// Whether one of the alternatives matches.
    pub fn matches(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether everything that `other` matches is matched here too. May say no where the
    /// truth is yes (several patterns that cover one only together do not exist here, but an
    /// `other` without alternatives is covered only by `*` or none).
    pub(super) fn covers(&self, other: &Self) -> bool {
        let everything = |pattern: &Pattern| pattern.is_prefix && pattern.text.is_empty();
        if self.0.is_empty() || self.0.iter().any(everything) {
            return true;
        }
        let covered = |one: &Pattern| self.0.iter().any(|pattern| pattern.covers(one));
        !other.0.is_empty() && other.0.iter().all(covered)
    }
}

/// As messages show it: `"a" or "b*"`.
impl fmt::Display for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("anything");
        }
        for (position, pattern) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { " or " };
            write!(f, "{separator}\"{pattern}\"")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn patterns(texts: &[&str]) -> Patterns {
        Patterns(
            texts
                .iter()
                .map(|text| Pattern::new(text).unwrap())
                .collect(),
        )
    }

    #[test]
    fn names_are_matched() {
        let check = |alternatives: &[&str], name: &str, expected: bool| {
            let found = patterns(alternatives).matches(name);
            assert_eq!(found, expected, "{alternatives:?} {name}");
        };
        check(&[], "anything", true);
        check(&["*"], "", true);
        check(&["a"], "a", true);
        check(&["a"], "A", false);
        check(&["a"], "ab", false);
        check(&["a*"], "a", true);
        check(&["a*"], "abc", true);
        check(&["a*"], "ba", false);
        check(&["x", "a*"], "ab", true);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "a*b", "**", "*a", "a\n", &"a".repeat(257)] {
            assert_eq!(Pattern::new(text), Err(PatternError), "{text:?}");
        }
    }

    #[test]
    fn wider_patterns_cover_narrower_ones() {
        let check = |wide: &[&str], narrow: &[&str], expected: bool| {
            let covered = patterns(wide).covers(&patterns(narrow));
            assert_eq!(covered, expected, "{wide:?} {narrow:?}");
        };
        check(&[], &["a"], true);
        check(&["*"], &[], true);
        check(&["a"], &[], false);
        check(&["a*"], &["a", "ab*"], true);
        check(&["a"], &["a*"], false);
        check(&["a", "b"], &["b"], true);
        check(&["a", "b"], &["b", "c"], false);
    }

    fn pattern() -> impl Strategy<Value = Pattern> {
        "[ab]{0,3}\\*?"
            .prop_filter("not empty", |text| !text.is_empty())
            .prop_map(|text| Pattern::new(&text).unwrap())
    }

    proptest! {
        /// A name that the covered side matches is matched by the covering side.
        #[test]
        fn covering_is_true_to_matching(wide in prop::collection::vec(pattern(), 0..3), narrow in prop::collection::vec(pattern(), 0..3), name in "[ab]{0,4}") {
            let (wide, narrow) = (Patterns(wide), Patterns(narrow));
            prop_assert!(!wide.covers(&narrow) || !narrow.matches(&name) || wide.matches(&name));
        }

        #[test]
        fn written_patterns_are_read_back(text in ".{0,20}") {
            if let Ok(pattern) = Pattern::new(&text) {
                prop_assert_eq!(pattern.to_string(), text);
            }
        }
    }
}
