//! What is known of each input of an embeddings route, and what may be done with it.

use brink_cache::http::shared::Reuse;
use brink_cache::{Key, Outcome, UnixSeconds};
use bytes::Bytes;

use super::items::ITEM_MEDIA;
use super::{Call, Made};
use crate::items::{Fetched, Stored};

/// What is known of one distinct input.
#[derive(Clone, Debug)]
pub struct Known {
    /// How the look-up went.
    pub outcome: Outcome,
    /// The result, if it may be used now.
    pub result: Option<Bytes>,
    /// A stale one that may stand in when asking fails.
    pub on_error: Option<Bytes>,
    /// Seconds since it was stored.
    pub age: u64,
    /// Whether it is to be asked for anew in the background.
    pub refresh: bool,
}

impl Known {
    /// Whether it has to be asked for.
    pub fn is_missing(&self) -> bool {
        self.result.is_none()
    }

    fn lacking(outcome: Outcome) -> Self {
        Self {
            outcome,
            result: None,
            on_error: None,
            age: 0,
            refresh: false,
        }
    }
}

impl Call {
    /// What may be done with what a store has of an input.
    pub fn known(&self, key: &Key, fetched: Fetched, now: UnixSeconds) -> Known {
        if !self.control().may_look_up() {
            return Known::lacking(Outcome::Bypass);
        }
        let (entry, purged) = match self.open_entry(ITEM_MEDIA, key, fetched) {
            Ok(found) => found,
            Err(outcome) => return Known::lacking(outcome),
        };
        let age = entry.age(now);
        let lifetimes = entry.meta.lifetimes.at_most(self.ruling.lifetimes());
        let verdict = self.posted_verdict(lifetimes, age, purged, now);
        let known = Known {
            outcome: Outcome::Hit,
            result: Some(entry.body.clone()),
            on_error: None,
            age: age.as_secs(),
            refresh: verdict.reuse == Reuse::StaleWhileRevalidate,
        };
        match verdict.reuse {
            Reuse::Fresh | Reuse::StaleWhileRevalidate | Reuse::Stale => known,
            Reuse::Validate {
                may_serve_on_error, ..
            } => Known {
                outcome: Outcome::Stale,
                result: None,
                on_error: may_serve_on_error.then_some(entry.body),
                ..known
            },
        }
    }

    /// A result as it is to be stored; `None` if it is larger than the policy or a store allows.
    pub fn item_entry(&self, key: Key, result: &Bytes, made: Made) -> Option<Stored> {
        let entry = self.entry(ITEM_MEDIA, result.clone(), made);
        let bytes = self.ruling.seal(&key, entry.encode())?;
        Some(Stored { key, bytes })
    }
}
