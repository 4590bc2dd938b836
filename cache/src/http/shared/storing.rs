//! Whether a response may be stored (RFC 9111 §3).

use super::head::{Limits, ResponseHead, content_length};
use super::request::{Pass, RequestHead, Start};
use crate::entry::MAX_ENTRY_BYTES;
use crate::freshness::Lifetimes;
use crate::http::{Refusal, Vary};

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unstorable {
    /// The response or its request forbids it by a directive.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Only answers to GET are kept.
    #[error("the request's method is not GET")]
    Method,
    /// The request passed the cache by.
    #[error("the request is one that passes the cache by")]
    Passed(Pass),
    /// RFC 9111 §3: not final, or one whose rules are not implemented here.
    #[error("a response with status {0} is never stored")]
    Status(u16),
    /// RFC 9111 §3.3: parts are not kept, whatever the status says.
    #[error("the response has Content-Range")]
    Partial,
    /// RFC 9111 §4.1: it answers no other request.
    #[error("the response varies by something that no field tells")]
    VariesByAnything,
    /// A cookie is mostly for one client, and handed to all it would put them into one session.
    /// RFC 9111 §7.3 leaves that to the origin server, and this cache asks it to say so: `public`
    /// or `s-maxage` are words to shared caches, which `max-age` is not.
    #[error("the response sets a cookie, and does not say that it may be shared")]
    SetsCookie,
    /// It would be of no use: neither fresh at any time nor open to validation.
    #[error("the response has neither a usable lifetime nor a validator")]
    Useless,
    /// Above the limits on fields or on a record.
    #[error("the response is larger than what is stored")]
    TooLarge,
}

/// Whether the response to this request may be stored, as far as its head tells. The content's
/// length is checked by [`StoredResponse::is_complete`](super::StoredResponse::is_complete) and by
/// [`Record::encode`](super::Record::encode).
///
/// # Errors
/// The first reason against it.
pub fn may_store(
    request: &RequestHead<'_>,
    response: &ResponseHead,
    limits: &Limits,
) -> Result<(), Unstorable> {
    check_request(request)?;
    let status = response.status;
    // RFC 9111 §3 on 206 and 304: neither is understood here. What answers 1xx is no answer yet.
    if !(200..=599).contains(&status) || matches!(status, 206 | 304) {
        return Err(Unstorable::Status(status));
    }
    if response.fields.contains("content-range") {
        return Err(Unstorable::Partial);
    }
    let control = response.governing().control;
    let is_authenticated = request.is_authenticated();
    control.may_store(is_understood(status), is_authenticated)?;
    if response.vary() == Vary::Anything {
        return Err(Unstorable::VariesByAnything);
    }
    let is_for_all = control.public || control.s_maxage.is_some();
    if response.fields.contains("set-cookie") && !is_for_all {
        return Err(Unstorable::SetsCookie);
    }
    if !is_useful(response, limits) {
        return Err(Unstorable::Useless);
    }
    if !response.fields.fit() || announces_too_much(response) {
        return Err(Unstorable::TooLarge);
    }
    Ok(())
}

fn check_request(request: &RequestHead<'_>) -> Result<(), Unstorable> {
    if request.method != "GET" {
        return Err(Unstorable::Method);
    }
    match request.start() {
        Start::LookUp => Ok(()),
        Start::Pass(reason) => Err(Unstorable::Passed(reason)),
    }
}

/// Whether the cache implements what RFC 9110 says about a status: the final ones that §15.1 calls
/// heuristically cacheable, but 206, and the redirections that are cacheable where they say so.
fn is_understood(status: u16) -> bool {
    is_cacheable_by_default(status) || matches!(status, 302 | 307)
}

/// RFC 9110 §15.1, without 206.
fn is_cacheable_by_default(status: u16) -> bool {
    matches!(
        status,
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// Whether the response can ever be used: it may be fresh or stale for a while, or upstream can be
/// asked about it. Only explicit freshness makes a status storable that is not so by default.
fn is_useful(response: &ResponseHead, limits: &Limits) -> bool {
    let is_explicit = response.explicit_freshness().is_some();
    let may_live = is_explicit && response.lifetimes(limits) != Lifetimes::NONE;
    let is_storable = is_explicit
        || response.governing().control.public
        || is_cacheable_by_default(response.status);
    may_live || (is_storable && response.has_validator())
}

fn announces_too_much(response: &ResponseHead) -> bool {
    let length = response.fields.joined("content-length");
    let length = length.and_then(|length| content_length(&length));
    length.is_some_and(|length| length > MAX_ENTRY_BYTES as u64)
}

impl Unstorable {
    /// A token for the detail of `Cache-Status`.
    pub fn token(self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.token(),
            Self::Method => "method",
            Self::Passed(reason) => reason.token(),
            Self::Status(_) => "status",
            Self::Partial => "content-range",
            Self::VariesByAnything => "vary",
            Self::SetsCookie => "set-cookie",
            Self::Useless => "no-lifetime",
            Self::TooLarge => "too-large",
        }
    }
}
