//! From a request to keys, and from what the store gave to what is still missing.

use std::collections::HashMap;
use std::time::Duration;

use brink_cache::entry::Content;
use brink_cache::{
    Entry, Key, ModelDigest, Outcome, OutcomeCounts, RequestControl, Scope, UnixSeconds,
};
use brink_protocol::{EmbedRequest, ModelInfo};
use bytes::Bytes;

use super::prefixes::Prefixes;
use super::request::Request;
use super::vector;
use crate::error::ApiError;

/// A checked request with one key per *distinct* item.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(super) request: Request,
    pub(super) model: Bound,
    pub(super) control: RequestControl,
    scope: Scope,
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
    /// It was not asked, because the request forbids it.
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
        request: Request,
        model: &ModelInfo,
        scope: Scope,
        control: RequestControl,
        prefixes: &Prefixes,
    ) -> Result<Self, ApiError> {
        request.check_against(model)?;
        let prefix = prefixes.get(&scope, model, request.truncate);
        let mut plan = Self {
            distinct: Vec::with_capacity(request.inputs.len()),
            place_of: Vec::with_capacity(request.inputs.len()),
            request,
            model: Bound {
                digest: model.digest,
                dimensions: model.dimensions,
            },
            control,
            scope,
        };
        if let [input] = &plan.request.inputs[..] {
            // The common request: nothing to compare with.
            let key = prefix.key(input.bytes());
            plan.distinct.push(Distinct { key, first: 0 });
            plan.place_of.push(0);
            return Ok(plan);
        }
        let mut places = HashMap::with_capacity(plan.request.inputs.len());
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

    /// The keys to look up, in an order that [`resolve`](Self::resolve) expects back.
    /// Empty when the request forbids the look-up.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        let asked = if self.control.may_look_up() {
            self.distinct.len()
        } else {
            0
        };
        self.distinct[..asked].iter().map(|distinct| &distinct.key)
    }

    /// Looks up every one of [`keys`](Self::keys) once, in order, and sorts what the store gave into
    /// hits and what is missing.
    pub(crate) fn resolve(
        self,
        mut look_up: impl FnMut(&Key) -> Fetched,
        now: UnixSeconds,
    ) -> Resolved {
        let may_look_up = self.control.may_look_up();
        let judge = |distinct: &Distinct| {
            let fetched = if may_look_up {
                look_up(&distinct.key)
            } else {
                Fetched::NotAsked
            };
            self.judge(fetched, now)
        };
        let items = self.distinct.iter().map(judge).collect();
        Resolved { plan: self, items }
    }

    fn judge(&self, fetched: Fetched, now: UnixSeconds) -> Result<Hit, Outcome> {
        let bytes = match fetched {
            Fetched::NotAsked => return Err(Outcome::Bypass),
            Fetched::Absent => return Err(Outcome::Miss),
            Fetched::Failed => return Err(Outcome::StoreError),
            Fetched::Bytes(bytes) => bytes,
        };
        let entry = Entry::decode(bytes).map_err(|_| Outcome::Broken)?;
        if !self.is_usable(&entry) {
            return Err(Outcome::Broken);
        }
        let age = entry.age(now);
        if !self.control.accepts(age, entry.meta.lifetimes) {
            return Err(Outcome::Stale);
        }
        Ok(Hit {
            ttl: entry.meta.lifetimes.fresh.saturating_sub(age),
            age,
            tokens: entry.meta.tokens,
            vector: entry.body,
        })
    }

    /// The key already binds the digest; checking it again costs nothing and catches a store
    /// that mixes up its keys.
    fn is_usable(&self, entry: &Entry) -> bool {
        entry.meta.content == Content::EmbeddingF32
            && entry.meta.model_digest == self.model.digest
            && vector::is_valid(&entry.body, self.model.dimensions)
    }
}

/// A usable stored result.
#[derive(Clone, Debug)]
pub(super) struct Hit {
    pub(super) vector: Bytes,
    pub(super) tokens: u32,
    pub(super) age: Duration,
    pub(super) ttl: Duration,
}

/// A plan whose hits are known.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(super) plan: Plan,
    /// Per distinct item: the hit, or why there is none.
    pub(super) items: Vec<Result<Hit, Outcome>>,
}

impl Resolved {
    /// Whether nothing is missing.
    pub(crate) fn is_complete(&self) -> bool {
        self.items.iter().all(Result::is_ok)
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
        let plan = &self.plan;
        let inputs = self
            .missing()
            .map(|(_, distinct)| plan.request.inputs[distinct.first].clone());
        EmbedRequest {
            request_id: request_id.to_owned(),
            scope: plan.scope.clone(),
            model: plan.request.model.clone(),
            digest: plan.model.digest,
            truncate: plan.request.truncate,
            look_up: plan.control.may_look_up(),
            store: plan.control.may_store(),
            timeout_ms: timeout.as_millis().try_into().unwrap_or(u32::MAX),
            inputs: inputs.collect(),
        }
    }

    /// The request's directives.
    pub(crate) fn control(&self) -> RequestControl {
        self.plan.control
    }

    /// What the client asked for, to plan it anew when the model changed under us.
    pub(crate) fn into_request(self) -> Request {
        self.plan.request
    }

    /// Places and items without a hit, in the order of the upstream call.
    pub(super) fn missing(&self) -> impl Iterator<Item = (usize, Distinct)> + '_ {
        let missing = |(place, item): (usize, &Result<Hit, Outcome>)| {
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

    /// How every input of the request fared at the edge. A repetition of an item that had to be fetched
    /// was collapsed onto the first.
    pub(crate) fn outcomes(&self) -> OutcomeCounts {
        let of = |(index, place): (usize, &usize)| match &self.items[*place] {
            Ok(_) => Outcome::Hit,
            Err(_) if self.plan.distinct[*place].first != index => Outcome::Collapsed,
            Err(outcome) => *outcome,
        };
        self.plan.place_of.iter().enumerate().map(of).collect()
    }
}
