//! Seals: entries in a store that others can write.
//!
//! A cached entry answers for a model, so whoever can write to the store can make it answer
//! anything. A seal binds the bytes of an entry to the key under which they are stored, with a
//! secret that only the edges know. Bytes that were made up, altered, cut, or copied from another
//! key are refused, and count as a miss.
//!
//! ```text
//!  "BRS"  version  tag                                              entry
//!   3 B     1 B    32 B = keyed BLAKE3-256(secret, key || entry)    to the end
//! ```
//!
//! The key has a fixed length, so key and entry cannot run together. The tag covers all of the
//! entry's bytes, and an entry without a tag is refused where seals are on: otherwise whoever
//! cannot forge a seal would leave it out.
//!
//! A seal is no encryption: who can read the store can read the entries. Nor does it know what is
//! newest: who can write can put an older entry back under its own key, where it counts with its
//! own age, and can delete entries. The policy, purge marks and tenants have no seals; they
//! belong in a store that edges alone can write.

use std::fmt;

use bytes::Bytes;

use crate::key::{Key, digits};

const MAGIC: &[u8; 3] = b"BRS";
const VERSION: u8 = 1;
const TAG_BYTES: usize = 32;

/// What a seal adds to an entry's bytes. Those must be shorter than the store's limit by this.
pub const SEAL_BYTES: usize = MAGIC.len() + 1 + TAG_BYTES;

/// Most older secrets that are still accepted. A check may cost a hash for each.
pub const MAX_OLDER: usize = 3;

/// A secret of 256 bits. It is never shown, not even by `Debug`.
#[derive(Clone)]
pub struct SealKey([u8; 32]);

/// The secret in use, and those that were in use before.
///
/// To change the secret, first give the new one to every edge as an older one, then make it
/// current and keep the former as older. Drop that when the longest lifetime is over, or at
/// once if it is no secret any more: what it sealed then counts as a miss.
#[derive(Clone, Debug)]
pub struct Seals {
    current: SealKey,
    older: Vec<SealKey>,
}

/// Why a secret, or a list of them, cannot be used. Never repeats a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It is not written as it should be.
    #[error("the secret has {characters} characters; 64 hexadecimal digits are wanted")]
    NotHexadecimal {
        /// Its length.
        characters: usize,
    },
    /// There are too many older ones.
    #[error("there are {count} older secrets; at most {MAX_OLDER} are allowed")]
    TooManyOlder {
        /// Their number.
        count: usize,
    },
}

/// Why stored bytes are not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// No seal: stored before seals were switched on, or by somebody else.
    #[error("the stored bytes have no seal")]
    Unsealed,
    /// Written by a newer release.
    #[error("the seal has version {0}; this release reads up to version {VERSION}")]
    Version(u8),
    /// The bytes end inside the seal.
    #[error("the stored bytes end inside the seal: there are {bytes}, a seal has {SEAL_BYTES}")]
    Truncated {
        /// Bytes found.
        bytes: usize,
    },
    /// The bytes were not sealed with an accepted secret for this key.
    #[error("the seal does not fit the key and the stored bytes")]
    Forged,
}

impl SealKey {
    /// Reads a secret of 64 hexadecimal digits. It should come from a source of randomness, such
    /// as `openssl rand -hex 32`: nobody can guess 256 random bits, so no slow hash is needed.
    ///
    /// # Errors
    /// The text is something else.
    pub fn from_hex(hex: &str) -> Result<Self, SecretError> {
        let characters = hex.chars().count();
        let secret = digits(hex).map(Self);
        secret.ok_or(SecretError::NotHexadecimal { characters })
    }

    /// The bytes to store under `key`: [`SEAL_BYTES`] more than those of the entry.
    pub fn seal(&self, key: &Key, entry: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SEAL_BYTES + entry.len());
        bytes.extend_from_slice(MAGIC);
        bytes.push(VERSION);
        bytes.extend_from_slice(self.tag(key, entry).as_bytes());
        bytes.extend_from_slice(entry);
        bytes
    }

    /// The entry's bytes, a slice of what was found under `key`.
    ///
    /// # Errors
    /// The bytes were not sealed with this secret for this key.
    pub fn open(&self, key: &Key, stored: Bytes) -> Result<Bytes, SealError> {
        Sealed::read(stored)?.open(key, [self])
    }

    fn tag(&self, key: &Key, entry: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(key.as_bytes());
        hasher.update(entry);
        hasher.finalize()
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(..)")
    }
}

