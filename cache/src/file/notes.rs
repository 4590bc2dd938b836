//! What reading a file leaves behind: mistakes, and the line of every key.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

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

/// A place's index and a key; the key is empty for the place itself. A file has one list of
/// tables, so the index says which.
type Located = (Option<usize>, String);

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
    pub(crate) fn key(&self, index: Option<usize>, key: String, line: usize) {
        self.lines.borrow_mut().insert((index, key), line);
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
        let index = place.map(|place| place.index);
        self.unreadable.borrow_mut().insert((index, key));
    }

    /// All mistakes in the order of the file, those found after reading included; but not what
    /// was found about a stand-in.
    pub(crate) fn into_mistakes(self, found_later: Vec<Mistake>) -> Vec<Mistake> {
        let mut mistakes = self.mistakes.take();
        let unreadable = self.unreadable.take();
        for mut mistake in found_later {
            if !unreadable.contains(&located(&mistake)) {
                mistake.line = self.line_of(&mistake);
                mistakes.push(mistake);
            }
        }
        mistakes.sort_by_key(|mistake| mistake.line);
        mistakes
    }

    /// The line of the mistake's key, or of its place where the key is absent.
    fn line_of(&self, mistake: &Mistake) -> Option<usize> {
        let lines = self.lines.borrow();
        let (index, key) = located(mistake);
        let exact = lines.get(&(index, key));
        exact
            .or_else(|| lines.get(&(index, String::new())))
            .copied()
    }
}

fn located(mistake: &Mistake) -> Located {
    let index = mistake.place.as_ref().map(|place| place.index);
    (index, mistake.key.clone())
}
