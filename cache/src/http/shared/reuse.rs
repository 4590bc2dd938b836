//! Whether a stored response may answer a request (RFC 9111 §4), and how upstream is asked if
//! it may not (§4.3.1).

use std::time::Duration;

use super::fields::Fields;
use super::head::{Limits, ResponseHead};
use super::request::RequestHead;
use crate::control::RequestControl;
use crate::freshness::{self, Decision, Lifetimes};
use crate::http::ResponseControl;
use crate::time::UnixSeconds;

/// What may be done with a stored response, and how old it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What may be done.
    pub reuse: Reuse,
    /// The current age.
    pub age: Duration,
    /// Freshness left, in seconds, for `Cache-Status`; negative once stale.
    pub ttl: i64,
}

/// What may be done with a stored response, from most to least usable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Serve it; it is fresh.
    Fresh,
    /// Serve it; it is stale, and should be validated in the background.
    StaleWhileRevalidate,
    /// Serve it; it is stale, and the client takes it so (`max-stale`). Nobody else would, so nothing
    /// is validated for it.
    Stale,
    /// Ask upstream first. A client that said `only-if-cached` gets 504 instead.
    Validate {
        /// What to add to the request: `If-None-Match` and `If-Modified-Since` of the stored
        /// response, as far as it has validators.
        conditions: Fields,
        /// Whether it may be served if upstream fails; see [`counts_as_error`].
        may_serve_on_error: bool,
    },
}

/// What invalidations and the operator's rules say about a stored response.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The operator's rule.
    pub limits: Limits,
    /// When any of the response's groups was invalidated last (RFC 9875).
    pub invalidated: Option<UnixSeconds>,
}

/// What a stored response, which was found under the key of this request, may be used for.
///
/// The request is one that [`RequestHead::start`] lets look up.
pub fn reuse(
    stored: &ResponseHead,
    request: &RequestHead<'_>,
    terms: &Terms,
    now: UnixSeconds,
) -> Verdict {
    let age = stored.age(now);
    let governing = stored.governing();
    let lifetimes = stored.lifetimes_by(&governing, &terms.limits);
    let control = binding(&request.control, &governing.control);
    let is_invalidated = terms
        .invalidated
        .is_some_and(|at| stored.is_invalidated(at));
    let may_use = !control.no_cache && !is_invalidated;
    let reuse = if !may_use || !control.accepts(age, lifetimes) {
        Reuse::Validate {
            conditions: conditions(stored),
            may_serve_on_error: may_use && control.accepts_on_error(age, lifetimes),
        }
    } else {
        match freshness::decide(age, lifetimes) {
            Decision::Fresh => Reuse::Fresh,
            Decision::StaleWhileRevalidate => Reuse::StaleWhileRevalidate,
            Decision::StaleIfError | Decision::Expired => Reuse::Stale,
        }
    };
    let ttl = ttl(age, lifetimes);
    Verdict { reuse, age, ttl }
}

/// Whether a status tells of a failure, on which a stale response may be served instead (RFC 5861
/// §4 names these).
pub fn counts_as_error(status: u16) -> bool {
    matches!(status, 500 | 502 | 503 | 504)
}

/// The client's directives, without the leave for stale responses where the response forbids
/// stale use (RFC 9111 §4.2.4).
fn binding(client: &RequestControl, response: &ResponseControl) -> RequestControl {
    RequestControl {
        max_stale: client.max_stale.filter(|_| response.may_be_stale()),
        ..*client
    }
}

fn conditions(stored: &ResponseHead) -> Fields {
    let mut conditions = Fields::new();
    if stored.entity_tag().is_some() {
        conditions.copy_first(&stored.fields, "etag", "if-none-match");
    }
    if stored.last_modified().is_some() {
        // As it was written: some servers compare it letter by letter.
        conditions.copy_first(&stored.fields, "last-modified", "if-modified-since");
    }
    conditions
}

fn ttl(age: Duration, lifetimes: Lifetimes) -> i64 {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    seconds(lifetimes.fresh).saturating_sub(seconds(age))
}
