//! URIs, dates, leases and times of invalidations: what is read is written and read again.

#![no_main]

use brink_cache::Lease;
use brink_cache::http::shared::keys::{decode_invalidation, encode_invalidation};
use brink_cache::http::shared::{date, uri};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(lease) = Lease::decode(bytes) {
        assert_eq!(Lease::decode(&lease.encode()), Some(lease));
    }
    if let Some(at) = decode_invalidation(bytes) {
        assert_eq!(encode_invalidation(at), bytes);
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Some(at) = date::parse(text) {
        assert_eq!(date::parse(&date::format(at)), Some(at));
    }
    let normal = uri::normalise(text);
    assert_eq!(uri::normalise(&normal), normal);
    uri::origin(text);
    let base = "http://example.com/a/b?c";
    if let Some(resolved) = uri::resolve(base, text) {
        // Behind the authority, which may be any text without a slash.
        let path = resolved.split(['?', '#']).next().unwrap_or_default();
        let mut segments = path.split('/').skip(3);
        assert!(!segments.any(|segment| segment == ".."), "{resolved}");
    }
});
