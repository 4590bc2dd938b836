//! What a request's `Cache-Control` asks of the cache (RFC 9111 §5.2.1).
//!
//! Unknown directives and arguments that are no number are ignored, as §5.2.3 demands:
//! a client's mistake costs it a look-up at worst, never an error.

use std::time::Duration;

use crate::freshness::{self, Decision, Lifetimes};

/// The request directives that Brink honours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestControl {
    /// Do not answer from the cache; storing the new result is allowed.
    pub no_cache: bool,
    /// Do not keep the result (and, as an extension of caution, do not look it up).
    pub no_store: bool,
    /// Answer from the cache or with 504; never run a model.
    pub only_if_cached: bool,
    /// Do not use an entry older than this.
    pub max_age: Option<Duration>,
    /// Use only an entry that stays fresh for at least this long.
    pub min_fresh: Option<Duration>,
    /// Also use an entry that has been stale for at most this long; `Duration::MAX` when
    /// the directive has no argument.
    pub max_stale: Option<Duration>,
}

impl RequestControl {
    /// Reads the values of all `Cache-Control` fields, joined by commas.
    pub fn parse(value: &str) -> Self {
        let mut control = Self::default();
        for directive in value.split(',') {
            let (name, argument) = match directive.split_once('=') {
                Some((name, argument)) => (name.trim(), seconds(argument)),
                None => (directive.trim(), None),
            };
            match name.to_ascii_lowercase().as_str() {
                "no-cache" => control.no_cache = true,
                "no-store" => control.no_store = true,
                "only-if-cached" => control.only_if_cached = true,
                "max-age" => control.max_age = argument,
                "min-fresh" => control.min_fresh = argument,
                "max-stale" => control.max_stale = Some(argument.unwrap_or(Duration::MAX)),
                _ => {}
            }
        }
        control
    }

    /// Whether the cache may be asked at all.
    pub fn may_look_up(&self) -> bool {
        !self.no_cache && !self.no_store
    }

    /// Whether the result may be kept.
    pub fn may_store(&self) -> bool {
        !self.no_store
    }

    /// Whether an entry of `age` may answer *this* request, without asking upstream.
    pub fn accepts(&self, age: Duration, lifetimes: Lifetimes) -> bool {
        if self.max_age.is_some_and(|limit| age > limit) {
            return false;
        }
        let needed = age.saturating_add(self.min_fresh.unwrap_or_default());
        match freshness::decide(needed, lifetimes) {
            Decision::Fresh => true,
            // Of two wishes that contradict each other the more restrictive one counts: whoever wants an
            // entry that stays fresh gets no stale one, not even beside max-stale.
            _ if self.min_fresh.is_some() => false,
            Decision::StaleWhileRevalidate => true,
            Decision::StaleIfError | Decision::Expired => self
                .max_stale
                .is_some_and(|limit| age.saturating_sub(lifetimes.fresh) <= limit),
        }
    }
}

impl RequestControl {
    /// Whether an entry of `age` that may not answer right away may do so once asking upstream
    /// has failed (RFC 5861 §4). A client that named a limit of its own gets the error instead.
    pub fn accepts_on_error(&self, age: Duration, lifetimes: Lifetimes) -> bool {
        let is_within = self.max_age.is_none_or(|limit| age <= limit);
        is_within
            && self.min_fresh.is_none()
            && freshness::decide(age, lifetimes) <= Decision::StaleIfError
    }
}

