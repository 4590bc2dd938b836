//! Finds the first rule that matches, in one pass over memory laid out for it.
//!
//! Most rules fail at their first condition. So the beginnings of names are compared as one
//! number each, beside each other in memory, and no name is followed to where it lies unless
//! its first eight bytes agree. Within a rule, the conditions that fewest rules share come
//! first: "this tenant" tells more than "this route".

use std::collections::BTreeMap;

use super::decision::RequestFacts;
use super::pattern::{Pattern, Patterns};
use super::rule::{Fact, Matching, Rule};

/// The conditions of a policy's rules. Holds nothing that the rules do not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Matcher {
    /// Per rule, where its tests end; they begin where those of the rule before end.
    ends: Vec<usize>,
    tests: Vec<Test>,
}

/// One alternative of one condition.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Test {
    /// The first eight bytes, filled up with zeros.
    head: u64,
    /// Ones where `head` holds bytes of the name.
    mask: u64,
    /// The whole name, or its beginning.
    text: Box<str>,
    fact: Fact,
    is_prefix: bool,
    /// Whether this is the last alternative of its condition.
    ends_condition: bool,
}

/// A fact of the request, with its first eight bytes as a number.
struct Subject<'a> {
    head: u64,
    text: &'a str,
}

impl Matcher {
    pub(super) fn new(rules: &[Rule]) -> Self {
        let mut matcher = Self::default();
        let shared = shared(rules);
        for rule in rules {
            let mut conditions = conditions(&rule.matching);
            conditions.sort_by_key(|condition| shared[condition]);
            for (fact, patterns) in conditions {
                matcher.add(fact, patterns);
            }
            matcher.ends.push(matcher.tests.len());
        }
        matcher
    }

    fn add(&mut self, fact: Fact, patterns: &Patterns) {
        let last = patterns.0.len() - 1;
        for (position, pattern) in patterns.0.iter().enumerate() {
            self.tests.push(Test::new(fact, pattern, position == last));
        }
    }

    /// The place of the first rule that matches.
    pub(super) fn first(&self, facts: &RequestFacts<'_>) -> Option<usize> {
        let subjects = Fact::ALL.map(|fact| Subject::new(facts.value(fact)));
        let mut start = 0;
        self.ends.iter().position(|&end| {
            let tests = &self.tests[start..end];
            start = end;
            all_hold(tests, &subjects)
        })
    }
}

/// Whether every condition has an alternative that passes.
fn all_hold(tests: &[Test], subjects: &[Subject<'_>; Fact::ALL.len()]) -> bool {
    let mut holds = false;
    for test in tests {
        holds = holds || test.passes(&subjects[test.fact as usize]);
        if test.ends_condition && !holds {
            return false;
        }
        holds = holds && !test.ends_condition;
    }
    true
}

/// The conditions that are not always true.
fn conditions(matching: &Matching) -> Vec<(Fact, &Patterns)> {
    let all = matching.conditions().into_iter();
    all.filter(|(_, patterns)| !patterns.0.is_empty()).collect()
}

/// How many rules have a condition.
fn shared(rules: &[Rule]) -> BTreeMap<(Fact, &Patterns), usize> {
    let mut shared = BTreeMap::new();
    for condition in rules.iter().flat_map(|rule| conditions(&rule.matching)) {
        *shared.entry(condition).or_default() += 1;
    }
    shared
}

impl Test {
    fn new(fact: Fact, pattern: &Pattern, ends_condition: bool) -> Self {
        let text = pattern.fixed();
        Self {
            head: head(text),
            mask: head_mask(text.len()),
            text: text.into(),
            fact,
            is_prefix: pattern.is_prefix(),
            ends_condition,
        }
    }

    fn passes(&self, subject: &Subject<'_>) -> bool {
        let (mine, theirs) = (self.text.as_bytes(), subject.text.as_bytes());
        let length_fits =
            mine.len() == theirs.len() || (self.is_prefix && mine.len() < theirs.len());
        length_fits
            && subject.head & self.mask == self.head
            && (mine.len() <= 8 || theirs[8..].starts_with(&mine[8..]))
    }
}

impl<'a> Subject<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            head: head(text),
            text,
        }
    }
}

fn head(text: &str) -> u64 {
    let mut bytes = [0; 8];
    let length = text.len().min(8);
    bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
    u64::from_le_bytes(bytes)
}

fn head_mask(length: usize) -> u64 {
    match length {
        0..8 => (1 << (8 * length)) - 1,
        _ => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A test says what its pattern says, around and beyond eight bytes, multi-byte
        /// characters included.
        #[test]
        fn tests_agree_with_patterns(begin in "[aé]{0,12}", star in "\\*?", name in "[aé\0]{0,12}") {
            if let Ok(pattern) = Pattern::new(&format!("{begin}{star}")) {
                let test = Test::new(Fact::Model, &pattern, true);
                for name in [name.clone(), format!("{begin}{name}"), begin] {
                    prop_assert_eq!(test.passes(&Subject::new(&name)), pattern.matches(&name));
                }
            }
        }
    }
}
