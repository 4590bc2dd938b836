//! What reading a file leaves behind: mistakes, and the line of every key.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::super::mistake::{Mistake, RulePlace};

/// Notes about one file. Cells, because a table reports while its parent is being read.
pub(super) struct Notes {
    /// Where each line ends, as an offset in bytes.
    line_ends: Vec<usize>,
    mistakes: RefCell<Vec<Mistake>>,
    lines: RefCell<BTreeMap<Place, usize>>,
    /// Keys whose value could not be read, so that a stand-in took its place.
    unreadable: RefCell<BTreeSet<Place>>,
}

/// A rule's index and a key; the key is empty for the rule itself.
type Place = (Option<usize>, String);

impl Notes {
    pub(super) fn new(source: &str) -> Self {
        Self {
            line_ends: source.match_indices('\n').map(|(at, _)| at).collect(),
            mistakes: RefCell::default(),
            lines: RefCell::default(),
            unreadable: RefCell::default(),
        }
    }

    /// The line of an offset, from 1.
    pub(super) fn line_at(&self, offset: usize) -> usize {
        self.line_ends.partition_point(|end| *end < offset) + 1
    }

    /// Remembers the line of a key.
    pub(super) fn key(&self, rule: Option<usize>, key: String, line: usize) {
        self.lines.borrow_mut().insert((rule, key), line);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.mistakes.borrow().is_empty()
    }

    /// A mistake in the syntax.
    pub(super) fn syntax(&self, line: Option<usize>, problem: String) {
        self.mistakes.borrow_mut().push(Mistake {
            line,
            rule: None,
            key: String::new(),
            problem,
        });
    }

    /// A mistake at a key.
    pub(super) fn add(&self, rule: Option<&RulePlace>, key: String, problem: String) {
        let mut mistake = Mistake {
            line: None,
            rule: rule.cloned(),
            key,
            problem,
        };
        mistake.line = self.line_of(&mistake);
        self.mistakes.borrow_mut().push(mistake);
    }

    /// Remembers that a stand-in took the place of a key's value.
    pub(super) fn unreadable(&self, rule: Option<&RulePlace>, key: String) {
        let rule = rule.map(|rule| rule.index);
        self.unreadable.borrow_mut().insert((rule, key));
    }

    /// All mistakes in the order of the file, those found after reading included; but not what
    /// was found about a stand-in.
    pub(super) fn into_mistakes(self, found_later: Vec<Mistake>) -> Vec<Mistake> {
        let mut mistakes = self.mistakes.take();
        let unreadable = self.unreadable.take();
        for mut mistake in found_later {
            if !unreadable.contains(&place(&mistake)) {
                mistake.line = self.line_of(&mistake);
                mistakes.push(mistake);
            }
        }
        mistakes.sort_by_key(|mistake| mistake.line);
        mistakes
    }

    /// The line of the mistake's key, or of its rule where the key is absent.
    fn line_of(&self, mistake: &Mistake) -> Option<usize> {
        let lines = self.lines.borrow();
        let (rule, key) = place(mistake);
        let exact = lines.get(&(rule, key));
        exact.or_else(|| lines.get(&(rule, String::new()))).copied()
    }
}

fn place(mistake: &Mistake) -> Place {
    let rule = mistake.rule.as_ref().map(|rule| rule.index);
    (rule, mistake.key.clone())
}
