//! From a request to keys, and from what the store gave to what is still missing.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use brink_cache::Purged;
use brink_cache::entry::Content;
use brink_cache::freshness::{self, Decision};
use brink_cache::key;
use brink_cache::policy::{KeyFields, Normalise};
use brink_cache::{Entry, Key, Outcome, RequestControl, UnixSeconds};
use brink_protocol::generate::{Choice, Prompt};
use brink_protocol::{Fault, Input, ModelInfo, message};
use bytes::Bytes;
use serde_json::{Map, Value};

use super::bound::Bound;
use super::prefixes::Prefixes;
use super::request::Request;
use super::resolved::{Hit, Lack, Resolved};
use crate::error::ApiError;
use crate::ruling::Ruling;

/// What a stored error's body is: a [`Fault`] as edge and host exchange it.
pub(super) const FAULT_MEDIA: &str = "application/vnd.brink.fault";

/// A checked request with one key per *distinct* item.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(super) request: Request,
    pub(super) model: Bound,
    pub(super) control: RequestControl,
    pub(super) ruling: Ruling,
    pub(super) distinct: Vec<Distinct>,
    /// For every input of the request, its place in `distinct`.
    pub(super) place_of: Vec<usize>,
}

/// An item that occurs once or more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Distinct {
    pub(super) key: Key,
    /// Its first occurrence among the request's inputs.
    pub(super) first: usize,
}

/// What the store gave for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// It was not asked, because the request or the policy forbids it.
    NotAsked,
    /// Nothing.
    Absent,
    /// Bytes; whether they are an entry is not known yet.
    Bytes(Bytes),
    /// The store did not answer.
    Failed,
}

impl Plan {
    /// Checks the request against the model and derives the keys.
    pub(crate) fn new(
        mut request: Request,
        model: Bound,
        ruling: Ruling,
        control: RequestControl,
        prefixes: &Prefixes,
    ) -> Result<Self, ApiError> {
        request.bind(model.model())?;
        normalise(&mut request, &ruling)?;
        let parameters = parameters(&request, &ruling, model.model())?;
        let prefix = prefixes.get(&ruling.scope(), model.model(), &parameters);
        let mut plan = Self {
            distinct: Vec::with_capacity(request.inputs.len()),
            place_of: Vec::with_capacity(request.inputs.len()),
            request,
            model,
            control,
            ruling,
        };
        if let [input] = &plan.request.inputs[..] {
            // The common request: nothing to compare with.
            let key = prefix.key(input.bytes());
            plan.distinct.push(Distinct { key, first: 0 });
            plan.place_of.push(0);
            return Ok(plan);
        }
        let mut places = Places::with_capacity_and_hasher(plan.request.inputs.len(), Hash);
        for (first, input) in plan.request.inputs.iter().enumerate() {
            let key = prefix.key(input.bytes());
            let place = *places.entry(key).or_insert_with(|| {
                plan.distinct.push(Distinct { key, first });
                plan.distinct.len() - 1
            });
            plan.place_of.push(place);
        }
        Ok(plan)
    }

    /// Gives up what came with the request, once nothing is computed of it any more: its answer may need the room.
    pub(super) fn forget_inputs(&mut self) {
        self.request.inputs = Vec::new();
        self.request.form.forget_inputs();
    }

    pub(super) fn may_look_up(&self) -> bool {
        self.control.may_look_up() && self.ruling.storing().is_some()
    }

    pub(super) fn may_store(&self) -> bool {
        self.control.may_store() && self.ruling.storing().is_some()
    }

