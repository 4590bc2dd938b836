//! The `Authorization` field, API keys, and everything that is written as hexadecimal digits.

#![no_main]

use brink_cache::tenant::api_key::{MAX_API_KEY_BYTES, MIN_API_KEY_BYTES};
use brink_cache::tenant::{ApiKeyError, KeyHash, bearer_token, hash_api_key};
use brink_cache::{Key, ModelDigest, SealKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|value: &str| {
    check_token(value);
    check_digits(value);
});

fn check_token(authorization: &str) {
    let Ok(token) = bearer_token(authorization) else {
        return;
    };
    assert!(authorization.contains(token) && token.len() <= MAX_API_KEY_BYTES);
    assert_eq!(bearer_token(&format!("Bearer {token}")), Ok(token));
    // Whatever can be sent can be a key, unless it can be guessed.
    match hash_api_key(token) {
        Ok(hash) => assert_eq!(KeyHash::from_hex(&hash.to_string()), Some(hash)),
        Err(error) => {
            let bytes = token.len();
            assert!(bytes < MIN_API_KEY_BYTES);
            assert_eq!(error, ApiKeyError::Length { bytes });
        }
    }
}

fn check_digits(hex: &str) {
    let is_read = Key::from_hex(hex).is_some();
    assert_eq!(ModelDigest::from_hex(hex).is_some(), is_read);
    assert_eq!(KeyHash::from_hex(hex).is_some(), is_read);
    assert_eq!(SealKey::from_hex(hex).is_ok(), is_read);
    if let Some(key) = Key::from_hex(hex) {
        assert_eq!(key.to_hex(), hex.to_ascii_lowercase());
    }
}
