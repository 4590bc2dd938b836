//! Whether an entry is purged, and what may still be done with it.

use std::time::Duration;

use super::marks::Marks;
use crate::freshness::{self, Decision, Lifetimes};
use crate::key::{Key, ModelDigest};
use crate::time::UnixSeconds;

/// What marks can say about an entry.
#[derive(Clone, Copy, Debug)]
pub struct Marked<'a> {
    /// The key under which it was found.
    pub key: &'a Key,
    /// When its result was produced.
    pub created: UnixSeconds,
    /// The model's name as the client writes it; empty where there is none.
    pub model: &'a str,
    /// What the model is.
    pub digest: &'a ModelDigest,
    /// The tenant that the entry belongs to; `None` for one that everybody shares. A purge of a
    /// tenant leaves those: other tenants' requests made them too.
    pub tenant: Option<&'a str>,
    /// The entry's labels.
    pub surrogate_keys: &'a [String],
}

/// What became of a purged entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purged {
    /// It is stale.
    Stale {
        /// From then on at the latest; its own lifetime may have ended before.
        since: UnixSeconds,
    },
    /// It counts as not stored.
    Absent,
}

impl Marks {
    /// What the marks say about an entry; `None` if it is not purged.
    ///
    /// Without marks, and for entries newer than every mark, this is one comparison. Otherwise
    /// it is one look-up in a hash index for each kind of subject and each label, however many
    /// marks there are.
    pub fn judge(&self, entry: &Marked<'_>) -> Option<Purged> {
        if !self.may_reach(entry.created) {
            return None;
        }
        self.stamps_of(entry)
            .filter_map(|stamps| stamps.judge(entry.created))
            .reduce(Purged::and)
    }
}

impl Purged {
    /// Both at once: the less usable one counts.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Stale { since: one }, Self::Stale { since: other }) => Self::Stale {
                since: one.min(other),
            },
            (Self::Absent, _) | (_, Self::Absent) => Self::Absent,
        }
    }

    /// What may be done with a purged entry of the given `age`. Never [`Decision::Fresh`], and
    /// never more than [`freshness::decide`] allows for the same entry.
    ///
    /// The stale windows run from the purge, or from the end of freshness if that was earlier.
    /// A purge that lies in the future by this clock counts as made just now.
    pub fn decide(self, age: Duration, lifetimes: Lifetimes, now: UnixSeconds) -> Decision {
        let Self::Stale { since } = self else {
            return Decision::Expired;
        };
        let stale_for = age.saturating_sub(lifetimes.fresh).max(now.since(since));
        let windows = Lifetimes {
            fresh: Duration::ZERO,
            ..lifetimes
        };
        freshness::decide(stale_for, windows)
    }
}
