//! What a response's `Cache-Control` allows a shared cache (RFC 9111 §5.2.2, RFC 5861).
//!
//! Where directives conflict, the most restrictive one counts (RFC 9111 §4.2.1). The qualified
//! forms `no-cache="field"` and `private="field"` count as the unqualified ones, as they do in
//! most caches (RFC 9111 §5.2.2.4): that costs a validation, and never leaks a field.

use std::time::Duration;

use super::directives::directives;
use crate::freshness::Lifetimes;

/// The response directives that matter to a shared cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseControl {
    /// Keep nothing of this response.
    pub no_store: bool,
    /// Keep it, and validate it before each use.
    pub no_cache: bool,
    /// For one user; not for a shared cache.
    pub private: bool,
    /// For shared caches too, even where other rules forbid it.
    pub public: bool,
    /// Once stale, validate before use: `must-revalidate` or `proxy-revalidate`.
    pub revalidate_when_stale: bool,
    /// `must-revalidate` itself, which also allows to store answers to authenticated requests.
    pub must_revalidate: bool,
    /// Only for a cache that knows the rules of the response's status code.
    pub must_understand: bool,
    /// Freshness lifetime for every cache.
    pub max_age: Option<Duration>,
    /// Freshness lifetime for shared caches; goes before `max_age`.
    pub s_maxage: Option<Duration>,
    /// RFC 5861 §3.
    pub stale_while_revalidate: Option<Duration>,
    /// RFC 5861 §4.
    pub stale_if_error: Option<Duration>,
}

/// Why a shared cache must not store a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// RFC 9111 §5.2.2.5.
    #[error("the response says no-store")]
    NoStore,
    /// RFC 9111 §5.2.2.7.
    #[error("the response is private")]
    Private,
    /// RFC 9111 §5.2.2.3.
    #[error("the response says must-understand, and its status code is not understood")]
    NotUnderstood,
    /// RFC 9111 §3.5.
    #[error("the request had Authorization, and the response does not say that it may be shared")]
    Authenticated,
}

impl Refusal {
    /// A token for the detail of `Cache-Status`.
    pub fn token(self) -> &'static str {
        match self {
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::NotUnderstood => "must-understand",
            Self::Authenticated => "authorization",
        }
    }
}

impl ResponseControl {
    /// Reads the values of all `Cache-Control` fields, joined by commas. Unknown directives are
    /// ignored (RFC 9111 §5.2.3).
    pub fn parse(value: &str) -> Self {
        let mut control = Self::default();
        for (name, argument) in directives(value) {
            let name = name.to_ascii_lowercase();
            if !control.set_flag(&name) {
                control.set_lifetime(&name, argument.as_deref().and_then(seconds));
            }
        }
        control
    }

    /// Sets the flag of that name; false if there is none.
    pub(super) fn set_flag(&mut self, name: &str) -> bool {
        match name {
            "no-store" => self.no_store = true,
            "no-cache" => self.no_cache = true,
            "private" => self.private = true,
            "public" => self.public = true,
            "must-revalidate" => {
                self.must_revalidate = true;
                self.revalidate_when_stale = true;
            }
            "proxy-revalidate" => self.revalidate_when_stale = true,
            "must-understand" => self.must_understand = true,
            _ => return false,
        }
        true
    }

    /// Sets the lifetime of that name; the first occurrence counts (RFC 9111 §4.2.1). A
    /// freshness lifetime that is no number is zero, "considered stale" as §4.2.1 says; a stale
    /// window that is no number is none.
    pub(super) fn set_lifetime(&mut self, name: &str, value: Option<Duration>) {
        match name {
            "max-age" => self.max_age = self.max_age.or(Some(value.unwrap_or_default())),
            "s-maxage" => self.s_maxage = self.s_maxage.or(Some(value.unwrap_or_default())),
            "stale-while-revalidate" => {
                self.stale_while_revalidate = self.stale_while_revalidate.or(value);
            }
            "stale-if-error" => self.stale_if_error = self.stale_if_error.or(value),
            _ => {}
        }
    }

