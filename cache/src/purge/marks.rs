//! The marks that are in force.

use std::time::Duration;

use super::CLOCK_ALLOWANCE;
use super::judge::Marked;
use super::mark::{Mark, NameError, Subject, reaches};
use super::stamps::Stamps;
use crate::entry::MAX_ENTRY_BYTES;
use crate::index::Index;
use crate::key::{Key, ModelDigest};
use crate::time::UnixSeconds;

/// Most marks. Who needs more purges by a label, a model or a tenant instead of by key.
pub const MAX_MARKS: usize = 10_000;
/// Most bytes of the stored form: what a key-value store takes as one value.
pub const MAX_MARKS_BYTES: usize = MAX_ENTRY_BYTES;

/// Most bytes of the stored form before the first mark: "BRU", version, number of marks.
const HEAD_BYTES: usize = 7;
/// Most bytes of a stored mark beside its name, key or digest: kind, length, time, mode.
const MARK_BYTES: usize = 16;

/// Purge marks, indexed by what they name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    keys: Index<Key, Stamps>,
    surrogate_keys: Index<String, Stamps>,
    models: Index<String, Stamps>,
    digests: Index<ModelDigest, Stamps>,
    tenants: Index<String, Stamps>,
    all: Stamps,
    size: Size,
    /// The time of the newest mark; `None` without marks.
    newest: Option<UnixSeconds>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Size {
    marks: usize,
    /// At least what the stored marks take, the head left out.
    bytes: usize,
}

/// Why a mark was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// Its name is empty or too long.
    #[error(transparent)]
    Name(#[from] NameError),
    /// There are as many as there may be, none of them needless.
    #[error("there would be {marks} purge marks; at most {MAX_MARKS} are allowed")]
    TooMany {
        /// Their number with the new one.
        marks: usize,
    },
    /// The names are too long together.
    #[error("the purge marks would take {bytes} bytes; at most {MAX_MARKS_BYTES} are allowed")]
    TooLarge {
        /// Their size with the new one; an estimate that is a few bytes a mark too high.
        bytes: usize,
    },
}

impl Marks {
    /// Whether nothing is purged.
    pub fn is_empty(&self) -> bool {
        self.size.marks == 0
    }

    /// The number of marks, at most [`MAX_MARKS`].
    pub fn len(&self) -> usize {
        self.size.marks
    }

    /// Adds a mark. No entry becomes more usable by it, in whatever order marks come: one takes
    /// the place of another of the same subject only where it says all that the other did. See
    /// [`MAX_SOFT_MARKS`](super::MAX_SOFT_MARKS) for what happens to many soft ones.
    ///
    /// Where the limits are exceeded, [`compact`](Self::compact) comes first. A hard mark for
    /// everything makes all earlier ones needless, so one such purge always makes room.
    ///
    ///
    /// # Errors
    /// A name or the limits; the marks are then as before.
    pub fn add(
        &mut self,
        mark: &Mark,
        now: UnixSeconds,
        longest_lifetime: Duration,
    ) -> Result<(), AddError> {
        mark.subject.check()?;
        let room_for_one_more = self.size.marks < MAX_MARKS
            && self.most_bytes() + mark_bytes(&mark.subject) <= MAX_MARKS_BYTES;
        if room_for_one_more {
            self.insert(mark);
            return Ok(());
        }
        // A copy, so that nothing has to be undone.
        let mut with = self.clone();
        with.insert(mark);
        if with.check_size().is_err() {
            with.compact(now, longest_lifetime);
            with.check_size()?;
        }
        *self = with;
        Ok(())
    }

    /// Drops marks that change nothing: those that only reach entries older than
    /// `longest_lifetime`, and those that marks for everything make needless. What is said about
    /// entries that can still be alive stays the same.
    ///
    /// `longest_lifetime` is the sum of freshness and stale windows that no entry exceeds; see
    /// [`LONGEST_LIFETIME`](super::LONGEST_LIFETIME).
    pub fn compact(&mut self, now: UnixSeconds, longest_lifetime: Duration) {
        // Twice: the entries may be dated ahead, and the clocks of others may be behind `now`.
        let outlived_after = longest_lifetime.saturating_add(CLOCK_ALLOWANCE * 2);
        let is_needed = |mark: &Mark| {
            let is_outlived = now.since(mark.at) >= outlived_after;
            let is_dominated =
                mark.subject != Subject::All && self.all.dominate(mark.at, mark.mode);
            !is_outlived && !is_dominated
        };
        let needed: Vec<_> = self.iter().filter(is_needed).collect();
        *self = Self::of(&needed);
    }