    /// The keys to look up, in an order that [`resolve`](Self::resolve) expects back.
    /// Empty when the request or the policy forbids the look-up.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        let asked = if self.may_look_up() {
            self.distinct.len()
        } else {
            0
        };
        self.distinct[..asked].iter().map(|distinct| &distinct.key)
    }

    /// Looks up every one of [`keys`](Self::keys) once, in order, and sorts what the store gave into
    /// hits and what is missing.
    ///
    /// # Errors
    /// A stored error, for the first input that has one.
    pub(crate) fn resolve(
        self,
        mut look_up: impl FnMut(&Key) -> Fetched,
        now: UnixSeconds,
    ) -> Result<Resolved, ApiError> {
        let may_look_up = self.may_look_up();
        let mut items = Vec::with_capacity(self.distinct.len());
        for distinct in &self.distinct {
            let fetched = if may_look_up {
                look_up(&distinct.key)
            } else {
                Fetched::NotAsked
            };
            items.push(self.judge(distinct, fetched, now)?);
        }
        Ok(Resolved {
            plan: Arc::new(self),
            items,
        })
    }

    fn judge(
        &self,
        distinct: &Distinct,
        fetched: Fetched,
        now: UnixSeconds,
    ) -> Result<Result<Hit, Lack>, ApiError> {
        let bytes = match fetched {
            Fetched::NotAsked => return Ok(Err(Lack::of(Outcome::Bypass))),
            Fetched::Absent => return Ok(Err(Lack::of(Outcome::Miss))),
            Fetched::Failed => return Ok(Err(Lack::of(Outcome::StoreError))),
            Fetched::Bytes(bytes) => bytes,
        };
        let broken = Ok(Err(Lack::of(Outcome::Broken)));
        let opened = self.ruling.open(&distinct.key, bytes);
        let Some(Ok(entry)) = opened.map(Entry::decode) else {
            return broken;
        };
        // The key already binds the digest; checking it again costs nothing and catches a store
        // that mixes up its keys.
        if entry.meta.model_digest != self.model.model().digest {
            return broken;
        }
        let model = &self.request.model;
        let purged = self.ruling.purged(&distinct.key, &entry.meta, model);
        if purged == Some(Purged::Absent) {
            return Ok(Err(Lack {
                purged: true,
                ..Lack::of(Outcome::Miss)
            }));
        }
        match &entry.meta.content {
            content if self.model.made(content, &entry.body) => {
                Ok(self.judge_result(entry, purged, now))
            }
            // To compute an item once more costs little beside explaining a purged error.
            Content::Media(_) if purged.is_some() => Ok(Err(Lack::of(Outcome::Stale))),
            Content::Media(media) if media == FAULT_MEDIA => match message::decode(&entry.body) {
                Ok(fault) => self.judge_fault(distinct, &entry, fault, now),
                Err(_) => broken,
            },
            _ => broken,
        }
    }

    fn judge_result(
        &self,
        entry: Entry,
        purged: Option<Purged>,
        now: UnixSeconds,
    ) -> Result<Hit, Lack> {
        let age = entry.age(now);
        let lifetimes = entry.meta.lifetimes.at_most(self.ruling.lifetimes());
        let decision = match purged {
            Some(purged) => purged.decide(age, lifetimes, now),
            None => freshness::decide(age, lifetimes),
        };
        let hit = Hit {
            left: match purged {
                Some(_) => left(lifetimes.fresh, age).min(-1),
                None => left(lifetimes.fresh, age),
            },
            age,
            created: entry.meta.created,
            tokens: entry.meta.tokens,
            refresh: decision == Decision::StaleWhileRevalidate,
            purged: purged.is_some(),
            output: entry.body,
            is_stored: true,
        };
        // A purge makes an entry stale before its time: what the request says of stale ones holds.
        let accepted = self.control.accepts(age, lifetimes)
            && (purged.is_none() || decision == Decision::StaleWhileRevalidate);
        if accepted {
            return Ok(hit);
        }
        let on_error =
            decision <= Decision::StaleIfError && self.control.accepts_on_error(age, lifetimes);
        Err(Lack {
            outcome: Outcome::Stale,
            purged: purged.is_some(),
            on_error: on_error.then(|| Box::new(hit)),
        })
    }

    fn judge_fault(
        &self,
        distinct: &Distinct,
        entry: &Entry,
        fault: Fault,
        now: UnixSeconds,
    ) -> Result<Result<Hit, Lack>, ApiError> {
        let Some(allowed) = self.ruling.negative_lifetimes(fault.code.status()) else {
            return Ok(Err(Lack::of(Outcome::Stale)));
        };
        let age = entry.age(now);
        if !self
            .control
            .accepts(age, entry.meta.lifetimes.at_most(allowed))
        {
            return Ok(Err(Lack::of(Outcome::Stale)));
        }
        let index = fault.item.map(|_| distinct.first);
        let mut error = self.request.form.error(fault, index);
        error.age = Some(age.as_secs().try_into().unwrap_or(u32::MAX));
        Err(error)
    }
}