    /// Whether a shared cache may store the response.
    ///
    /// `understands_status`: the cache knows what the status code means for caching.
    /// `is_authenticated`: the request had an `Authorization` field.
    ///
    /// # Errors
    /// Why not.
    pub fn may_store(
        &self,
        understands_status: bool,
        is_authenticated: bool,
    ) -> Result<(), Refusal> {
        if self.must_understand && !understands_status {
            return Err(Refusal::NotUnderstood);
        }
        // A cache that does understand must-understand ignores the no-store beside it, which is
        // there for caches that do not (RFC 9111 §5.2.2.3).
        if self.no_store && !self.must_understand {
            return Err(Refusal::NoStore);
        }
        if self.private {
            return Err(Refusal::Private);
        }
        let is_shareable = self.public || self.must_revalidate || self.s_maxage.is_some();
        if is_authenticated && !is_shareable {
            return Err(Refusal::Authenticated);
        }
        Ok(())
    }

    /// The freshness lifetime that a directive names (RFC 9111 §4.2.1).
    pub fn freshness(&self) -> Option<Duration> {
        self.s_maxage.or(self.max_age)
    }

    /// Whether the response may be used once it is stale, by a contract that it says nothing about
    /// (RFC 9111 §4.2.4): no directive forbids it.
    pub fn may_be_stale(&self) -> bool {
        !self.no_cache && !self.revalidate_when_stale && self.s_maxage.is_none()
    }

    /// How long the response may be used. `expires` is `Expires` minus `Date`, zero where
    /// `Expires` is no valid date (RFC 9111 §5.3); it counts only where no directive does.
    ///
    /// `s-maxage` alone forbids stale use (RFC 9111 §5.2.2.10), but not beside an explicit
    /// window of RFC 5861: whoever writes both for a shared cache means both.
    pub fn lifetimes(&self, expires: Option<Duration>) -> Lifetimes {
        if self.no_cache {
            return Lifetimes::NONE;
        }
        let fresh = self.freshness().or(expires);
        let window = |window: Option<Duration>| match window {
            Some(window) if !self.revalidate_when_stale => window,
            _ => Duration::ZERO,
        };
        Lifetimes {
            fresh: fresh.unwrap_or_default(),
            stale_while_revalidate: window(self.stale_while_revalidate),
            stale_if_error: window(self.stale_if_error),
        }
    }
}

/// Delta-seconds (RFC 9111 §1.2.2): digits only; what is too large counts as 2^31.
pub(super) fn seconds(argument: &str) -> Option<Duration> {
    if argument.is_empty() || !argument.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds = argument.parse().unwrap_or(LARGEST).min(LARGEST);
    Some(Duration::from_secs(seconds))
}

