//! JSON bodies: the canonical form means what the body means, and is its own canonical form.

#![no_main]

use brink_cache::canonical::{self, CanonicalError};
use brink_cache::policy::Sampling;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let Ok(object) = canonical::parse(body) else {
        return;
    };
    let text = match canonical::members(&object, |_, _| true) {
        Ok(text) => text,
        Err(error) => return assert_eq!(error, CanonicalError::Inexact),
    };
    let again = canonical::parse(text.as_bytes()).expect("the canonical form is JSON");
    match canonical::members(&again, |_, _| true) {
        Ok(once_more) => assert_eq!(once_more, text),
        // A double beyond 2^53 is written without a point up to 10^21, and read back as an integer.
        Err(error) => assert_eq!(error, CanonicalError::Inexact),
    }
    assert_eq!(Sampling::of_body(&again), Sampling::of_body(&object));
    assert_eq!(
        canonical::members(&object, |_, _| false).as_deref(),
        Ok("{}")
    );
});
