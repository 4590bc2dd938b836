//! A response as the cache keeps it: its age (RFC 9111 §4.2.3) and its lifetimes (§4.2.1).

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::fields::Fields;
use super::{date, hop};
use crate::freshness::Lifetimes;
use crate::http::response::seconds;
use crate::http::targeted::{Governing, governing};
use crate::http::{EntityTag, Vary, groups};
use crate::time::UnixSeconds;

/// The two moments of the exchange that brought a response, by the clock of this cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// When the request was sent.
    pub requested: UnixSeconds,
    /// When the response's head arrived.
    pub received: UnixSeconds,
}

/// How long an operator's rule lets responses be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest freshness lifetime, whatever a response says.
    pub max_fresh: Duration,
    /// The window of RFC 5861 §3 for responses that do not name one.
    pub stale_while_revalidate: Duration,
    /// The window of RFC 5861 §4 for responses that do not name one.
    pub stale_if_error: Duration,
}

/// A response without its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseHead {
    /// The status code.
    pub status: u16,
    /// The fields that are kept: without those of the connection, and with a valid `Date`.
    pub fields: Fields,
    /// When it was asked for and arrived; of the last validation, where there was one.
    pub times: Times,
}

/// A response with its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResponse {
    /// Everything but the content.
    pub head: ResponseHead,
    /// The content as received, whatever its coding.
    pub body: Bytes,
}

impl ResponseHead {
    /// Takes what arrived. Fields of the connection and the announcement of trailers, which are
    /// not kept, go; a `Date` that is missing or invalid becomes the time of reception (RFC 9110
    /// §6.6.1).
    pub fn new(status: u16, fields: &Fields, times: Times) -> Self {
        let mut fields = hop::forwardable_response(fields);
        fields.remove("trailer");
        if date_of(&fields, "date").is_none() {
            fields.insert("date", date::format(times.received));
        }
        Self {
            status,
            fields,
            times,
        }
    }

    /// When the origin server generated the response.
    pub fn date(&self) -> UnixSeconds {
        date_of(&self.fields, "date").unwrap_or(self.times.received)
    }

    /// The age at reception: the larger of two estimates, so that an upstream cache that writes
    /// no `Age` makes nothing younger than its `Date`.
    pub fn corrected_initial_age(&self) -> Duration {
        let Times {
            requested,
            received,
        } = self.times;
        let apparent_age = received.since(self.date());
        let corrected_age_value = self.age_value().saturating_add(received.since(requested));
        apparent_age.max(corrected_age_value)
    }

    /// The age at `now`. A clock that was set back makes no time pass; it never makes an age
    /// shorter than at reception.
    pub fn age(&self, now: UnixSeconds) -> Duration {
        let resident_time = now.since(self.times.received);
        self.corrected_initial_age().saturating_add(resident_time)
    }

    /// The first member of `Age`; zero where it is no number (RFC 9111 §5.1).
    fn age_value(&self) -> Duration {
        let first = self.fields.get("age").and_then(|age| age.split(',').next());
        first
            .and_then(|age| seconds(age.trim()))
            .unwrap_or_default()
    }

    /// The directives that have the say (RFC 9213 §2.2).
    pub fn governing(&self) -> Governing {
        governing(
            self.fields.joined("cache-control").as_deref(),
            self.fields.joined("cdn-cache-control").as_deref(),
        )
    }

    /// The freshness lifetime that the response itself names; `None` if it names none.
    pub fn explicit_freshness(&self) -> Option<Duration> {
        self.freshness_by(&self.governing())
    }

    fn freshness_by(&self, governing: &Governing) -> Option<Duration> {
        let expires = if governing.is_targeted {
            None
        } else {
            self.expires()
        };
        governing.control.freshness().or(expires)
    }

    /// `Expires` minus `Date`; zero for what is no date (RFC 9111 §5.3), `None` without the field.
    fn expires(&self) -> Option<Duration> {
        let expires = self
            .fields
            .contains("expires")
            .then(|| date_of(&self.fields, "expires"));
        expires.map(|at| at.unwrap_or_default().since(self.date()))
    }

    /// How long the response may be used: its own freshness, within the operator's limit, and for
    /// each stale window its own, or else the operator's unless a directive forbids stale use. An
    /// error of the server has its own windows only: what an operator wants to see after an outage is
    /// not the outage.
    pub fn lifetimes(&self, limits: &Limits) -> Lifetimes {
        self.lifetimes_by(&self.governing(), limits)
    }

    /// The same for directives that have been read already: every hit asks.
    pub(super) fn lifetimes_by(&self, governing: &Governing, limits: &Limits) -> Lifetimes {
        let control = &governing.control;
        let own = control.lifetimes(self.freshness_by(governing));
        let window = |is_named: bool, own: Duration, limit: Duration| match is_named {
            true => own,
            false if control.may_be_stale() && self.status < 500 => limit,
            false => Duration::ZERO,
        };
        Lifetimes {
            fresh: own.fresh.min(limits.max_fresh),
            stale_while_revalidate: window(
                control.stale_while_revalidate.is_some(),
                own.stale_while_revalidate,
                limits.stale_while_revalidate,
            ),
            stale_if_error: window(
                control.stale_if_error.is_some(),
                own.stale_if_error,
                limits.stale_if_error,
            ),
        }
    }

    /// The response's entity tag; `None` if it has none that can be read.
    pub fn entity_tag(&self) -> Option<EntityTag<'_>> {
        entity_tag(&self.fields)
    }

    /// When the representation changed last; `None` without a valid `Last-Modified`.
    pub fn last_modified(&self) -> Option<UnixSeconds> {
        date_of(&self.fields, "last-modified")
    }

    /// Whether upstream can be asked if this response is still the current one.
    pub fn has_validator(&self) -> bool {
        self.entity_tag().is_some() || self.last_modified().is_some()
    }

    /// What the response varies by; by no fields where it does not say.
    pub fn vary(&self) -> Vary {
        Vary::parse(&self.fields.joined("vary").unwrap_or_default())
    }

    /// The groups that the response belongs to (RFC 9875 §2).
    pub fn groups(&self) -> Vec<String> {
        groups::groups(&self.fields.joined("cache-groups").unwrap_or_default())
    }

    /// Whether an invalidation at that time is about this response: its request was sent then or
    /// before, so that upstream may have answered before the change.
    pub fn is_invalidated(&self, at: UnixSeconds) -> bool {
        self.times.requested <= at
    }
}

impl StoredResponse {
    /// Whether the whole content has arrived, as far as `Content-Length` tells: a part of it must
    /// not be kept (RFC 9111 §3.3). A length that is no number never agrees.
    pub fn is_complete(&self) -> bool {
        let length = self.head.fields.joined("content-length");
        length.is_none_or(|length| content_length(&length) == Some(self.body.len() as u64))
    }
}

/// A decimal number, or the same one several times (RFC 9110 §8.6).
pub(super) fn content_length(value: &str) -> Option<u64> {
    let mut members = value.split(',').map(str::trim);
    let first = members.next()?;
    let is_number = !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || members.any(|member| member != first) {
        return None;
    }
    first.parse().ok()
}

/// The first line of a field that is a date.
pub(super) fn date_of(fields: &Fields, name: &str) -> Option<UnixSeconds> {
    fields.get(name).and_then(date::parse)
}

/// The entity tag in `ETag`.
pub(super) fn entity_tag(fields: &Fields) -> Option<EntityTag<'_>> {
    fields.get("etag").and_then(EntityTag::parse)
}
