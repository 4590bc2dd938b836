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
use crate::embeddings::Fetched;
use crate::hit::Clock;

/// The first wait of a follower, doubled until [`LONGEST_LOOK`]: most answers come soon.
const FIRST_LOOK: Duration = Duration::from_millis(2);
/// The longest wait between two looks.
const LONGEST_LOOK: Duration = Duration::from_millis(50);

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
    is_done: bool,
}

impl Exchange {
    /// Finds out whether somebody asks for `key` already, and waits until `is_there` says that what they
    /// brought can be looked at.
    pub(super) async fn next(&self, key: Key, is_there: impl AsyncFn() -> bool) -> Next {
        let longest = self.edge.settings.collapse_wait;
        let since = SystemClock.monotonic();
        let mut pause = FIRST_LOOK;
        loop {
            let stored = self.edge.lease(&key).await;
            match Lease::turn(stored, longest, SystemClock::now_ms()) {
                Turn::Ask => return Next::Ask(None),
                Turn::Lead => {
                    if self.edge.take_lease(&key).await {
                        return Next::Ask(Some(Duty {
                            edge: self.edge.clone(),
                            key,
                            is_done: false,
                        }));
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
        self.edge.store.delete(lease_key(&self.key)).await;
    }

    /// The place stays empty: nobody waits for it again soon.
    pub(super) fn give_up(mut self) {
        self.is_done = true;
        let edge = self.edge.clone();
        let key = self.key;
        wasip3::spawn(async move {
            let lease = Lease::GiveUp {
                at_ms: SystemClock::now_ms(),
            };
            edge.store
                .set(lease_key(&key), lease.encode().to_vec())
                .await;
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
        wasip3::spawn(async move { edge.store.delete(lease_key(&key)).await });
    }
}

impl Edge {
    async fn lease(&self, key: &Key) -> Option<Lease> {
        match self.store.get(lease_key(key)).await {
            Fetched::Bytes(bytes) => Lease::decode(&bytes),
            Fetched::Absent | Fetched::NotAsked | Fetched::Failed => None,
        }
    }

    /// Takes the lease, unless another one was faster. A store that fails has no leases: everybody asks.
    async fn take_lease(&self, key: &Key) -> bool {
        let lease = Lease::Leading {
            since_ms: SystemClock::now_ms(),
            id: RandomState::new().hash_one(key),
        };
        self.store
            .set(lease_key(key), lease.encode().to_vec())
            .await;
        let stored = self.lease(key).await;
        stored.is_none_or(|stored| stored == lease)
    }
}