/// Delta-seconds (RFC 9111 §1.2.2); a value too large to hold counts as the largest.
fn seconds(argument: &str) -> Option<Duration> {
    let digits = argument.trim().trim_matches('"');
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(Duration::from_secs(digits.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIFETIMES: Lifetimes = Lifetimes {
        fresh: Duration::from_secs(10),
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
    };

    #[test]
    fn directives_are_read() {
        let check = |value: &str, expected: RequestControl| {
            assert_eq!(RequestControl::parse(value), expected, "{value}");
        };
        let none = RequestControl::default();
        check("", none);
        check(
            "No-Cache",
            RequestControl {
                no_cache: true,
                ..none
            },
        );
        check(
            "no-store, private",
            RequestControl {
                no_store: true,
                ..none
            },
        );
        check(
            "max-age=5",
            RequestControl {
                max_age: Some(Duration::from_secs(5)),
                ..none
            },
        );
        check(
            "max-age=\"5\"",
            RequestControl {
                max_age: Some(Duration::from_secs(5)),
                ..none
            },
        );
        check("max-age=five", none);
        check(
            "max-stale",
            RequestControl {
                max_stale: Some(Duration::MAX),
                ..none
            },
        );
        check(
            "max-age=99999999999999999999999",
            RequestControl {
                max_age: Some(Duration::from_secs(u64::MAX)),
                ..none
            },
        );
    }

    #[test]
    fn request_limits_an_acceptable_age() {
        let check = |value: &str, age: u64, expected: bool| {
            let accepted =
                RequestControl::parse(value).accepts(Duration::from_secs(age), LIFETIMES);
            assert_eq!(accepted, expected, "{value:?} at age {age}");
        };
        check("", 9, true);
        check("", 10, false);
        check("max-age=0", 0, true);
        check("max-age=3", 4, false);
        check("min-fresh=5", 4, true);
        check("min-fresh=5", 5, false);
        check("max-stale=5", 15, true);
        check("max-stale=5", 16, false);
        check("max-stale", 1_000_000, true);
        check("max-stale, max-age=20", 21, false);
    }

    #[test]
    fn whoever_wants_a_fresh_entry_gets_no_stale_one() {
        let lifetimes = Lifetimes {
            stale_while_revalidate: Duration::from_secs(5),
            ..LIFETIMES
        };
        let check = |rule: &str, value: &str, age, expected| {
            let control = RequestControl::parse(value);
            let accepted = control.accepts(Duration::from_secs(age), lifetimes);
            assert_eq!(accepted, expected, "{value} at {age}: {rule}");
        };
        let rule = "9111 5.2.1.3: \"the client wants a response that will still be fresh for at least the specified number of seconds\"";
        check(rule, "min-fresh=5, max-stale", 4, true);
        check(rule, "min-fresh=5, max-stale", 5, false);
        check(rule, "min-fresh=5, max-stale", 12, false);
        check(rule, "min-fresh=5, max-stale", 100, false);
        check(rule, "min-fresh=5", 12, false);
    }

    #[test]
    fn only_clients_without_a_limit_take_stale_entries_on_error() {
        let lifetimes = Lifetimes {
            stale_while_revalidate: Duration::from_secs(5),
            stale_if_error: Duration::from_secs(5),
            ..LIFETIMES
        };
        let check = |value: &str, age, expected| {
            let control = RequestControl::parse(value);
            let accepted = control.accepts_on_error(Duration::from_secs(age), lifetimes);
            assert_eq!(accepted, expected, "{value} at {age}");
        };
        check("", 19, true);
        check("", 20, false);
        check("max-age=15", 15, true);
        check("max-age=15", 16, false);
        check("min-fresh=1", 12, false);
    }

    proptest! {
        /// An entry that is refused for its age is not accepted when it is older.
        #[test]
        fn acceptance_never_rises_with_age(
            age in 0u64..40, older_by in 0u64..40, windows in prop::array::uniform3(0u64..20),
            max_age in prop::option::of(0u64..40), min_fresh in prop::option::of(0u64..20),
            max_stale in prop::option::of(0u64..20),
        ) {
            let seconds = Duration::from_secs;
            let [fresh, stale_while_revalidate, stale_if_error] = windows.map(seconds);
            let lifetimes = Lifetimes { fresh, stale_while_revalidate, stale_if_error };
            let control = RequestControl {
                max_age: max_age.map(seconds),
                min_fresh: min_fresh.map(seconds),
                max_stale: max_stale.map(seconds),
                ..RequestControl::default()
            };
            let (age, older) = (seconds(age), seconds(age + older_by));
            prop_assert!(control.accepts(age, lifetimes) || !control.accepts(older, lifetimes));
            prop_assert!(control.accepts_on_error(age, lifetimes) || !control.accepts_on_error(older, lifetimes));
        }

        #[test]
        fn any_value_is_read_without_a_panic(value in ".*") {
            RequestControl::parse(&value);
        }
    }
}
