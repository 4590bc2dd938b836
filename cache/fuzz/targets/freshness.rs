//! Freshness, with a request's wishes and with purges: nothing becomes more usable by growing older.

#![no_main]

use std::time::Duration;

use brink_cache::freshness::decide;
use brink_cache::{Decision, Lifetimes, Purged, RequestControl, UnixSeconds};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

/// All times are in seconds.
#[derive(Arbitrary, Debug)]
struct Case {
    age: u64,
    older_by: u64,
    stored: [u64; 3],
    limit: [u64; 3],
    wishes: Wishes,
    purged_at: u64,
    now: u64,
}

#[derive(Arbitrary, Debug)]
struct Wishes {
    max_age: Option<u64>,
    min_fresh: Option<u64>,
    max_stale: Option<u64>,
}

fuzz_target!(|case: Case| {
    let (age, older) = (
        seconds(case.age),
        seconds(case.age.saturating_add(case.older_by)),
    );
    let stored = lifetimes(case.stored);
    let shorter = stored.at_most(lifetimes(case.limit));
    assert!(decide(age, stored) <= decide(older, stored));
    assert!(decide(age, stored) <= decide(age, shorter));
    check_wishes(&control(&case.wishes), age, older, stored);
    check_purge(&case, age, older, stored);
});

fn check_wishes(control: &RequestControl, age: Duration, older: Duration, stored: Lifetimes) {
    assert!(control.accepts(age, stored) || !control.accepts(older, stored));
    assert!(control.accepts_on_error(age, stored) || !control.accepts_on_error(older, stored));
}

/// A purge takes usability and gives none, and so does time after it.
fn check_purge(case: &Case, age: Duration, older: Duration, stored: Lifetimes) {
    let since = UnixSeconds(case.purged_at);
    let (now, later) = (case.now, case.now.saturating_add(case.older_by));
    for purged in [Purged::Stale { since }, Purged::Absent] {
        let before = purged.decide(age, stored, UnixSeconds(now));
        assert!(before > Decision::Fresh);
        assert!(before >= decide(age, stored));
        assert!(before <= purged.decide(older, stored, UnixSeconds(later)));
    }
}

fn control(wishes: &Wishes) -> RequestControl {
    RequestControl {
        max_age: wishes.max_age.map(seconds),
        min_fresh: wishes.min_fresh.map(seconds),
        max_stale: wishes.max_stale.map(seconds),
        ..RequestControl::default()
    }
}

fn lifetimes([fresh, stale_while_revalidate, stale_if_error]: [u64; 3]) -> Lifetimes {
    Lifetimes {
        fresh: seconds(fresh),
        stale_while_revalidate: seconds(stale_while_revalidate),
        stale_if_error: seconds(stale_if_error),
    }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