/// What RFC 9111 §1.2.2 says larger values are taken for.
pub(super) const LARGEST: u64 = 1 << 31;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::freshness::{Decision, decide};

    fn lifetimes(value: &str, expires: Option<u64>) -> (u64, u64, u64) {
        let lifetimes = ResponseControl::parse(value).lifetimes(expires.map(Duration::from_secs));
        (
            lifetimes.fresh.as_secs(),
            lifetimes.stale_while_revalidate.as_secs(),
            lifetimes.stale_if_error.as_secs(),
        )
    }

    #[test]
    fn lifetimes_follow_the_directives() {
        let check = |rule: &str, value: &str, expires, expected| {
            assert_eq!(lifetimes(value, expires), expected, "{value}: {rule}");
        };
        let rule =
            "9111 5.2.2.1: \"stale after its age is greater than the specified number of seconds\"";
        check(rule, "max-age=60", None, (60, 0, 0));
        check(rule, "MAX-AGE=60, public", None, (60, 0, 0));
        check(rule, "max-age=\"60\"", None, (60, 0, 0));
        let rule = "9111 5.2.2.10: \"for a shared cache, the maximum age specified by this directive \
                    overrides the maximum age specified by either the max-age directive or the Expires header field\"";
        check(rule, "max-age=60, s-maxage=10", Some(99), (10, 0, 0));
        check(rule, "s-maxage=0, max-age=60", None, (0, 0, 0));
        let rule = "9111 5.3: \"If a response includes a Cache-Control header field with the max-age \
                    directive, a recipient MUST ignore the Expires header field\"";
        check(rule, "max-age=60", Some(99), (60, 0, 0));
        check(rule, "public", Some(99), (99, 0, 0));
        let rule = "9111 4.2.1: \"Caches are encouraged to consider responses that have invalid freshness \
                    information (e.g., a max-age directive with non-integer content) to be stale\"";
        for value in [
            "max-age=a",
            "max-age",
            "max-age=",
            "max-age=-5",
            "max-age=5.5",
            "max-age='5'",
        ] {
            check(rule, value, Some(99), (0, 0, 0));
        }
        let rule = "9111 4.2.1: more than one value: \"either the first occurrence should be used or the \
                    response should be considered stale\"";
        check(rule, "max-age=5, max-age=60", None, (5, 0, 0));
        let rule = "9111 1.2.2: a value greater than can be represented: \"MUST consider the value to be \
                    2147483648 (2^31)\"";
        check(rule, "max-age=99999999999999999999", None, (LARGEST, 0, 0));
        check("no heuristics: 9111 4.2.2 is a MAY", "", None, (0, 0, 0));
        check(
            "9111 5.2.3: \"A cache MUST ignore unrecognized cache directives\"",
            "x=1, max-age=5",
            None,
            (5, 0, 0),
        );
    }

    #[test]
    fn stale_windows_are_those_of_rfc_5861() {
        let check = |rule: &str, value: &str, expected| {
            assert_eq!(lifetimes(value, None), expected, "{value}: {rule}");
        };
        let rule = "5861 3: \"caches MAY serve the response in which it appears after it becomes stale, \
                    up to the indicated number of seconds\"";
        check(
            rule,
            "max-age=60, stale-while-revalidate=30, stale-if-error=90",
            (60, 30, 90),
        );
        check(rule, "max-age=60, stale-while-revalidate", (60, 0, 0));
        check(
            "explicit for shared caches",
            "s-maxage=60, stale-while-revalidate=30",
            (60, 30, 0),
        );
        let rule = "9111 5.2.2.2: \"once the response has become stale, a cache MUST NOT reuse that response \
                    to satisfy another request until it has been successfully validated by the origin\"";
        check(
            rule,
            "max-age=60, stale-if-error=90, must-revalidate",
            (60, 0, 0),
        );
        check(
            "the same for shared caches, 5.2.2.8",
            "max-age=60, stale-if-error=90, proxy-revalidate",
            (60, 0, 0),
        );
        let rule = "9111 5.2.2.4: \"the response MUST NOT be used to satisfy any other request without \
                    forwarding it for validation and receiving a successful response\"";
        check(rule, "max-age=60, stale-if-error=90, no-cache", (0, 0, 0));
        check(rule, "max-age=60, no-cache=\"set-cookie, x\"", (0, 0, 0));
    }

    #[test]
    fn storing_is_refused_for_a_reason() {
        let check = |rule: &str, value: &str, understood, authenticated, expected| {
            let found = ResponseControl::parse(value).may_store(understood, authenticated);
            assert_eq!(found, expected, "{value}: {rule}");
        };
        let rule = "9111 5.2.2.5: \"a cache MUST NOT store any part of either the immediate request or the response\"";
        check(
            rule,
            "no-store, max-age=60",
            true,
            false,
            Err(Refusal::NoStore),
        );
        let rule = "9111 5.2.2.7: \"a shared cache MUST NOT store the response\"";
        check(
            rule,
            "private, max-age=60",
            true,
            false,
            Err(Refusal::Private),
        );
        check(
            rule,
            "max-age=60, private=\"a\"",
            true,
            false,
            Err(Refusal::Private),
        );
        let rule = "9111 5.2.2.3: \"the cache SHOULD ignore the no-store directive if it understands and \
                    implements the status code's caching requirements\"";
        check(rule, "must-understand, no-store", true, false, Ok(()));
        check(
            rule,
            "must-understand, no-store",
            false,
            false,
            Err(Refusal::NotUnderstood),
        );
        let rule = "9111 3.5: with Authorization only if a directive \"allows it to be stored by a shared cache\": \
                    must-revalidate, public, s-maxage";
        check(rule, "max-age=60", true, true, Err(Refusal::Authenticated));
        check(
            rule,
            "max-age=60, proxy-revalidate",
            true,
            true,
            Err(Refusal::Authenticated),
        );
        for value in [
            "max-age=60, public",
            "max-age=60, must-revalidate",
            "s-maxage=60",
        ] {
            check(rule, value, true, true, Ok(()));
        }
        check("nothing forbids it", "", true, false, Ok(()));
    }

    proptest! {
        /// Whatever else the value says, what must be validated first is never usable before.
        #[test]
        fn no_cache_wins(value in ".*", age in 0u64..100) {
            ResponseControl::parse(&value);
            let lifetimes = ResponseControl::parse(&format!("no-cache, {value}")).lifetimes(None);
            prop_assert_eq!(decide(Duration::from_secs(age), lifetimes), Decision::Expired);
        }
    }
}
