//! What holds whatever the marks are.

use proptest::prelude::*;

use super::super::mark::reaches;
use super::super::*;
use super::{LONGEST, Stored, any_mark, entry, lifetimes, list, marks};
use crate::freshness::{self, Decision};
use crate::time::UnixSeconds;

/// What the marks mean, mark by mark and without any index.
fn literally(list: &[Mark], entry: &Stored) -> Option<Purged> {
    let meant: Vec<_> = list
        .iter()
        .filter(|mark| entry.is_named_by(&mark.subject) && reaches(mark.at, entry.created))
        .collect();
    if meant.iter().any(|mark| mark.mode == Mode::Hard) {
        return Some(Purged::Absent);
    }
    let since = meant.iter().map(|mark| mark.at).min()?;
    Some(Purged::Stale { since })
}

/// Each subject with so few soft marks that none of them is turned into a hard one.
fn keeps_all(list: &[Mark]) -> bool {
    let soft_of = |subject: &Subject| {
        let of = list.iter().filter(|mark| mark.subject == *subject);
        of.filter(|mark| mark.mode == Mode::Soft).count()
    };
    list.iter()
        .all(|mark| soft_of(&mark.subject) <= MAX_SOFT_MARKS)
}

proptest! {
    /// A purged entry is never fresh, and never more usable than it would be without the purge.
    #[test]
    fn marks_dominate(list in list(12), entry in entry(), lifetimes in lifetimes(), now in 0u64..100) {
        let now = UnixSeconds(now);
        let decided = entry.decide(&marks(&list), lifetimes, now);
        prop_assert!(decided >= freshness::decide(now.since(entry.created), lifetimes));
        if literally(&list, &entry).is_some() {
            prop_assert!(decided > Decision::Fresh);
        }
    }

    /// The index says what the marks say one by one; where soft marks were summed up, no less.
    #[test]
    fn index_says_what_its_marks_say(list in list(30), entry in entry()) {
        let found = marks(&list).judge(&entry.marked());
        let expected = literally(&list, &entry);
        prop_assert!(found == expected || (found == Some(Purged::Absent) && !keeps_all(&list)),
            "{found:?}, {expected:?}");
    }

    #[test]
    fn another_mark_never_makes_an_entry_more_usable(
        list in list(30), more in any_mark(), entry in entry(), lifetimes in lifetimes(), now in 0u64..100,
    ) {
        let mut marks = marks(&list);
        let now = UnixSeconds(now);
        let before = entry.decide(&marks, lifetimes, now);
        marks.add(&more, now, LONGEST).unwrap();
        prop_assert!(entry.decide(&marks, lifetimes, now) >= before);
    }

    /// On an edge whose clock is behind as far as is allowed, too.
    #[test]
    fn compaction_changes_nothing_for_entries_that_can_be_alive(list in list(30), entry in entry(), now in 0u64..100) {
        let mut marks = marks(&list);
        let before = marks.judge(&entry.marked());
        marks.compact(UnixSeconds(now), LONGEST);
        let there = UnixSeconds(now.saturating_sub(CLOCK_ALLOWANCE.as_secs()));
        if there.since(entry.created) < LONGEST {
            prop_assert_eq!(marks.judge(&entry.marked()), before);
        }
    }
}
