//! `Cache-Control` of requests and of responses, and `CDN-Cache-Control`.
//!
//! Two fields are two lines of the input: the first is `Cache-Control`, the rest `CDN-Cache-Control`.

#![no_main]

use std::time::Duration;

use brink_cache::RequestControl;
use brink_cache::http::ResponseControl;
use brink_cache::http::targeted::governing;
use libfuzzer_sys::fuzz_target;

/// What RFC 9111 §1.2.2 says larger values are taken for.
const LONGEST: Duration = Duration::from_secs(1 << 31);

fuzz_target!(|fields: &str| {
    let (cache_control, cdn_cache_control) = fields.split_once('\n').unwrap_or((fields, ""));
    check_request(cache_control);
    check_response(cache_control);
    check_governing(cache_control, cdn_cache_control);
});

/// RFC 9111 §5.2: "Cache directives are identified by a token, to be compared case-insensitively".
fn check_request(value: &str) {
    let control = RequestControl::parse(value);
    assert_eq!(RequestControl::parse(&value.to_ascii_uppercase()), control);
    assert!(control.may_store() || !control.may_look_up());
}

fn check_response(value: &str) {
    let control = ResponseControl::parse(value);
    assert_eq!(ResponseControl::parse(&value.to_ascii_uppercase()), control);
    check_lifetimes(&control);
}

fn check_governing(cache_control: &str, cdn_cache_control: &str) {
    let both = governing(Some(cache_control), Some(cdn_cache_control));
    let targeted = governing(None, Some(cdn_cache_control));
    assert_eq!(both.is_targeted, targeted.is_targeted);
    if both.is_targeted {
        assert_eq!(both, targeted);
    } else {
        assert_eq!(both.control, ResponseControl::parse(cache_control));
    }
    check_lifetimes(&both.control);
}

fn check_lifetimes(control: &ResponseControl) {
    let lifetimes = control.lifetimes(None);
    assert!(lifetimes.fresh <= LONGEST);
    assert!(lifetimes.stale_while_revalidate <= LONGEST);
    assert!(lifetimes.stale_if_error <= LONGEST);
    for (understands_status, is_authenticated) in [(false, false), (false, true), (true, true)] {
        // More knowledge of the status may allow storing, an `Authorization` never does.
        let stored = control
            .may_store(understands_status, is_authenticated)
            .is_ok();
        assert!(!stored || control.may_store(understands_status, false).is_ok());
    }
}
