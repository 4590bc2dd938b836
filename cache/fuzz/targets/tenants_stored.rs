//! Stored tables of tenants: what is read was checked, and is stored again as it was.

#![no_main]

use brink_cache::Tenants;
use brink_cache::tenant::{AuthError, MAX_KEYS, MAX_STORED_BYTES, MAX_TENANTS};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|stored: &[u8]| {
    let Ok(tenants) = Tenants::decode(stored) else {
        return;
    };
    let encoded = tenants.encode();
    assert!(encoded.len() <= MAX_STORED_BYTES);
    assert_eq!(Tenants::decode(&encoded).as_ref(), Ok(&tenants));
    assert_eq!(Tenants::new(tenants.list().to_vec()).as_ref(), Ok(&tenants));
    assert!((1..=MAX_TENANTS).contains(&tenants.list().len()));
    assert!(
        tenants
            .list()
            .iter()
            .all(|tenant| tenant.key_hashes.len() <= MAX_KEYS)
    );
    // A table of foreign hashes lets in nobody who guesses.
    let guessed = tenants.authenticate(Some("Bearer key-0123456789abcdef0123"));
    assert_eq!(guessed, Err(AuthError::Unknown));
});