impl Seals {
    /// Seals with `current`, and opens what was sealed with any of them.
    ///
    /// # Errors
    /// More than [`MAX_OLDER`] older secrets.
    pub fn new(current: SealKey, older: Vec<SealKey>) -> Result<Self, SecretError> {
        let count = older.len();
        if count > MAX_OLDER {
            return Err(SecretError::TooManyOlder { count });
        }
        Ok(Self { current, older })
    }

    /// The bytes to store under `key`; see [`SealKey::seal`].
    pub fn seal(&self, key: &Key, entry: &[u8]) -> Vec<u8> {
        self.current.seal(key, entry)
    }

    /// The entry's bytes, a slice of what was found under `key`. The current secret is tried
    /// first, so that older ones cost nothing for what was stored lately.
    ///
    /// # Errors
    /// The bytes were not sealed with any of the secrets for this key.
    pub fn open(&self, key: &Key, stored: Bytes) -> Result<Bytes, SealError> {
        let secrets = [&self.current].into_iter().chain(&self.older);
        Sealed::read(stored)?.open(key, secrets)
    }
}

/// Stored bytes that have the form of a seal and are not checked.
struct Sealed {
    tag: blake3::Hash,
    entry: Bytes,
}

impl Sealed {
    fn read(stored: Bytes) -> Result<Self, SealError> {
        let bytes = stored.len();
        let rest = stored.strip_prefix(MAGIC).ok_or(SealError::Unsealed)?;
        let (version, rest) = rest.split_first().ok_or(SealError::Truncated { bytes })?;
        if *version != VERSION {
            return Err(SealError::Version(*version));
        }
        let (tag, entry) = rest
            .split_first_chunk::<TAG_BYTES>()
            .ok_or(SealError::Truncated { bytes })?;
        Ok(Self {
            tag: blake3::Hash::from_bytes(*tag),
            entry: stored.slice_ref(entry),
        })
    }

