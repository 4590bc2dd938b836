//! The policy in force: read from the key-value store, again once a second, so that a change
//! reaches every instance within a second and needs no restart.

use std::rc::Rc;
use std::sync::Arc;

use brink_cache::policy::STORE_KEY as KEY;
use brink_cache::{Policy, UnixSeconds};

use super::{Edge, SystemClock};
use crate::embeddings::Fetched;
use crate::hit::Clock;
use crate::ruling::InForce;

/// Where the compiled policy is.
pub(super) const STORE_KEY: &str = KEY;

/// What this instance knows.
#[derive(Default)]
pub(super) struct Kept {
    in_force: Arc<InForce>,
    /// The bytes that it was made of; empty for the built-in one.
    bytes: bytes::Bytes,
    read: Option<UnixSeconds>,
}

impl Kept {
    /// Whether the store is to be asked again: in every new second, in either direction, so that a
    /// clock that is set back delays nothing.
    pub(super) fn is_due(&self, now: UnixSeconds) -> bool {
        self.read != Some(now)
    }

    /// The policy that decides now.
    pub(super) fn in_force(&self) -> Arc<InForce> {
        self.in_force.clone()
    }

    /// Takes over what the store has. A store that does not answer changes nothing.
    pub(super) fn take_over(&mut self, stored: &Fetched, now: UnixSeconds) {
        self.read = Some(now);
        match stored {
            Fetched::Bytes(bytes) if *bytes == self.bytes => {}
            Fetched::Bytes(bytes) => {
                let policy = Policy::decode(bytes).unwrap_or_else(|error| {
                    // Whoever stored it wanted something else than the built-in rules; storing
                    // nothing is the one thing that is wrong for nobody.
                    eprintln!(
                        "nothing is cached, because the stored policy cannot be used: {error}"
                    );
                    Policy::nothing()
                });
                self.in_force = Arc::new(InForce::new(policy));
                self.bytes = bytes.clone();
            }
            Fetched::Absent if self.bytes.is_empty() => {}
            Fetched::Absent => {
                self.in_force = Arc::default();
                self.bytes = bytes::Bytes::new();
            }
            Fetched::NotAsked | Fetched::Failed => {}
        }
    }
}

impl Edge {
    /// The policy that decides about a request.
    pub(super) async fn policy(self: &Rc<Self>) -> Arc<InForce> {
        let now = SystemClock.now();
        if self.policy.borrow().is_due(now) {
            let stored = self.store.get(STORE_KEY.to_owned()).await;
            self.policy.borrow_mut().take_over(&stored, now);
        }
        self.policy.borrow().in_force()
    }
}
