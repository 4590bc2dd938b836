//! The form of purge marks in a key-value store.
//!
//! ```text
//!  "BRU"  version  postcard(list of marks)
//!   3 B     1 B      to the end
//! ```
//!
//! Every version that was ever released is still read (see `tests/fixtures`). What was read is
//! checked, because a store may hold bytes of others. Whoever cannot read the marks must not go
//! on as if there were none: what is purged would be served again.

use super::mark::{Mark, NameError};
use super::marks::{MAX_MARKS, MAX_MARKS_BYTES, Marks};

const MAGIC: &[u8; 3] = b"BRU";
const VERSION: u8 = 1;

/// Why stored bytes are no usable marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes were not written by Brink.
    #[error("the stored bytes do not start with the sign of purge marks")]
    Foreign,
    /// Written by a newer release.
    #[error("the purge marks have version {0}; this release reads up to version {VERSION}")]
    Version(u8),
    /// More bytes than our marks ever have.
    #[error("the purge marks have {0} bytes; at most {MAX_MARKS_BYTES} are read")]
    TooLarge(usize),
    /// More marks than there may be.
    #[error("there are {0} purge marks; at most {MAX_MARKS} are read")]
    TooMany(usize),
    /// A mark's name is empty or too long.
    #[error("a stored purge mark is not allowed: {0}")]
    Name(#[from] NameError),
    /// Cut off or altered.
    #[error("the bytes of the purge marks cannot be read")]
    Broken,
}

impl Marks {
    /// The bytes to store; at most [`MAX_MARKS_BYTES`]. Equal marks have equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut marks: Vec<Mark> = self.iter().collect();
        marks
            .sort_unstable_by(|one, other| (&one.subject, one.at).cmp(&(&other.subject, other.at)));
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION);
        postcard::to_extend(&marks, bytes)
            .expect("plain structs without maps or unknown lengths always serialise")
    }

    /// Reads stored bytes and builds the index.
    ///
    /// # Errors
    /// Bytes of others, of a newer release, above the limits, or broken ones.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(DecodeError::Foreign)?;
        let (version, rest) = rest.split_first().ok_or(DecodeError::Foreign)?;
        if *version != VERSION {
            return Err(DecodeError::Version(*version));
        }
        if bytes.len() > MAX_MARKS_BYTES {
            return Err(DecodeError::TooLarge(bytes.len()));
        }
        let (marks, rest): (Vec<Mark>, &[u8]) =
            postcard::take_from_bytes(rest).map_err(|_| DecodeError::Broken)?;
        if !rest.is_empty() {
            return Err(DecodeError::Broken);
        }
        if marks.len() > MAX_MARKS {
            return Err(DecodeError::TooMany(marks.len()));
        }
        for mark in &marks {
            mark.subject.check()?;
        }
        Ok(Self::of(&marks))
    }
}
