//! What reading a file leaves behind: mistakes, and the line of every key.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::iter;

use super::mistake::{Mistake, Place};

/// Notes about one file. Cells, because a table reports while its parent is being read.
pub(crate) struct Notes {
    /// Where each line ends, as an offset in bytes.
    line_ends: Vec<usize>,
    mistakes: RefCell<Vec<Mistake>>,
    lines: RefCell<BTreeMap<Located, usize>>,
    /// Keys whose value could not be read, so that a stand-in took its place.
    unreadable: RefCell<BTreeSet<Located>>,
}

/// A place, as its list's key and its index there, and a key; the key is empty for the place itself.
type Located = (Option<(&'static str, usize)>, String);

impl Notes {
    pub(crate) fn new(source: &str) -> Self {
        Self {
            line_ends: source.match_indices('\n').map(|(at, _)| at).collect(),
            mistakes: RefCell::default(),
            lines: RefCell::default(),
            unreadable: RefCell::default(),
        }
    }

    /// The line of an offset, from 1.
    pub(crate) fn line_at(&self, offset: usize) -> usize {
        self.line_ends.partition_point(|end| *end < offset) + 1
    }

    /// Remembers the line of a key.
    pub(crate) fn key(&self, place: Option<&Place>, key: String, line: usize) {
        self.lines.borrow_mut().insert(located(place, key), line);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.mistakes.borrow().is_empty()
    }

    /// A mistake in the syntax.
    pub(crate) fn syntax(&self, line: Option<usize>, problem: String) {
        let mistake = Mistake::of_file(problem);
        let mistake = Mistake { line, ..mistake };
        self.mistakes.borrow_mut().push(mistake);
    }

    /// A mistake at a key.
    pub(crate) fn add(&self, place: Option<&Place>, key: String, problem: String) {
        let mut mistake = Mistake {
            line: None,
            place: place.cloned(),
            key,
            problem,
        };
        mistake.line = self.line_of(&mistake);
        self.mistakes.borrow_mut().push(mistake);
    }

    /// Remembers that a stand-in took the place of a key's value.
    pub(crate) fn unreadable(&self, place: Option<&Place>, key: String) {
        self.unreadable.borrow_mut().insert(located(place, key));
    }

    /// All mistakes in the order of the file, those found after reading included; but not what
    /// was found about a stand-in.
    pub(crate) fn into_mistakes(self, found_later: Vec<Mistake>) -> Vec<Mistake> {
        let mut mistakes = self.mistakes.take();
        let unreadable = self.unreadable.take();
        for mut mistake in found_later {
            let at = located(mistake.place.as_ref(), mistake.key.clone());
            if !unreadable.contains(&at) {
                mistake.line = self.line_of(&mistake);
                mistakes.push(mistake);
            }
        }
        mistakes.sort_by_key(|mistake| mistake.line);
        mistakes
    }

    /// The line of the mistake's key, or, where the key is absent, of the innermost table that
    /// should have it.
    fn line_of(&self, mistake: &Mistake) -> Option<usize> {
        let lines = self.lines.borrow();
        let keys = iter::successors(Some(mistake.key.as_str()), |key| {
            key.rsplit_once('.').map(|(outer, _)| outer)
        });
        let line = |key: &str| lines.get(&located(mistake.place.as_ref(), key.to_owned()));
        keys.chain([""]).find_map(line).copied()
    }
}

fn located(place: Option<&Place>, key: String) -> Located {
    (place.map(|place| (place.kind, place.index)), key)
}
