//! From a request to keys, and from what the store gave to what is still missing.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use brink_cache::Purged;
use brink_cache::entry::Content;
use brink_cache::freshness::{self, Decision};
use brink_cache::key::embed_parameters;
use brink_cache::policy::{KeyFields, Normalise};
use brink_cache::{Entry, Key, ModelDigest, Outcome, OutcomeCounts, RequestControl, UnixSeconds};
use brink_protocol::{EmbedRequest, Fault, Input, ModelInfo, message};
use bytes::Bytes;
use serde_json::{Map, Value};

use super::answer::Stored;
use super::prefixes::Prefixes;
use super::request::Request;
use super::vector;
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

/// What a plan is bound to of the model that the request names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) digest: ModelDigest,
    pub(super) dimensions: u32,
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
        model: &ModelInfo,
        ruling: Ruling,
        control: RequestControl,
        prefixes: &Prefixes,
    ) -> Result<Self, ApiError> {
        normalise(&mut request, &ruling)?;
        request.check_against(model)?;
        let parameters = parameters(&request, &ruling)?;
        let prefix = prefixes.get(&ruling.scope(), model, &parameters);
        let mut plan = Self {
            distinct: Vec::with_capacity(request.inputs.len()),
            place_of: Vec::with_capacity(request.inputs.len()),
            request,
            model: Bound {
                digest: model.digest,
                dimensions: model.dimensions,
            },
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

    fn may_look_up(&self) -> bool {
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
        Ok(Resolved { plan: self, items })
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
        if entry.meta.model_digest != self.model.digest {
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
            Content::EmbeddingF32 if vector::is_valid(&entry.body, self.model.dimensions) => {
                Ok(self.judge_vector(entry, purged, now))
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

    fn judge_vector(
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
            vector: entry.body,
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
        let mut error = ApiError::from_fault(fault, index);
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
    for (index, input) in request.inputs.iter_mut().enumerate() {
        let Input::Text(text) = input else {
            continue;
        };
        let changed = steps.apply(text);
        if changed.len() != text.len() || matches!(changed, Cow::Owned(_)) {
            *text = changed.into_owned();
        }
        if text.is_empty() {
            let param = format!("input[{index}]");
            let message = format!("{param} is empty once the policy has removed its white space");
            return Err(ApiError::invalid(param, message));
        }
    }
    Ok(())
}

/// The canonical parameters of the request, as far as the policy counts them.
fn parameters(request: &Request, ruling: &Ruling) -> Result<Cow<'static, str>, ApiError> {
    let fields = ruling.storing().map(|storing| &storing.key_fields);
    let Some(fields @ KeyFields::Only(_)) = fields else {
        return Ok(embed_parameters(request.truncate).into());
    };
    let mut body = Map::new();
    body.insert("truncate".to_owned(), Value::Bool(request.truncate));
    let parameters = fields.parameters("embed", &body);
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

/// A usable stored result.
#[derive(Clone, Debug)]
pub(super) struct Hit {
    pub(super) vector: Bytes,
    pub(super) tokens: u32,
    pub(super) age: Duration,
    pub(super) created: UnixSeconds,
    /// Seconds of freshness left, negative once stale.
    pub(super) left: i64,
    /// Whether it is to be computed anew in the background.
    pub(super) refresh: bool,
    /// Whether it was purged softly, so that the host's copy is no good either.
    pub(super) purged: bool,
    /// Whether it comes from the store, and has an age.
    pub(super) is_stored: bool,
}

/// Why there is no usable stored result.
#[derive(Clone, Debug)]
pub(super) struct Lack {
    pub(super) outcome: Outcome,
    /// Whether there was one that was purged, so that the host's copy is no good either.
    pub(super) purged: bool,
    /// A stale result that may answer once asking the host has failed.
    pub(super) on_error: Option<Box<Hit>>,
}

impl Lack {
    fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            purged: false,
            on_error: None,
        }
    }
}

/// A plan whose hits are known.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(super) plan: Plan,
    /// Per distinct item: the hit, or why there is none.
    pub(super) items: Vec<Result<Hit, Lack>>,
}

impl Resolved {
    /// Whether nothing is missing.
    pub(crate) fn is_complete(&self) -> bool {
        self.items.iter().all(Result::is_ok)
    }

    /// Whether some results are to be computed anew in the background.
    pub(crate) fn wants_refresh(&self) -> bool {
        self.items.iter().flatten().any(|hit| hit.refresh)
    }

    /// The call that computes those anew.
    pub(crate) fn refresh_call(&self, request_id: &str, timeout: Duration) -> Refresh {
        let stale = self.items.iter().enumerate();
        let distinct: Vec<_> = stale
            .filter(|(_, item)| item.as_ref().is_ok_and(|hit| hit.refresh))
            .map(|(place, _)| self.plan.distinct[place])
            .collect();
        Refresh {
            call: self.call(&distinct, request_id, timeout),
            keys: distinct.iter().map(|distinct| distinct.key).collect(),
            plan: self.plan.clone(),
        }
    }

    /// Whether what is missing may be computed.
    ///
    /// # Errors
    /// 504 when the request allows cached answers only (RFC 9111 §5.2.1.7).
    pub(crate) fn may_ask_upstream(&self) -> Result<(), ApiError> {
        if self.plan.control.only_if_cached {
            let missing = self.missing().count();
            return Err(ApiError::only_if_cached(missing, self.items.len()));
        }
        Ok(())
    }

    /// The one upstream call for everything that is missing.
    pub(crate) fn upstream_call(&self, request_id: &str, timeout: Duration) -> EmbedRequest {
        let missing: Vec<_> = self.missing().map(|(_, distinct)| distinct).collect();
        self.call(&missing, request_id, timeout)
    }

    fn call(&self, items: &[Distinct], request_id: &str, timeout: Duration) -> EmbedRequest {
        let plan = &self.plan;
        let inputs = items
            .iter()
            .map(|distinct| plan.request.inputs[distinct.first].clone());
        EmbedRequest {
            request_id: request_id.to_owned(),
            scope: plan.ruling.scope(),
            model: plan.request.model.clone(),
            digest: plan.model.digest,
            truncate: plan.request.truncate,
            look_up: plan.may_look_up() && !self.has_purged(),
            store: plan.may_store(),
            timeout_ms: timeout.as_millis().try_into().unwrap_or(u32::MAX),
            inputs: inputs.collect(),
        }
    }

    fn has_purged(&self) -> bool {
        self.items.iter().any(|item| match item {
            Ok(hit) => hit.purged,
            Err(lack) => lack.purged,
        })
    }

    /// The request's directives.
    pub(crate) fn control(&self) -> RequestControl {
        self.plan.control
    }

    /// What the client asked for and what the policy said, to plan it anew when the model changed
    /// under us.
    pub(crate) fn into_request(self) -> (Request, Ruling) {
        (self.plan.request, self.plan.ruling)
    }

    /// Places and items without a hit, in the order of the upstream call.
    pub(super) fn missing(&self) -> impl Iterator<Item = (usize, Distinct)> + '_ {
        let missing = |(place, item): (usize, &Result<Hit, Lack>)| {
            item.is_err().then(|| (place, self.plan.distinct[place]))
        };
        self.items.iter().enumerate().filter_map(missing)
    }

    /// Index among the client's inputs of the upstream call's `item`-th input.
    pub(crate) fn input_index(&self, item: u32) -> Option<usize> {
        self.missing()
            .nth(item as usize)
            .map(|(_, distinct)| distinct.first)
    }

    /// The error to store for the upstream call's `item`-th input.
    pub(crate) fn negative(&self, item: u32, fault: &Fault, now: UnixSeconds) -> Option<Stored> {
        let (_, distinct) = self.missing().nth(item as usize)?;
        self.plan.negative(distinct.key, fault, now)
    }

    /// Fills what is missing with stale results, if they may stand in for an answer of the host.
    pub(super) fn stand_in(&self) -> Option<Vec<Hit>> {
        let stand_in = |item: &Result<Hit, Lack>| match item {
            Ok(hit) => Some(hit.clone()),
            Err(lack) => lack.on_error.as_deref().cloned(),
        };
        self.items.iter().map(stand_in).collect()
    }

    /// How every input of the request fared at the edge. A repetition of an item that had to be fetched
    /// was collapsed onto the first.
    pub(crate) fn outcomes(&self) -> OutcomeCounts {
        let of = |(index, place): (usize, &usize)| match &self.items[*place] {
            Ok(_) => Outcome::Hit,
            Err(_) if self.plan.distinct[*place].first != index => Outcome::Collapsed,
            Err(lack) => lack.outcome,
        };
        self.plan.place_of.iter().enumerate().map(of).collect()
    }
}

/// Stale results that were served, to be computed anew.
#[derive(Debug)]
pub struct Refresh {
    /// The call to the host.
    pub call: EmbedRequest,
    /// The keys of its items, in order.
    pub(super) keys: Vec<Key>,
    pub(super) plan: Plan,
}

impl Refresh {
    /// The keys of the results, in the order of the call.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Leaves out the results whose key is not wanted.
    pub fn retain(&mut self, wanted: impl Fn(&Key) -> bool) {
        let keys = std::mem::take(&mut self.keys);
        let inputs = std::mem::take(&mut self.call.inputs);
        let kept = keys.into_iter().zip(inputs).filter(|(key, _)| wanted(key));
        (self.keys, self.call.inputs) = kept.unzip();
    }
}