    fn open<'a>(
        self,
        key: &Key,
        secrets: impl IntoIterator<Item = &'a SealKey>,
    ) -> Result<Bytes, SealError> {
        // Hashes of `blake3` are compared in constant time, so that nobody who can write and
        // measure finds a tag byte by byte.
        let fits = |secret: &SealKey| secret.tag(key, &self.entry) == self.tag;
        if secrets.into_iter().any(fits) {
            Ok(self.entry)
        } else {
            Err(SealError::Forged)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secret(byte: u8) -> SealKey {
        SealKey([byte; 32])
    }

    fn key(byte: u8) -> Key {
        Key::from_hex(&format!("{byte:02x}").repeat(32)).unwrap()
    }

    #[test]
    fn seal_is_stable_across_releases() {
        // A change here makes every sealed entry a miss: bump VERSION, and keep reading this one.
        let sealed = secret(1).seal(&key(2), b"entry");
        assert_eq!(&sealed[..4], b"BRS\x01");
        let tag = blake3::keyed_hash(&[1; 32], &[&[2; 32], b"entry".as_slice()].concat());
        assert_eq!(&sealed[4..SEAL_BYTES], tag.as_bytes());
        assert_eq!(
            tag.to_hex().as_str(),
            "a45b40a5ac5fb95e33c9eb7b992d03130a184901d9000dd020b76ee88abe21cc"
        );
        assert_eq!(&sealed[SEAL_BYTES..], b"entry");
    }

    #[test]
    fn opening_copies_nothing() {
        let stored = Bytes::from(secret(1).seal(&key(2), b"entry"));
        let opened = secret(1).open(&key(2), stored.clone()).unwrap();
        assert_eq!(opened.as_ptr(), stored[SEAL_BYTES..].as_ptr());
    }

    #[test]
    fn what_is_no_seal_is_named() {
        let check = |stored: &'static [u8], expected| {
            let opened = secret(1).open(&key(2), Bytes::from_static(stored));
            assert_eq!(opened, Err(expected), "{stored:?}");
        };
        check(b"", SealError::Unsealed);
        check(b"BR", SealError::Unsealed);
        check(
            include_bytes!("../tests/fixtures/entry_v1.bin"),
            SealError::Unsealed,
        );
        check(b"BRS", SealError::Truncated { bytes: 3 });
        check(b"BRS\x01abc", SealError::Truncated { bytes: 7 });
        check(b"BRS\x02", SealError::Version(2));
    }

    #[test]
    fn secrets_can_be_changed_without_losing_entries() {
        let open = |seals: &Seals, stored: &Vec<u8>| seals.open(&key(2), stored.clone().into());
        let first = Seals::new(secret(1), vec![]).unwrap();
        let second = Seals::new(secret(2), vec![secret(1)]).unwrap();
        let last = Seals::new(secret(3), vec![secret(2)]).unwrap();
        let (old, new) = (first.seal(&key(2), b"old"), second.seal(&key(2), b"new"));
        assert_eq!(open(&second, &old), Ok(Bytes::from_static(b"old")));
        assert_eq!(open(&second, &new), Ok(Bytes::from_static(b"new")));
        assert_eq!(
            open(&first, &new),
            Err(SealError::Forged),
            "not known there yet"
        );
        assert_eq!(open(&last, &new), Ok(Bytes::from_static(b"new")));
        assert_eq!(
            open(&last, &old),
            Err(SealError::Forged),
            "no longer accepted"
        );
        let older = vec![secret(1); MAX_OLDER + 1];
        let count = older.len();
        assert_eq!(
            Seals::new(secret(9), older).err(),
            Some(SecretError::TooManyOlder { count })
        );
    }

    #[test]
    fn secrets_are_read_and_never_shown() {
        let hex = "5e".repeat(32);
        let read = SealKey::from_hex(&hex).unwrap();
        assert_eq!(read.0, [0x5e; 32]);
        let seals = Seals::new(read.clone(), vec![read]).unwrap();
        let shown = format!("{seals:?}");
        assert_eq!(
            shown,
            "Seals { current: SealKey(..), older: [SealKey(..)] }"
        );
        for wrong in ["", &"5e".repeat(31), &"5e".repeat(33), &"5g".repeat(32)] {
            let error = SealKey::from_hex(wrong).unwrap_err().to_string();
            assert!(error.ends_with("64 hexadecimal digits are wanted"));
            assert!(wrong.is_empty() || !error.contains(wrong), "{error}");
        }
    }

    proptest! {
        #[test]
        fn sealed_entries_are_opened(entry: Vec<u8>, byte: u8) {
            let sealed = secret(1).seal(&key(byte), &entry);
            prop_assert_eq!(sealed.len(), entry.len() + SEAL_BYTES);
            prop_assert_eq!(secret(1).open(&key(byte), sealed.into()), Ok(entry.into()));
        }

        /// An entry that somebody moved to another key is refused, and so is every secret but one.
        #[test]
        fn seal_is_good_for_one_key_and_one_secret(entry: Vec<u8>, one: u8, other: u8) {
            prop_assume!(one != other);
            let sealed = Bytes::from(secret(one).seal(&key(one), &entry));
            prop_assert_eq!(secret(one).open(&key(other), sealed.clone()), Err(SealError::Forged));
            prop_assert_eq!(secret(other).open(&key(one), sealed), Err(SealError::Forged));
        }

        #[test]
        fn any_flipped_bit_is_noticed(entry: Vec<u8>, at: prop::sample::Index, bit in 0u8..8) {
            let mut sealed = secret(1).seal(&key(2), &entry);
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert!(secret(1).open(&key(2), sealed.into()).is_err());
        }

        #[test]
        fn any_cut_is_noticed(entry: Vec<u8>, at: prop::sample::Index) {
            let sealed = Bytes::from(secret(1).seal(&key(2), &entry));
            let cut = sealed.slice(..at.index(sealed.len()));
            prop_assert!(secret(1).open(&key(2), cut).is_err());
        }

        /// Neither what has no seal nor what imitates one is opened.
        #[test]
        fn made_up_bytes_are_refused(noise: Vec<u8>) {
            let imitated = [b"BRS\x01".as_slice(), &noise].concat();
            prop_assert!(secret(1).open(&key(2), noise.into()).is_err());
            prop_assert!(secret(1).open(&key(2), imitated.into()).is_err());
        }
    }
}
