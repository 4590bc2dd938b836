//! What is stored for a call, and what may be done with it.

use std::time::Duration;

use brink_cache::entry::{Content, MAX_ENTRY_BYTES};
use brink_cache::http::shared::{
    Record, ResponseHead, Reuse, StoredResponse, Terms, Verdict, reuse,
};
use brink_cache::{
    Decision, Entry, EntryMeta, Key, ModelDigest, Outcome, Purged, Scope, UnixSeconds,
};
use bytes::Bytes;

use super::Call;
use crate::items::{Fetched, Stored};

/// The kind of entry that holds a record.
pub const RECORD_MEDIA: &str = "application/vnd.brink.http-record";

/// What lies under a key.
#[derive(Clone, Debug)]
pub struct Found {
    /// What it says.
    pub record: Record,
    /// What purges have left of it; `None` for all.
    pub purged: Option<Purged>,
}

/// When and how a record came about.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    /// When.
    pub at: UnixSeconds,
    /// How long the origin took, which a hit saves.
    pub took: Duration,
}

impl Call {
    /// Reads what a store has under a key.
    ///
    /// # Errors
    /// What there is instead of a usable record.
    pub fn open(&self, key: &Key, fetched: Fetched) -> Result<Found, Outcome> {
        let (entry, purged) = self.open_entry(RECORD_MEDIA, key, fetched)?;
        let record = Record::decode(entry.body).map_err(|_| Outcome::Broken)?;
        Ok(Found { record, purged })
    }

    /// Reads an entry of some kind, and what purges have left of it.
    pub(super) fn open_entry(
        &self,
        media: &str,
        key: &Key,
        fetched: Fetched,
    ) -> Result<(Entry, Option<Purged>), Outcome> {
        let bytes = match fetched {
            Fetched::Bytes(bytes) => bytes,
            Fetched::Absent | Fetched::NotAsked => return Err(Outcome::Miss),
            Fetched::Failed => return Err(Outcome::StoreError),
        };
        let bytes = self.ruling.open(key, bytes).ok_or(Outcome::Broken)?;
        let entry = Entry::decode(bytes).map_err(|_| Outcome::Broken)?;
        if !matches!(&entry.meta.content, Content::Media(found) if found == media) {
            return Err(Outcome::Broken);
        }
        let purged = self.ruling.purged(key, &entry.meta, &self.model);
        if purged == Some(Purged::Absent) {
            return Err(Outcome::Miss);
        }
        Ok((entry, purged))
    }

    /// A record as it is to be stored; `None` if it is larger than the policy or a store allows.
    pub fn stored(&self, key: Key, record: &Record, made: Made) -> Option<Stored> {
        let entry = self.entry(RECORD_MEDIA, record.encode().ok()?.into(), made);
        let bytes = self.ruling.seal(&key, entry.encode())?;
        Some(Stored { key, bytes })
    }

    /// An entry for what an origin answered. No model of ours made it, so it has no digest.
    pub(super) fn entry(&self, media: &str, body: Bytes, made: Made) -> Entry {
        Entry {
            meta: EntryMeta {
                created: made.at,
                lifetimes: self.ruling.lifetimes(),
                model_digest: ModelDigest([0; 32]),
                cost_us: u32::try_from(made.took.as_micros()).unwrap_or(u32::MAX),
                tokens: 0,
                content: Content::Media(media.to_owned()),
                surrogate_keys: self.ruling.surrogate_keys(&self.model, None),
            },
            body,
        }
    }

    /// A mark that what was stored under a key is invalid. Kept whatever the rule of this request says: another
    /// one may have stored it.
    pub fn invalidation(&self, key: Key, at: UnixSeconds) -> Option<Stored> {
        let made = Made {
            at,
            took: Duration::ZERO,
        };
        let record = Record::Invalidated { at }.encode().ok()?;
        let entry = self.entry(RECORD_MEDIA, record.into(), made);
        let bytes = self.ruling.seal_any(&key, entry.encode());
        Some(Stored { key, bytes })
    }

    /// Everybody who may have stored something for the URL: this tenant for itself, and all for all.
    pub fn scopes(&self) -> [Scope; 2] {
        let tenant = self.ruling.tenant().to_owned();
        [Scope::Tenant(tenant), Scope::Public]
    }

    /// Whether a body of so many bytes could be stored at all.
    pub fn max_body_bytes(&self) -> usize {
        let accepted = self.ruling.storing().map(|storing| storing.max_entry_bytes);
        accepted.map_or(0, |most| (most as usize).min(MAX_ENTRY_BYTES))
    }

    /// What may be done with a stored response.
    pub fn verdict(
        &self,
        stored: &StoredResponse,
        purged: Option<Purged>,
        invalidated: Option<UnixSeconds>,
        now: UnixSeconds,
    ) -> Verdict {
        let terms = Terms {
            limits: self.limits(),
            invalidated,
        };
        let request = self.request();
        let verdict = reuse(&stored.head, &request, &terms, now);
        match purged {
            None => verdict,
            Some(purged) => self.after_purge(stored, verdict, purged, now),
        }
    }

    /// A soft purge makes a response stale before its time; the windows of RFC 5861 count from then.
    fn after_purge(
        &self,
        stored: &StoredResponse,
        verdict: Verdict,
        purged: Purged,
        now: UnixSeconds,
    ) -> Verdict {
        let request = self.request();
        let lifetimes = stored.head.lifetimes(&self.limits());
        let decision = purged.decide(verdict.age, lifetimes, now);
        let is_usable = !matches!(verdict.reuse, Reuse::Validate { .. });
        let was_allowed = match verdict.reuse {
            Reuse::Validate {
                may_serve_on_error, ..
            } => may_serve_on_error,
            Reuse::Fresh | Reuse::StaleWhileRevalidate | Reuse::Stale => true,
        };
        let may_be_stale = was_allowed && request.control.accepts_on_error(verdict.age, lifetimes);
        let ttl = verdict.ttl.min(-1);
        if is_usable && decision == Decision::StaleWhileRevalidate {
            return Verdict {
                reuse: Reuse::StaleWhileRevalidate,
                ttl,
                ..verdict
            };
        }
        Verdict {
            reuse: Reuse::Validate {
                conditions: self.conditions(stored),
                may_serve_on_error: decision <= Decision::StaleIfError && may_be_stale,
            },
            ttl,
            ..verdict
        }
    }
}

impl Found {
    /// The response, if it is one.
    pub fn response(self) -> Option<(StoredResponse, Option<Purged>)> {
        match self.record {
            Record::Response(response) => Some((response, self.purged)),
            Record::Variants { .. } | Record::Invalidated { .. } => None,
        }
    }
}

/// A body that is still to come.
pub fn without_body(head: ResponseHead) -> StoredResponse {
    StoredResponse {
        head,
        body: Bytes::new(),
    }
}
