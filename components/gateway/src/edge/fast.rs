//! The synchronous door (`brink:edge/fast`): plain hits, and whatever else needs no upstream.
//!
//! Our host asks it first, and takes `none` for "go through `wasi:http`"; Spin never asks. The
//! host runs it in instances of their own, so it shares the store with the other door, and no
//! memory. Only imports that the host binds for it work here: variables, look-ups, clocks and
//! the seed of a hash map. Anything else traps, and costs the host an instance.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use brink_cache::UnixSeconds;
use brink_cache::tenant::bucket_key;
use brink_protocol::Catalog;
use bytes::Bytes;

use super::SystemClock;
use super::bindings::exports::brink::edge::fast::{Guest, Reply as WireReply};
use super::catalog::{Kept, STORE_KEY};
use super::documents::{self, DOCUMENTS};
use super::settings::Settings;
use super::store::FastStore;
use crate::head::Head;
use crate::hit::{self, Clock, Known};
use crate::in_force::InForce;
use crate::items::Prefixes;
use crate::rate::Admission;
use crate::reply::Exchange;

/// What an instance of this door keeps between requests.
struct Fast {
    settings: Settings,
    store: FastStore,
    catalog: Kept,
    prefixes: Prefixes,
    in_force: documents::Kept,
}

thread_local!(static FAST: RefCell<Option<Fast>> = const { RefCell::new(None) });

/// Implements the export.
pub(super) struct Door;

impl Guest for Door {
    fn answer(head: Vec<u8>, body: Vec<u8>) -> Option<WireReply> {
        let head = Head::parse(&head)?;
        FAST.with_borrow_mut(|fast| {
            // Settings that are wrong are told by the other door.
            let fast = match fast {
                Some(fast) => fast,
                None => fast.insert(Fast::open()?),
            };
            fast.answer(&head, body.into())
        })
    }
}

/// The system's clock, asked for the time of day once per request: each time is a call to the host.
struct Frozen(UnixSeconds);

impl Clock for Frozen {
    fn now(&self) -> UnixSeconds {
        self.0
    }

    fn monotonic(&self) -> Duration {
        SystemClock.monotonic()
    }
}

impl Fast {
    fn open() -> Option<Self> {
        let settings = Settings::read().ok()?;
        Some(Self {
            store: FastStore::open()?,
            catalog: Kept::default(),
            prefixes: Prefixes::default(),
            in_force: documents::Kept::new(&settings),
            settings,
        })
    }

    fn answer(&mut self, head: &Head<'_>, body: Bytes) -> Option<WireReply> {
        let clock = Frozen(SystemClock.now());
        let catalog = self.catalog(clock.now());
        let in_force = self.in_force(clock.now());
        let known = Known {
            catalog: catalog.as_ref(),
            prefixes: &self.prefixes,
            in_force: &in_force,
            max_body_bytes: self.settings.max_body_bytes,
        };
        let answer = hit::answer(head, body, known, &mut &self.store, &clock).transpose()?;
        // Last: a request that goes on through the other door is counted there.
        let exchange = Exchange::of(head, &self.settings.cors_allow_origin);
        let reply = match self.admit(&in_force, head) {
            None => exchange.reply(answer),
            Some(admission) => {
                let answer = admission.check().and(answer);
                admission.tell(exchange.reply(answer))
            }
        };
        let reply = reply.finish(&exchange);
        Some(WireReply {
            head: reply.encode_head(),
            body: reply.body.into(),
        })
    }

    /// Counts the request, if its tenant's are counted.
    fn admit(&self, in_force: &InForce, head: &Head<'_>) -> Option<Admission> {
        let caller = in_force.counted(head.get("authorization"))?;
        let key = bucket_key(&caller.name);
        let stored = self.store.get_named(&key);
        let admission = Admission::decide(&caller, &stored, SystemClock::now_ms())?;
        self.store.set_named(&key, &admission.state());
        Some(admission)
    }

    /// What operators have decided, read again once a second.
    fn in_force(&mut self, now: UnixSeconds) -> Arc<InForce> {
        if self.in_force.is_due(now) {
            let stored = DOCUMENTS.map(|key| self.store.get_named(key));
            self.in_force.take_over(stored, now);
        }
        self.in_force.in_force()
    }

    /// The models, if a copy that is fresh enough is here or in the store. Asking the host for
    /// them is the other door's work, which leaves a copy in the store.
    fn catalog(&mut self, now: UnixSeconds) -> Option<Arc<Catalog>> {
        if let Some(catalog) = self.catalog.fresh(now, &self.settings) {
            return Some(catalog);
        }
        self.catalog.take_over(&self.store.get_named(STORE_KEY));
        self.catalog.fresh(now, &self.settings)
    }
}
