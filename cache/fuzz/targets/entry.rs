//! Stored entries: what was read is stored, and read again.

#![no_main]

use brink_cache::Entry;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|stored: &[u8]| {
    let Ok(entry) = Entry::decode(stored.to_vec().into()) else {
        return;
    };
    // The body is the end of what was read.
    assert!(stored.ends_with(&entry.body));
    let encoded = entry.encode();
    assert_eq!(Entry::decode(encoded.clone().into()).as_ref(), Ok(&entry));
    // One byte less or more is another body than the head announces.
    let cut = encoded[..encoded.len() - 1].to_vec();
    assert!(Entry::decode(cut.into()).is_err());
    let longer = [encoded.as_slice(), &[0]].concat();
    assert!(Entry::decode(longer.into()).is_err());
});
