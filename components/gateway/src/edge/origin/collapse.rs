//! One call for requests that miss the same key. The rules are in [`brink_cache::lease`].

use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::time::Duration;

use brink_cache::lease::lease_key;
use brink_cache::{Key, Lease, Turn};
use spin_sdk::wasip3;
use spin_sdk::wasip3::clocks::monotonic_clock;

use super::Exchange;
use crate::edge::{Edge, SystemClock};
use crate::hit::Clock;
use crate::items::Fetched;

/// The first wait of a follower, doubled until [`LONGEST_LOOK`]: most answers come soon.
const FIRST_LOOK: Duration = Duration::from_millis(2);
/// The longest wait between two looks.
const LONGEST_LOOK: Duration = Duration::from_millis(50);

/// Most ballots that a request loses without a lease to see.
const MAX_LOST: u32 = 4;

/// What a request that misses does next.
pub(super) enum Next {
    /// It asks; with a duty if it leads.
    Ask(Option<Duty>),
    /// It looks again: what it waited for is there.
    LookAgain,
}

/// The duty of a leader: to fill a place, or to say that it stays empty. Dropped without either, it is given
/// back, and the next one leads. If the whole instance goes away, the lease grows too old.
pub(super) struct Duty {
    edge: Rc<Edge>,
    key: Key,
    /// The counter that chose this leader.
    ballot: String,
    is_done: bool,
}

impl Exchange {
    /// Finds out whether somebody asks for `key` already, and waits until `is_there` says that what they
    /// brought can be looked at.
    pub(super) async fn next(&self, key: Key, is_there: impl AsyncFn() -> bool) -> Next {
        let longest = self.edge.settings.collapse_wait;
        let since = SystemClock.monotonic();
        let mut pause = FIRST_LOOK;
        let mut lost = 0;
        loop {
            let stored = self.edge.lease(&key).await;
            match Lease::turn(stored, longest, SystemClock::now_ms()) {
                Turn::Ask => return Next::Ask(None),
                Turn::Lead => {
                    if let Some(duty) = self.edge.take_lease(key, stored).await {
                        // Who led until just now has stored it, and then given the lease back.
                        return match is_there().await {
                            true => Next::LookAgain,
                            false => Next::Ask(Some(duty)),
                        };
                    }
                    lost += 1;
                    if lost > MAX_LOST {
                        // Whoever won went away before it took the lease, or the store is slow.
                        self.edge.store.delete(Lease::ballot(stored, &key)).await;
                        return Next::Ask(None);
                    }
                }
                Turn::Follow => {}
            }
            if SystemClock.monotonic().saturating_sub(since) >= longest {
                return Next::Ask(None);
            }
            monotonic_clock::wait_for(u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX)).await;
            pause = (pause * 2).min(LONGEST_LOOK);
            if is_there().await {
                return Next::LookAgain;
            }
        }
    }
}

impl Duty {
    /// The place is filled: whoever looks finds it.
    pub(super) async fn fulfil(mut self) {
        self.is_done = true;
        self.edge.end_lease(&self.key, &self.ballot).await;
    }

    /// The place stays empty: nobody waits for it again soon.
    pub(super) fn give_up(mut self) {
        self.is_done = true;
        let edge = self.edge.clone();
        let key = self.key;
        let ballot = std::mem::take(&mut self.ballot);
        wasip3::spawn(async move {
            let lease = Lease::GiveUp {
                at_ms: SystemClock::now_ms(),
            };
            edge.store
                .set(lease_key(&key), lease.encode().to_vec())
                .await;
            edge.store.delete(ballot).await;
        });
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let edge = self.edge.clone();
        let key = self.key;
        let ballot = std::mem::take(&mut self.ballot);
        wasip3::spawn(async move { edge.end_lease(&key, &ballot).await });
    }
}

/// Whether something that is done in the background is this request's to do.
pub(super) enum Lead {
    /// It is, and nobody is kept from it.
    Free,
    /// It is, and others leave it to this one.
    Won(Duty),
    /// Another one does it.
    Lost,
}

impl Edge {
    /// Tries to lead, without waiting.
    pub(super) async fn lead(self: &Rc<Self>, key: Key) -> Lead {
        let stored = self.lease(&key).await;
        let longest = self.settings.collapse_wait;
        match Lease::turn(stored, longest, SystemClock::now_ms()) {
            Turn::Ask => Lead::Free,
            Turn::Follow => Lead::Lost,
            Turn::Lead => match self.take_lease(key, stored).await {
                Some(duty) => Lead::Won(duty),
                None => Lead::Lost,
            },
        }
    }

    async fn lease(&self, key: &Key) -> Option<Lease> {
        match self.store.get(lease_key(key)).await {
            Fetched::Bytes(bytes) => Lease::decode(&bytes),
            Fetched::Absent | Fetched::NotAsked | Fetched::Failed => None,
        }
    }

    /// Takes the lease in the place of `stored`, unless another one was faster. With a store that does not
    /// count, everybody leads.
    async fn take_lease(self: &Rc<Self>, key: Key, stored: Option<Lease>) -> Option<Duty> {
        let ballot = Lease::ballot(stored, &key);
        if self.store.count(&ballot).is_some_and(|count| count > 1) {
            return None;
        }
        let lease = Lease::Leading {
            since_ms: SystemClock::now_ms(),
            id: RandomState::new().hash_one(key),
        };
        self.store
            .set(lease_key(&key), lease.encode().to_vec())
            .await;
        Some(Duty {
            edge: self.clone(),
            key,
            ballot,
            is_done: false,
        })
    }

    /// In this order: who counts the ballot anew finds no lease, and what was stored.
    async fn end_lease(&self, key: &Key, ballot: &str) {
        self.store.delete(lease_key(key)).await;
        self.store.delete(ballot.to_owned()).await;
    }
}
