//! Collapsing at the edge: of requests that miss the same key in several instances or edges of one store,
//! one asks, and the others wait for what it stores.
//!
//! ```text
//!  no lease --take--> Leading --stored--> gone: all read the entry
//!                        |----not storable--> GiveUp for a while: all ask at once, one by one never
//!                        |----failed--> gone: the next one leads
//!                        '----too old--> as if gone
//! ```
//!
//! A store has no locks, but counters: whoever counts a [`ballot`](Lease::ballot) to one leads. Each lease
//! that grew too old has a ballot of its own.

use std::time::Duration;

use crate::key::Key;

/// How long uncacheable keys are remembered, so that nobody waits for what will not be stored.
pub const GIVE_UP: Duration = Duration::from_secs(10);

const MAGIC: &[u8; 3] = b"BRL";
const VERSION: u8 = 1;
const LENGTH: usize = 21;

/// What is stored under a [`lease_key`]. Times are milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// Somebody asks.
    Leading {
        /// Since when.
        since_ms: u64,
        /// A random number: who.
        id: u64,
    },
    /// What was asked for is not stored.
    GiveUp {
        /// When that was found out.
        at_ms: u64,
    },
}

/// What a request does that misses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Take the lease, and ask.
    Lead,
    /// Wait for what the leader stores.
    Follow,
    /// Ask, without a lease.
    Ask,
}

/// The key under which the lease on `key` lies. No key of results looks like it.
pub fn lease_key(key: &Key) -> String {
    format!("brink/lease/1/{}", key.to_hex())
}

impl Lease {
    /// The counter that decides who takes the place of `stored`.
    pub fn ballot(stored: Option<Self>, key: &Key) -> String {
        let last = match stored {
            None => 0,
            Some(Self::Leading { id, .. }) => id,
            Some(Self::GiveUp { at_ms }) => at_ms,
        };
        format!("brink/ballot/1/{}/{last}", key.to_hex())
    }

    /// What to do in view of a stored lease. `max_leader_age`: how long a leader may take; zero switches
    /// collapsing off.
    ///
    /// A clock that was set back makes a lease neither older nor eternal: one from the future counts as
    /// gone.
    pub fn turn(stored: Option<Self>, max_leader_age: Duration, now_ms: u64) -> Turn {
        if max_leader_age.is_zero() {
            return Turn::Ask;
        }
        let is_young = |at_ms: u64, limit: Duration| {
            let age = now_ms.checked_sub(at_ms);
            age.is_some_and(|age| u128::from(age) < limit.as_millis())
        };
        match stored {
            Some(Self::Leading { since_ms, .. }) if is_young(since_ms, max_leader_age) => {
                Turn::Follow
            }
            Some(Self::GiveUp { at_ms }) if is_young(at_ms, GIVE_UP) => Turn::Ask,
            _ => Turn::Lead,
        }
    }

    /// The bytes to store.
    pub fn encode(&self) -> [u8; LENGTH] {
        let (kind, at, id) = match self {
            Self::Leading { since_ms, id } => (0, since_ms, *id),
            Self::GiveUp { at_ms } => (1, at_ms, 0),
        };
        let mut bytes = [0; LENGTH];
        bytes[..3].copy_from_slice(MAGIC);
        bytes[3] = VERSION;
        bytes[4] = kind;
        bytes[5..13].copy_from_slice(&at.to_le_bytes());
        bytes[13..].copy_from_slice(&id.to_le_bytes());
        bytes
    }

    /// Reads stored bytes; `None` for any others, which count as no lease.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = <&[u8; LENGTH]>::try_from(bytes).ok()?;
        let (mark, rest) = bytes.split_at(4);
        let (kind, rest) = rest.split_first()?;
        if !mark.starts_with(MAGIC) || mark[3] != VERSION {
            return None;
        }
        let (at, id) = rest.split_at(8);
        let at = u64::from_le_bytes(at.try_into().ok()?);
        let id = u64::from_le_bytes(id.try_into().ok()?);
        match (kind, id) {
            (0, id) => Some(Self::Leading { since_ms: at, id }),
            (1, 0) => Some(Self::GiveUp { at_ms: at }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AGE: Duration = Duration::from_secs(5);

    #[test]
    fn one_leads_and_the_others_follow_while_it_is_young() {
        let check = |stored, now_ms, expected| {
            assert_eq!(Lease::turn(stored, AGE, now_ms), expected, "{stored:?}");
        };
        let leading = Some(Lease::Leading {
            since_ms: 1_000,
            id: 7,
        });
        check(None, 0, Turn::Lead);
        check(leading, 1_000, Turn::Follow);
        check(leading, 5_999, Turn::Follow);
        check(leading, 6_000, Turn::Lead);
        check(leading, 999, Turn::Lead);
        let gave_up = Some(Lease::GiveUp { at_ms: 1_000 });
        check(gave_up, 1_000, Turn::Ask);
        check(gave_up, 10_999, Turn::Ask);
        check(gave_up, 11_000, Turn::Lead);
        assert_eq!(Lease::turn(leading, Duration::ZERO, 1_000), Turn::Ask);
    }

    #[test]
    fn leases_of_version_1_are_still_read() {
        let stored = *b"BRL\x01\x00\x01\x02\0\0\0\0\0\0\x09\0\0\0\0\0\0\0";
        let lease = Lease::Leading {
            since_ms: 0x201,
            id: 9,
        };
        assert_eq!(Lease::decode(&stored), Some(lease));
        assert_eq!(lease.encode(), stored);
    }

    proptest! {
        #[test]
        fn leases_are_read_back_and_no_bytes_panic(at: u64, id: u64, noise: Vec<u8>) {
            for lease in [Lease::Leading { since_ms: at, id }, Lease::GiveUp { at_ms: at }] {
                prop_assert_eq!(Lease::decode(&lease.encode()), Some(lease));
            }
            Lease::decode(&noise);
        }

        /// Nobody waits longer than a leader may take, whatever is stored and whatever clocks do.
        #[test]
        fn waiting_ends(since in 0u64..20_000, now in 0u64..20_000) {
            let stored = Some(Lease::Leading { since_ms: since, id: 0 });
            if Lease::turn(stored, AGE, now) == Turn::Follow {
                prop_assert_ne!(Lease::turn(stored, AGE, now + 5_000), Turn::Follow);
            }
        }
    }
}