    pub(super) fn of(marks: &[Mark]) -> Self {
        let mut all = Self::default();
        for mark in marks {
            all.insert(mark);
        }
        all
    }

    fn check_size(&self) -> Result<(), AddError> {
        let marks = self.size.marks;
        let bytes = self.most_bytes();
        if marks > MAX_MARKS {
            Err(AddError::TooMany { marks })
        } else if bytes > MAX_MARKS_BYTES {
            Err(AddError::TooLarge { bytes })
        } else {
            Ok(())
        }
    }

    /// At least what the stored form takes: counted, so that adding a mark need not encode all.
    pub(super) fn most_bytes(&self) -> usize {
        HEAD_BYTES + self.size.bytes
    }

    fn insert(&mut self, mark: &Mark) {
        let stamps = self.stamps_mut(&mark.subject);
        let before = stamps.len();
        stamps.insert(mark.at, mark.mode);
        let after = stamps.len();
        let cost = mark_bytes(&mark.subject);
        // A hard mark may have taken the place of several soft ones.
        self.size.marks = self.size.marks + after - before;
        self.size.bytes = self.size.bytes + after * cost - before * cost;
        self.newest = self.newest.max(Some(mark.at));
    }

    fn stamps_mut(&mut self, subject: &Subject) -> &mut Stamps {
        match subject {
            Subject::Key(key) => self.keys.entry(*key).or_default(),
            Subject::SurrogateKey(label) => self.surrogate_keys.entry(label.clone()).or_default(),
            Subject::Model(name) => self.models.entry(name.clone()).or_default(),
            Subject::Digest(digest) => self.digests.entry(*digest).or_default(),
            Subject::Tenant(name) => self.tenants.entry(name.clone()).or_default(),
            Subject::All => &mut self.all,
        }
    }

    /// Whether any mark can reach an entry of that age.
    pub(super) fn may_reach(&self, created: UnixSeconds) -> bool {
        self.newest.is_some_and(|newest| reaches(newest, created))
    }

    /// The marks of everything that names the entry.
    pub(super) fn stamps_of(&self, entry: &Marked<'_>) -> impl Iterator<Item = &Stamps> {
        let kinds = [
            Some(&self.all),
            self.keys.get(entry.key),
            self.models.get(entry.model),
            self.digests.get(entry.digest),
            entry.tenant.and_then(|name| self.tenants.get(name)),
        ];
        let labels = entry.surrogate_keys.iter();
        let labels = labels.map(|label| self.surrogate_keys.get(label));
        kinds.into_iter().chain(labels).flatten()
    }

    /// All marks, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = Mark> {
        let keys = self.keys.iter().map(|(key, of)| (Subject::Key(*key), of));
        let labels = named(&self.surrogate_keys, Subject::SurrogateKey);
        let models = named(&self.models, Subject::Model);
        let digests = self.digests.iter();
        let digests = digests.map(|(digest, of)| (Subject::Digest(*digest), of));
        let tenants = named(&self.tenants, Subject::Tenant);
        keys.chain(labels)
            .chain(models)
            .chain(digests)
            .chain(tenants)
            .chain([(Subject::All, &self.all)])
            .flat_map(|(subject, of)| {
                of.iter().map(move |(at, mode)| Mark {
                    subject: subject.clone(),
                    at,
                    mode,
                })
            })
    }
}

fn named(
    index: &Index<String, Stamps>,
    subject: fn(String) -> Subject,
) -> impl Iterator<Item = (Subject, &Stamps)> {
    index
        .iter()
        .map(move |(name, of)| (subject(name.clone()), of))
}

/// Most bytes of one stored mark.
fn mark_bytes(subject: &Subject) -> usize {
    let subject_bytes = match subject {
        Subject::Key(_) | Subject::Digest(_) => 32,
        Subject::SurrogateKey(name) | Subject::Model(name) | Subject::Tenant(name) => name.len(),
        Subject::All => 0,
    };
    MARK_BYTES + subject_bytes
}
