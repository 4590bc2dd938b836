//! What several marks of one subject come to.

use super::judge::Purged;
use super::mark::{Mode, reaches};
use crate::time::UnixSeconds;

/// Most soft marks that are kept for one subject. With one more, the oldest becomes a hard one:
/// entries that nobody refreshed through four later purges count as absent. This is what bounds
/// the document where a subject is purged every minute.
///
/// To keep the newest alone would be wrong: an entry that was purged an hour ago would become
/// usable again, because its stale windows would start anew.
pub const MAX_SOFT_MARKS: usize = 4;

/// The times at which one subject was purged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamps {
    hard: Option<UnixSeconds>,
    /// Ascending, without repeats, all later than `hard`: earlier ones would change nothing.
    soft: Vec<UnixSeconds>,
}

impl Stamps {
    pub(super) fn insert(&mut self, at: UnixSeconds, mode: Mode) {
        match mode {
            Mode::Hard => self.insert_hard(at),
            Mode::Soft if self.hard < Some(at) => self.insert_soft(at),
            Mode::Soft => {}
        }
    }

    fn insert_hard(&mut self, at: UnixSeconds) {
        self.hard = self.hard.max(Some(at));
        self.soft.retain(|soft| Some(*soft) > self.hard);
    }

    fn insert_soft(&mut self, at: UnixSeconds) {
        if let Err(place) = self.soft.binary_search(&at) {
            self.soft.insert(place, at);
        }
        if self.soft.len() > MAX_SOFT_MARKS {
            self.insert_hard(self.soft[0]);
        }
    }

    /// What an entry is by these marks. The earliest soft mark that reaches it counts: it is the
    /// one that made the entry stale.
    pub(super) fn judge(&self, created: UnixSeconds) -> Option<Purged> {
        if self.hard.is_some_and(|at| reaches(at, created)) {
            return Some(Purged::Absent);
        }
        let since = self.soft.iter().find(|at| reaches(**at, created));
        since.map(|since| Purged::Stale { since: *since })
    }

    /// Whether a mark of another subject changes nothing beside these, which are for everything.
    /// A soft mark does so only at the same time: an earlier one makes entries stale earlier.
    pub(super) fn dominate(&self, at: UnixSeconds, mode: Mode) -> bool {
        let hard = self.hard.is_some_and(|hard| at <= hard);
        hard || (mode == Mode::Soft && self.soft.contains(&at))
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.hard.is_some()) + self.soft.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (UnixSeconds, Mode)> {
        let hard = self.hard.into_iter().map(|at| (at, Mode::Hard));
        hard.chain(self.soft.iter().map(|at| (*at, Mode::Soft)))
    }
}
