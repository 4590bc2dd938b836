//! The synchronous door (`brink:edge/fast`): hits, whatever else needs no upstream, and requests of which
//! something is missing, for which the host makes the call ([`resume`](crate::resume)).
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
use brink_protocol::infer::decode_reply;
use brink_protocol::{Catalog, GENERATE_PATH, INFER_PATH, InferReply, MEDIA_TYPE, message};
use bytes::Bytes;

use super::SystemClock;
use super::bindings::exports::brink::edge::fast::{Guest, Message};
use super::catalog::{Kept, STORE_KEY};
use super::documents::{self, DOCUMENTS};
use super::settings::Settings;
use super::store::FastStore;
use super::upstream::{GRACE, RETRY_AFTER_MS, timed_out};
use crate::door_stream::{DoorStream, gathered};
use crate::error::ApiError;
use crate::head::Head;
use crate::hit::{self, Clock, Concluded, First, Known, Missing};
use crate::in_force::InForce;
use crate::items::{MAX_ANSWER_BYTES, Prefixes};
use crate::rate::Admission;
use crate::reply::{Exchange, Reply};
use crate::resume::{Notes, Recording, Replaying, Told};

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
    fn answer(head: Vec<u8>, body: Vec<u8>) -> Option<Message> {
        let head = Head::parse(&head)?;
        Fast::of_this_instance(|fast| fast.answer(&head, body.into()))
    }

    fn pass(call: Vec<u8>, stream: Vec<u8>, piece: Vec<u8>, last: bool) -> Option<Message> {
        let mut stream = match stream.is_empty() {
            true => DoorStream::decode(&Notes::read(&call)?.writer?)?,
            false => DoorStream::decode(&stream)?,
        };
        let mut out = stream.take(&piece);
        let head = if last {
            let (end, whole) = stream.end();
            out.push_str(&end);
            whole.unwrap_or_default()
        } else {
            stream.encode()
        };
        let body = out.into_bytes();
        Some(Message { head, body })
    }

    fn resume(request: Vec<u8>, body: Vec<u8>, made: Message, result: Message) -> Option<Message> {
        let head = Head::parse(&request)?;
        Fast::of_this_instance(|fast| fast.resume(&head, body.into(), &made, result))
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

    /// Settings that are wrong are told by the other door.
    fn of_this_instance<T>(then: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        FAST.with_borrow_mut(|fast| {
            let fast = match fast {
                Some(fast) => fast,
                None => fast.insert(Self::open()?),
            };
            then(fast)
        })
    }

    fn answer(&mut self, head: &Head<'_>, body: Bytes) -> Option<Message> {
        let clock = Frozen(SystemClock.now());
        let now = self.now(&clock);
        let mut store = Recording::new(&self.store);
        let first = hit::first(head, body, self.known(&now), &mut store, &clock);
        let answer = match first {
            Ok(First::Elsewhere) => return None,
            Ok(First::Answered(reply)) => Ok(Ok(reply)),
            Ok(First::Missing(missing)) => Ok(Err(missing)),
            Err(error) => Err(error),
        };
        let exchange = Exchange::of(head, &self.settings.cors_allow_origin);
        // Last: a request that goes on through the other door is counted there.
        let admission = self.admit(&now.in_force, head);
        let admitted = admission.as_ref().map_or(Ok(()), Admission::check);
        let answer = match admitted.and(answer) {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(missing)) => {
                let id = exchange.request_id;
                let notes = Notes::new(id, store.found(), admission.as_ref());
                return Some(match missing.is_of_texts() {
                    false => self.call(&missing, &notes),
                    true => self.text_call(&missing, notes, &clock),
                });
            }
            Err(error) => Err(error),
        };
        let reply = exchange.reply(answer);
        let reply = match admission {
            None => reply,
            Some(admission) => admission.tell(reply),
        };
        Some(wire(reply.finish(&exchange)))
    }

    /// The call that the host has to make.
    fn call(&self, missing: &Missing, notes: &Notes) -> Message {
        let Settings {
            upstream,
            upstream_timeout,
            ..
        } = &self.settings;
        let url = format!("{upstream}{INFER_PATH}");
        Message {
            head: notes.call(&url, MEDIA_TYPE, *upstream_timeout + GRACE),
            body: self.call_body(missing, notes),
        }
    }

    /// The call for a text, whose answer is passed on as it comes if the client wants a stream.
    fn text_call(&self, missing: &Missing, notes: Notes, clock: &impl Clock) -> Message {
        let url = format!("{}{GENERATE_PATH}", self.settings.upstream);
        let body = self.call_body(missing, &notes);
        let notes = match missing.begin_stream(clock) {
            Some((_, streaming)) => notes.with_writer(DoorStream::new(streaming).encode()),
            None => notes,
        };
        let timeout = self.settings.generate_timeout + GRACE;
        Message {
            head: notes.call(&url, MEDIA_TYPE, timeout),
            body,
        }
    }

    fn call_body(&self, missing: &Missing, notes: &Notes) -> Vec<u8> {
        if missing.is_of_texts() {
            let waits = self.settings.text_waits();
            let calls = missing.text_calls(&notes.id, waits);
            return calls.first().map(message::encode).unwrap_or_default();
        }
        // The body that the door is shown is small: no need to send pieces.
        let call = missing.upstream_call(&notes.id, self.settings.upstream_timeout);
        call.pieces().flatten().collect()
    }

    fn resume(
        &mut self,
        head: &Head<'_>,
        body: Bytes,
        made: &Message,
        result: Message,
    ) -> Option<Message> {
        let notes = Notes::read(&made.head)?;
        let clock = Frozen(SystemClock.now());
        let now = self.now(&clock);
        let mut store = Replaying::new(&self.store, &notes.found);
        let first = hit::first(head, body, self.known(&now), &mut store, &clock);
        let Ok(First::Missing(mut missing)) = first else {
            return None;
        };
        // Of another model, policy or time, the result would be somebody else's.
        if self.call_body(&missing, &notes) != made.body {
            return None;
        }
        let exchange = Exchange {
            request_id: notes.id.clone(),
            ..Exchange::of(head, &self.settings.cors_allow_origin)
        };
        if Told::read(&result.head) == Told::Streaming {
            let (reply, _) = missing.begin_stream(&clock)?;
            let reply = notes.tell(exchange.reply(Ok(reply)));
            return Some(wire(reply.finish_head(&exchange)));
        }
        let told = self.told(result, &mut missing);
        let Concluded::Answered(answer, entries) = missing.conclude(told, &clock) else {
            return None;
        };
        for entry in entries {
            self.store.set_named(&entry.key.to_hex(), &entry.bytes);
        }
        let reply = notes.tell(exchange.reply(answer));
        Some(wire(reply.finish(&exchange)))
    }

    /// What the host brought from its call.
    fn told(&self, result: Message, missing: &mut Missing) -> Result<InferReply, ApiError> {
        match Told::read(&result.head) {
            Told::Answered(took) if missing.is_of_texts() => {
                missing.took(took);
                gathered(&result.body)
            }
            Told::Answered(took) => {
                missing.took(took);
                decode_reply(&result.body.into())
                    .map_err(|error| ApiError::host_nonsense(&error.to_string()))
            }
            Told::Gathered => decode_reply(&result.body.into())
                .map_err(|error| ApiError::host_nonsense(&error.to_string())),
            Told::Streaming => Err(ApiError::host_nonsense("a stream that was not asked for")),
            Told::TimedOut => Err(timed_out(self.settings.upstream_timeout + GRACE)),
            Told::TooLarge => Err(ApiError::answer_too_large(MAX_ANSWER_BYTES)),
            Told::Unreachable => Err(ApiError::host_unavailable(RETRY_AFTER_MS)),
        }
    }

    /// What requests are held against now.
    fn now(&mut self, clock: &impl Clock) -> Now {
        Now {
            catalog: self.catalog(clock.now()),
            in_force: self.in_force(clock.now()),
        }
    }

    fn known<'a>(&'a self, now: &'a Now) -> Known<'a> {
        Known {
            catalog: now.catalog.as_ref(),
            prefixes: &self.prefixes,
            in_force: &now.in_force,
            max_body_bytes: self.settings.max_body_bytes,
        }
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

/// The models, and what operators have decided.
struct Now {
    catalog: Option<Arc<Catalog>>,
    in_force: Arc<InForce>,
}

fn wire(reply: Reply) -> Message {
    Message {
        head: reply.encode_head(),
        body: reply.body.into(),
    }
}
