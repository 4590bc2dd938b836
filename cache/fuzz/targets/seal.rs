//! Seals: an entry is opened under its own key and as it was, and bytes that nobody sealed never are.
//!
//! The first two bytes choose what is altered in a sealed entry; the rest is stored bytes.

#![no_main]

use std::sync::LazyLock;

use brink_cache::seal::{SEAL_BYTES, SealError};
use brink_cache::{Entry, Key, SealKey, Seals};
use libfuzzer_sys::fuzz_target;

static SEALS: LazyLock<Seals> = LazyLock::new(|| {
    let secret =
        |digits: &str| SealKey::from_hex(&digits.repeat(32)).expect("64 digits are a secret");
    Seals::new(secret("5b"), vec![secret("c3")]).expect("one older secret is allowed")
});

fuzz_target!(|input: &[u8]| {
    let Some(([place, change], stored)) = input.split_first_chunk() else {
        return;
    };
    // Guessing a seal of 256 bits would be news.
    let opened = SEALS.open(&key("a"), stored.to_vec().into());
    assert!(opened.is_err(), "{opened:?}");
    check_entry(stored, usize::from(*place), *change);
});

fn check_entry(entry: &[u8], place: usize, change: u8) {
    let sealed = SEALS.seal(&key("a"), entry);
    assert_eq!(sealed.len(), entry.len() + SEAL_BYTES);
    let opened = SEALS.open(&key("a"), sealed.clone().into());
    assert_eq!(opened.as_deref(), Ok(entry));
    let moved = SEALS.open(&key("b"), sealed.clone().into());
    assert_eq!(moved, Err(SealError::Forged));
    assert!(
        Entry::decode(sealed.clone().into()).is_err(),
        "a seal is no entry"
    );
    let mut altered = sealed;
    let place = place % altered.len();
    altered[place] ^= change;
    assert_eq!(SEALS.open(&key("a"), altered.into()).is_ok(), change == 0);
}

fn key(digit: &str) -> Key {
    Key::from_hex(&digit.repeat(64)).expect("64 digits are a key")
}
