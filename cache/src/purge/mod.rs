//! Purging: how an operator takes back what is stored.
//!
//! A purge deletes nothing. It leaves a [`Mark`], and every look-up holds the entry that it
//! found against the marks. So a purge costs the same for one entry and for a billion, it
//! reaches edges whose stores nobody can list, and it holds for entries that come back from a
//! replica later.
//!
//! ```text
//!  Mark --Marks::add--> Marks --encode--> key-value store --decode--> Marks
//!                                                                       |
//!                                   Marked (an entry) --Marks::judge--> Purged
//! ```
//!
//! | module | answers |
//! | --- | --- |
//! | [`mark`] | what is purged, when, and how hard? |
//! | [`marks`] | which marks are kept, and how many? |
//! | `stamps` | what do several marks of one subject come to? |
//! | [`judge`] | is this entry purged, and what may still be done with it? |
//! | [`stored`] | what do stored bytes mean? |
//!
//! # Which entries a mark reaches
//!
//! Those that it names and that were created at its time or before. `created` counts in whole
//! seconds, so an entry of the same second may have been made just after the purge. It counts
//! as purged all the same: to compute a result once more costs time, to serve a purged one
//! breaks a promise.
//!
//! The clocks of edges differ. The edge that takes the purge dates the mark with its own clock,
//! and another whose clock is ahead dates an older entry later than that. Therefore a mark
//! reaches [`CLOCK_ALLOWANCE`] further than its time. What is computed in that time is computed
//! again; edges whose clocks differ by more have to be purged again once the difference is over.
//!
//! # Not here
//!
//! Who may purge, and how the document gets from edge to edge. Two edges that change it at the
//! same moment can overwrite each other's mark: who writes reads it back, and adds again what is
//! missing. Adding a mark twice changes nothing.

pub mod judge;
pub mod mark;
pub mod marks;
mod stamps;
pub mod stored;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use judge::{Marked, Purged};
pub use mark::{MAX_NAME_BYTES, Mark, Mode, NameError, Subject};
pub use marks::{AddError, MAX_MARKS, MAX_MARKS_BYTES, Marks};
pub use stamps::MAX_SOFT_MARKS;
pub use stored::DecodeError;

use crate::policy::limits::{MAX_FRESH, MAX_STALE_IF_ERROR, MAX_STALE_WHILE_REVALIDATE};

/// The key of the marks in a key-value store. Keys of results are 64 hexadecimal digits, so this
/// one can never be one of theirs.
pub const STORE_KEY: &str = "brink/purge/1";

/// How far the clocks of two edges may differ without an entry slipping past a mark. Clocks that
/// are kept by NTP differ by milliseconds; two seconds also cover one that is being corrected.
pub const CLOCK_ALLOWANCE: Duration = Duration::from_secs(2);

/// The longest that any policy lets an entry live: freshness and both stale windows. A mark is of
/// no use when all entries that it reaches are older.
pub const LONGEST_LIFETIME: Duration = Duration::from_secs(
    MAX_FRESH.as_secs() + MAX_STALE_WHILE_REVALIDATE.as_secs() + MAX_STALE_IF_ERROR.as_secs(),
);
