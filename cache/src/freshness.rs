//! Decides whether a stored result may answer a request.
//!
//! This module is pure: the caller measures the age and gets back a [`Decision`]. That is
//! what lets the same rules run inside a Wasm component and inside the host, and lets
//! tests cover months of cache life in microseconds.
//!
//! The rules are RFC 9111 §4.2 (freshness) and RFC 5861 (the two stale extensions). An
//! entry moves through them in one direction only:
//!
//! ```text
//!  age 0        fresh          + stale_while_revalidate   + stale_if_error
//!   |-- Fresh ---|--- StaleWhileRevalidate --|-- StaleIfError --|-- Expired
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long a stored result stays usable, counted from when it was produced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifetimes {
    /// Freshness lifetime: below this age the entry is served as is.
    pub fresh: Duration,
    /// Extra time in which the entry is served while one refresh runs.
    pub stale_while_revalidate: Duration,
    /// Extra time in which the entry is served only if the refresh fails.
    pub stale_if_error: Duration,
}

impl Lifetimes {
    /// Never usable without asking.
    pub const NONE: Self = Self {
        fresh: Duration::ZERO,
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
    };

    /// The lifetimes of a result that cannot change for as long as its key exists, such as
    /// an embedding bound to a model's digest: fresh for one year, the longest lifetime
    /// that HTTP caches are asked to honour (RFC 2616 §14.21 set the custom).
    pub const IMMUTABLE: Self = Self {
        fresh: Duration::from_secs(365 * 24 * 60 * 60),
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
    };

    /// The shorter of each window, so that an entry is never more usable than either allows.
    /// With the windows of the policy in force, a shorter lifetime holds at once for what was
    /// stored under a longer one.
    pub fn at_most(self, limit: Self) -> Self {
        Self {
            fresh: self.fresh.min(limit.fresh),
            stale_while_revalidate: self
                .stale_while_revalidate
                .min(limit.stale_while_revalidate),
            stale_if_error: self.stale_if_error.min(limit.stale_if_error),
        }
    }
}

/// What a look-up may do with a stored entry, from most to least usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    /// Serve it; no upstream request.
    Fresh,
    /// Serve it now and refresh it in the background.
    StaleWhileRevalidate,
    /// Ask upstream first; serve it only if that fails.
    StaleIfError,
    /// Treat it as absent.
    Expired,
}

/// Returns what may be done with an entry of the given `age`.
///
/// Each limit is exclusive: an entry whose age equals its freshness lifetime is already
/// stale, because RFC 9111 §4.2 requires the lifetime to be *greater* than the age. The
/// sums saturate, so a huge configured window means "always" and never wraps to "never".
pub fn decide(age: Duration, lifetimes: Lifetimes) -> Decision {
    let stale_while_revalidate_ends = lifetimes
        .fresh
        .saturating_add(lifetimes.stale_while_revalidate);
    let stale_if_error_ends = stale_while_revalidate_ends.saturating_add(lifetimes.stale_if_error);

    if age < lifetimes.fresh {
        Decision::Fresh
    } else if age < stale_while_revalidate_ends {
        Decision::StaleWhileRevalidate
    } else if age < stale_if_error_ends {
        Decision::StaleIfError
    } else {
        Decision::Expired
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds() -> impl Strategy<Value = Duration> {
        prop_oneof![0u64..100, Just(u64::MAX)].prop_map(Duration::from_secs)
    }

    fn lifetimes() -> impl Strategy<Value = Lifetimes> {
        (seconds(), seconds(), seconds()).prop_map(|(fresh, swr, sie)| Lifetimes {
            fresh,
            stale_while_revalidate: swr,
            stale_if_error: sie,
        })
    }

    #[test]
    fn limits_are_exclusive() {
        let lifetimes = Lifetimes {
            fresh: Duration::from_secs(10),
            stale_while_revalidate: Duration::from_secs(5),
            stale_if_error: Duration::from_secs(5),
        };
        let check = |age, expected| {
            assert_eq!(
                decide(Duration::from_secs(age), lifetimes),
                expected,
                "age {age}"
            );
        };
        check(0, Decision::Fresh);
        check(9, Decision::Fresh);
        check(10, Decision::StaleWhileRevalidate);
        check(15, Decision::StaleIfError);
        check(20, Decision::Expired);
    }

    proptest! {
        /// Growing older never makes an entry more usable.
        #[test]
        fn usability_never_rises_with_age(lifetimes in lifetimes(), age in seconds(), more in seconds()) {
            prop_assert!(decide(age, lifetimes) <= decide(age.saturating_add(more), lifetimes));
        }

        /// A limit never makes an entry more usable than its own lifetimes or the limit would.
        #[test]
        fn limited_lifetimes_are_within_both(own in lifetimes(), limit in lifetimes(), age in seconds()) {
            let limited = decide(age, own.at_most(limit));
            prop_assert!(limited >= decide(age, own) && limited >= decide(age, limit));
        }
    }
}
