//! What a mark reaches, and how many marks there may be.

use std::time::Duration;

use super::super::*;
use super::{LONGEST, Stored, key, mark, marks};
use crate::freshness::{Decision, Lifetimes};
use crate::key::ModelDigest;
use crate::time::UnixSeconds;

const DAY: u64 = 86_400;

#[test]
fn every_subject_reaches_its_entries_alone() {
    let entry = Stored::of_time(100);
    let check = |subject: Subject, expected: bool| {
        let marks = marks(&[mark(subject.clone(), 100, Mode::Hard)]);
        let purged = marks.judge(&entry.marked());
        assert_eq!(purged, expected.then_some(Purged::Absent), "{subject}");
    };
    check(Subject::All, true);
    check(Subject::Key(key(1)), true);
    check(Subject::Key(key(2)), false);
    check(Subject::Model("m".to_owned()), true);
    check(Subject::Model("t".to_owned()), false);
    check(Subject::Digest(ModelDigest([1; 32])), true);
    check(Subject::Digest(ModelDigest([2; 32])), false);
    check(Subject::Tenant("t".to_owned()), true);
    check(Subject::Tenant("m".to_owned()), false);
    check(Subject::SurrogateKey("two".to_owned()), true);
    check(Subject::SurrogateKey("three".to_owned()), false);
}

#[test]
fn shared_entry_outlives_the_purge_of_a_tenant() {
    let tenant = Subject::Tenant("t".to_owned());
    let marks = marks(&[mark(tenant, 100, Mode::Hard)]);
    let shared = Stored {
        tenant: None,
        ..Stored::of_time(50)
    };
    assert_eq!(marks.judge(&shared.marked()), None);
}

#[test]
fn entry_of_the_same_second_counts_as_purged() {
    let marks = marks(&[mark(Subject::All, 100, Mode::Hard)]);
    let check = |created, expected: bool| {
        let purged = marks.judge(&Stored::of_time(created).marked());
        assert_eq!(purged.is_some(), expected, "created {created}");
    };
    check(0, true);
    check(100, true);
    check(100 + CLOCK_ALLOWANCE.as_secs(), true);
    check(101 + CLOCK_ALLOWANCE.as_secs(), false);
}

#[test]
fn soft_purge_starts_the_stale_windows() {
    let lifetimes = Lifetimes {
        fresh: Duration::from_secs(1_000),
        stale_while_revalidate: Duration::from_secs(10),
        stale_if_error: Duration::from_secs(10),
    };
    let marks = marks(&[mark(Subject::All, 200, Mode::Soft)]);
    let check = |created, now, expected| {
        let entry = Stored::of_time(created);
        let decided = entry.decide(&marks, lifetimes, UnixSeconds(now));
        assert_eq!(decided, expected, "created {created}, now {now}");
    };
    // An edge whose clock is behind the mark does not serve the entry as fresh either.
    check(100, 195, Decision::StaleWhileRevalidate);
    check(100, 200, Decision::StaleWhileRevalidate);
    check(100, 210, Decision::StaleIfError);
    check(100, 220, Decision::Expired);
    check(203, 220, Decision::Fresh);
}

#[test]
fn soft_purge_prolongs_nothing() {
    let lifetimes = Lifetimes {
        fresh: Duration::from_secs(50),
        stale_while_revalidate: Duration::from_secs(60),
        stale_if_error: Duration::ZERO,
    };
    let entry = Stored::of_time(100);
    let once = marks(&[mark(Subject::All, 200, Mode::Soft)]);
    let expired = entry.decide(&once, lifetimes, UnixSeconds(210));
    assert_eq!(expired, Decision::Expired, "stale since 150, not since 200");
    let twice = marks(&[
        mark(Subject::All, 110, Mode::Soft),
        mark(Subject::All, 160, Mode::Soft),
    ]);
    let expired = entry.decide(&twice, lifetimes, UnixSeconds(170));
    assert_eq!(expired, Decision::Expired, "the first purge counts");
}

#[test]
fn subject_that_is_purged_all_the_time_takes_little_room() {
    let model = || Subject::Model("m".to_owned());
    let each_minute: Vec<_> = (0..1_000)
        .map(|minute| mark(model(), minute * 60, Mode::Soft))
        .collect();
    let marks = marks(&each_minute);
    assert_eq!(marks.len(), MAX_SOFT_MARKS + 1);
    let check = |created, expected| {
        let purged = marks.judge(&Stored::of_time(created).marked());
        assert_eq!(purged, expected, "created {created}");
    };
    let last = 999 * 60;
    let since = |at| {
        Some(Purged::Stale {
            since: UnixSeconds(at),
        })
    };
    check(last + 60, None);
    check(last - 30, since(last));
    check(last - 90, since(last - 60));
    check(last - 400, Some(Purged::Absent));
}

#[test]
fn hard_purge_of_everything_makes_room() {
    let one_each: Vec<_> = (0..MAX_MARKS)
        .map(|index| mark(Subject::Tenant(format!("t{index}")), 5, Mode::Soft))
        .collect();
    let mut full = Marks::of(&one_each);
    assert_eq!(full.len(), MAX_MARKS);
    let before = full.clone();
    let (now, longest) = (UnixSeconds(10), LONGEST);
    let refused = full.add(&mark(Subject::All, 6, Mode::Soft), now, longest);
    assert_eq!(
        refused.unwrap_err().to_string(),
        "there would be 10001 purge marks; at most 10000 are allowed"
    );
    assert_eq!(full, before);
    let again = mark(Subject::Tenant("t7".to_owned()), 5, Mode::Hard);
    assert_eq!(full.add(&again, now, longest), Ok(()), "no mark more");
    let all = mark(Subject::All, 6, Mode::Hard);
    assert_eq!(full.add(&all, now, longest), Ok(()));
    assert_eq!(full.iter().collect::<Vec<_>>(), [all]);
}

#[test]
fn old_marks_make_room_for_new_ones() {
    let old: Vec<_> = (0..MAX_MARKS)
        .map(|index| mark(Subject::Tenant(format!("t{index}")), 5, Mode::Hard))
        .collect();
    let mut marks = Marks::of(&old);
    let now = UnixSeconds(5 + 426 * DAY);
    let new = mark(Subject::Model("m".to_owned()), now.0, Mode::Soft);
    assert_eq!(marks.add(&new, now, LONGEST_LIFETIME), Ok(()));
    assert_eq!(marks.iter().collect::<Vec<_>>(), [new]);
}

#[test]
fn names_and_bytes_are_limited() {
    let mut marks = Marks::default();
    let mut add = |name: String| {
        let mark = mark(Subject::SurrogateKey(name), u64::MAX, Mode::Soft);
        marks.add(&mark, UnixSeconds(0), LONGEST)
    };
    let (long, bytes) = ("x".repeat(MAX_NAME_BYTES + 1), MAX_NAME_BYTES + 1);
    assert_eq!(add(String::new()), Err(NameError { bytes: 0 }.into()));
    assert_eq!(add(long), Err(NameError { bytes }.into()));
    let error = (0..MAX_MARKS)
        .find_map(|index| add(format!("{index:0>4096}")).err())
        .unwrap();
    assert_eq!(
        error.to_string(),
        "the purge marks would take 1003335 bytes; at most 1000000 are allowed"
    );
    assert_eq!(marks.len(), 243);
    let stored = marks.encode();
    assert!((990_000..MAX_MARKS_BYTES).contains(&stored.len()));
    assert_eq!(Marks::decode(&stored), Ok(marks));
}