type Places = HashMap<Key, usize, Hash>;

/// A key is a hash already. Whoever makes up inputs whose keys begin alike slows their own request
/// down, and its inputs are few.
#[derive(Clone, Copy, Debug)]
struct Hash;

impl BuildHasher for Hash {
    type Hasher = FirstBytes;

    fn build_hasher(&self) -> FirstBytes {
        FirstBytes(0)
    }
}

/// The first eight bytes.
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    /// The length of a key is no news.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The model reads the normalised text too: an answer must not depend on who asked first.
fn normalise(request: &mut Request, ruling: &Ruling) -> Result<(), ApiError> {
    let steps = match ruling.storing() {
        Some(storing) if storing.normalise != Normalise::default() => storing.normalise,
        _ => return Ok(()),
    };
    if request.form.texts().is_some() {
        return normalise_prompts(request, steps);
    }
    for (index, input) in request.inputs.iter_mut().enumerate() {
        let Input::Text(text) = input else {
            continue;
        };
        let changed = steps.apply(text);
        if changed.len() != text.len() || matches!(changed, Cow::Owned(_)) {
            *text = changed.into_owned();
        }
        if text.is_empty() {
            let param = request.form.param(index);
            let message = format!("{param} is empty once the policy has removed its white space");
            return Err(ApiError::invalid(param, message));
        }
    }
    Ok(())
}

fn normalise_prompts(request: &mut Request, steps: Normalise) -> Result<(), ApiError> {
    for (index, input) in request.inputs.iter_mut().enumerate() {
        let Input::Blob(choice) = input else {
            continue;
        };
        let Some(mut choice) = Choice::decode(choice) else {
            continue;
        };
        match &mut choice.prompt {
            Prompt::Messages(messages) => {
                for message in messages {
                    message.content = steps.apply(&message.content).into_owned();
                }
            }
            Prompt::Text(text) => *text = steps.apply(text).into_owned(),
            Prompt::Tokens(_) => {}
        }
        if choice.prompt.refusal().is_some() {
            let param = request.form.param(index);
            let message = format!("{param} is empty once the policy has removed its white space");
            return Err(ApiError::invalid(param, message));
        }
        *input = Input::Blob(choice.encode().into());
    }
    Ok(())
}

/// The canonical parameters of the request, as far as the policy counts them.
fn parameters(
    request: &Request,
    ruling: &Ruling,
    model: &ModelInfo,
) -> Result<Cow<'static, str>, ApiError> {
    let fields = ruling.storing().map(|storing| &storing.key_fields);
    if let Some(texts) = request.form.texts() {
        let fields = fields.unwrap_or(&KeyFields::All);
        let parameters = fields.parameters(model.task().name(), &texts.parameters());
        return parameters
            .map(Cow::Owned)
            .map_err(|error| ApiError::invalid_json(error.to_string()));
    }
    let Some(fields @ KeyFields::Only(_)) = fields else {
        return Ok(key::task_parameters(request.truncate).into());
    };
    let mut body = Map::new();
    // What is not asked for is the same as what is not there, for tasks that know no truncation too.
    if request.truncate {
        body.insert("truncate".to_owned(), Value::Bool(true));
    }
    let parameters = fields.parameters(model.task().name(), &body);
    // One boolean always has a canonical form.
    parameters
        .map(Cow::Owned)
        .map_err(|error| ApiError::invalid_json(error.to_string()))
}

/// Seconds of freshness left, negative once stale.
fn left(fresh: Duration, age: Duration) -> i64 {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    seconds(fresh) - seconds(age)
}
