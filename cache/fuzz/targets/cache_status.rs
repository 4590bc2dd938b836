//! Counts of outcomes in a header that another component may have written, and the status made of them.

#![no_main]

use brink_cache::status::CacheStatus;
use brink_cache::{Outcome, OutcomeCounts};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|value: &str| {
    let Some(counts) = OutcomeCounts::parse(value) else {
        return;
    };
    assert_eq!(OutcomeCounts::parse(&counts.to_string()), Some(counts));
    let status = CacheStatus::of_items("brink-edge", &counts);
    // RFC 9211 §2.1: "hit" says that the request was not forwarded.
    let only_hits = counts.iter().all(|(outcome, _)| outcome == Outcome::Hit);
    assert_eq!(status.forward.is_none(), only_hits);
    assert!(!status.collapsed || counts.get(Outcome::Collapsed) > 0);
    assert_eq!(status.to_string().starts_with("brink-edge; hit"), only_hits);
});
