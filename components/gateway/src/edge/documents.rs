//! What operators have decided: the policy, the purge marks and the tenants, read from the key-value
//! store, again once a second, so that a change reaches every instance within a second and needs
//! no restart.

use std::rc::Rc;
use std::sync::Arc;

use brink_cache::{Marks, Policy, Tenants, UnixSeconds, policy, purge, tenant};
use bytes::Bytes;

use super::settings::{Authentication, Settings};
use super::{Edge, SystemClock};
use crate::hit::Clock;
use crate::in_force::{Deployment, InForce, KnownMarks, Tenancy};
use crate::items::Fetched;

/// The documents, by their keys in the store.
pub(super) const DOCUMENTS: [&str; 3] = [policy::STORE_KEY, purge::STORE_KEY, tenant::STORE_KEY];

/// What this instance knows.
pub(super) struct Kept {
    in_force: Arc<InForce>,
    /// The documents that it was made of, in order.
    documents: [Document; DOCUMENTS.len()],
    read: Option<UnixSeconds>,
    authentication: Authentication,
    deployment: Deployment,
}

/// What is known of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Document {
    /// Nothing: the store has not answered yet.
    Unread,
    /// It is not there.
    Absent,
    /// It says this.
    Bytes(Bytes),
}

impl Kept {
    pub(super) fn new(settings: &Settings) -> Self {
        let documents = [const { Document::Unread }; DOCUMENTS.len()];
        let authentication = settings.authentication;
        let deployment = settings.deployment.clone();
        let in_force = in_force(&documents, authentication);
        Self {
            in_force: Arc::new(in_force.in_deployment(deployment.clone())),
            documents,
            read: None,
            authentication,
            deployment,
        }
    }

    /// Whether the store is to be asked again: in every new second, in either direction, so that a
    /// clock that is set back delays nothing.
    pub(super) fn is_due(&self, now: UnixSeconds) -> bool {
        self.read != Some(now)
    }

    /// What holds now.
    pub(super) fn in_force(&self) -> Arc<InForce> {
        self.in_force.clone()
    }

    /// Takes over what the store has. What it does not answer stays as it was.
    pub(super) fn take_over(&mut self, stored: [Fetched; DOCUMENTS.len()], now: UnixSeconds) {
        self.read = Some(now);
        let mut changed = false;
        for (known, stored) in self.documents.iter_mut().zip(stored) {
            let stored = match stored {
                Fetched::Bytes(bytes) => Document::Bytes(bytes),
                Fetched::Absent => Document::Absent,
                Fetched::NotAsked | Fetched::Failed => continue,
            };
            if *known != stored {
                *known = stored;
                changed = true;
            }
        }
        if changed {
            let in_force = in_force(&self.documents, self.authentication);
            self.in_force = Arc::new(in_force.in_deployment(self.deployment.clone()));
        }
    }
}

/// A document that cannot be read, or was not yet, is never taken for one that is not there: whoever stored it
/// wanted something else than the default. Then nothing is cached, every entry counts as purged, nobody is let
/// in.
fn in_force(
    [policy, marks, tenants]: &[Document; DOCUMENTS.len()],
    authentication: Authentication,
) -> InForce {
    let policy = match policy {
        Document::Unread => Policy::nothing(),
        Document::Absent => Policy::default(),
        Document::Bytes(bytes) => Policy::decode(bytes).unwrap_or_else(|error| {
            eprintln!("nothing is cached, because the stored policy cannot be used: {error}");
            Policy::nothing()
        }),
    };
    let marks = match marks {
        Document::Unread => KnownMarks::Unreadable,
        Document::Absent => KnownMarks::default(),
        Document::Bytes(bytes) => match Marks::decode(bytes) {
            Ok(marks) => KnownMarks::Marks(Box::new(marks)),
            Err(error) => {
                eprintln!("no stored result is used, because the purge marks cannot be: {error}");
                KnownMarks::Unreadable
            }
        },
    };
    InForce::new(policy, marks, tenancy(tenants, authentication))
}

fn tenancy(tenants: &Document, authentication: Authentication) -> Tenancy {
    match (authentication, tenants) {
        (Authentication::Off, _) | (Authentication::Optional, Document::Absent) => Tenancy::Open,
        (Authentication::Required, Document::Absent) | (_, Document::Unread) => Tenancy::Closed,
        (_, Document::Bytes(bytes)) => match Tenants::decode(bytes) {
            Ok(tenants) => Tenancy::Keys(tenants),
            Err(error) => {
                eprintln!("nobody is let in, because the stored tenants cannot be used: {error}");
                Tenancy::Closed
            }
        },
    }
}

impl Edge {
    /// What holds for a request that arrives now.
    pub(super) async fn in_force(self: &Rc<Self>) -> Arc<InForce> {
        let now = SystemClock.now();
        if self.in_force.borrow().is_due(now) {
            let stored = self.store.get_all(DOCUMENTS.map(str::to_owned)).await;
            if let Ok(stored) = stored.try_into() {
                self.in_force.borrow_mut().take_over(stored, now);
            }
        }
        self.in_force.borrow().in_force()
    }
}
