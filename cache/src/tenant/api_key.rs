//! API keys, of which only hashes are kept.
//!
//! ```text
//! BLAKE3-256( "brink-api-key-1:" || key )
//! ```
//!
//! so that `printf 'brink-api-key-1:%s' "$KEY" | b3sum` computes it too. A password would need a
//! slow hash with a salt, because people choose passwords that others can guess. An API key is
//! made of random bits, 128 at least: nobody can try that many, however fast each try is, and no
//! two tenants have the same. A slow hash would only be felt by every request.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::key::digits;

/// Keeps hashes of API keys apart from all other hashes of the same bytes.
const DOMAIN: &[u8] = b"brink-api-key-1:";

/// Fewest bytes of an API key. Each holds 6 bits at most, so that 128 random bits take 22: this
/// bars what is too short for certain. Whether the characters are random cannot be seen.
pub const MIN_API_KEY_BYTES: usize = 20;
/// Most bytes of an API key.
pub const MAX_API_KEY_BYTES: usize = 512;

/// The hash of an API key. Two are compared in constant time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "[u8; 32]", into = "[u8; 32]")]
pub struct KeyHash(blake3::Hash);

/// Why a text cannot be an API key. Never repeats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiKeyError {
    /// It can be guessed, or no header can carry it.
    #[error("the API key has {bytes} bytes; {MIN_API_KEY_BYTES} to {MAX_API_KEY_BYTES} are wanted")]
    Length {
        /// Its length.
        bytes: usize,
    },
    /// No `Authorization` field can carry it (RFC 6750 §2.1).
    #[error(
        "the API key has other characters than letters, digits and - . _ ~ + /, and = at its end"
    )]
    Characters,
}

/// The hash of a new API key, to be written in a table of tenants.
///
/// # Errors
/// A key that is too short or too long, or that clients could not send.
pub fn hash_api_key(key: &str) -> Result<KeyHash, ApiKeyError> {
    let bytes = key.len();
    if !(MIN_API_KEY_BYTES..=MAX_API_KEY_BYTES).contains(&bytes) {
        return Err(ApiKeyError::Length { bytes });
    }
    if !is_sendable(key) {
        return Err(ApiKeyError::Characters);
    }
    Ok(KeyHash::of(key))
}

/// Whether a text is a `b64token` (RFC 6750 §2.1), the form of what follows `Bearer`.
pub(super) fn is_sendable(key: &str) -> bool {
    let body = key.trim_end_matches('=');
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    !body.is_empty() && body.bytes().all(is_allowed)
}

impl KeyHash {
    /// The hash of what a client presents, whatever its length.
    pub(super) fn of(key: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(DOMAIN);
        hasher.update(key.as_bytes());
        Self(hasher.finalize())
    }

    /// Reads 64 hexadecimal digits, in either case; `None` if it is something else.
    pub fn from_hex(hex: &str) -> Option<Self> {
        digits(hex).map(Self::from)
    }
}

impl From<[u8; 32]> for KeyHash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(blake3::Hash::from_bytes(bytes))
    }
}

impl From<KeyHash> for [u8; 32] {
    fn from(hash: KeyHash) -> Self {
        *hash.0.as_bytes()
    }
}

/// 64 lower-case hexadecimal digits.
impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_hex())
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_that_of_the_documented_command() {
        let hash = hash_api_key("sk-0123456789abcdef0123456789abcdef").unwrap();
        let plain = blake3::hash(b"brink-api-key-1:sk-0123456789abcdef0123456789abcdef");
        assert_eq!(hash.to_string(), plain.to_hex().as_str());
        // A change here locks every tenant out: all hashes would have to be made anew.
        assert_eq!(
            hash.to_string(),
            "2e9c8b4661315b9d175192184ccee98557e9f4cf7f3af8913ac0983dc49fec2d"
        );
        assert_eq!(KeyHash::from_hex(&hash.to_string()), Some(hash));
    }

    #[test]
    fn keys_that_cannot_be_used_are_refused() {
        let check = |key: &str, expected| assert_eq!(hash_api_key(key), Err(expected), "{key}");
        check("", ApiKeyError::Length { bytes: 0 });
        check(&"a".repeat(19), ApiKeyError::Length { bytes: 19 });
        check(&"a".repeat(513), ApiKeyError::Length { bytes: 513 });
        check("0123456789 0123456789", ApiKeyError::Characters);
        check("0123456789=0123456789", ApiKeyError::Characters);
        check("0123456789é0123456789", ApiKeyError::Characters);
        check(&"=".repeat(20), ApiKeyError::Characters);
        for fine in [20, 512] {
            assert!(hash_api_key(&"a".repeat(fine)).is_ok());
        }
        assert!(hash_api_key("AZaz09-._~+/AZaz09==").is_ok());
    }
}
