//! What look-ups found: hits, what is missing, and the calls that follow.

use std::sync::Arc;
use std::time::Duration;

use brink_cache::{Key, Outcome, OutcomeCounts, RequestControl, UnixSeconds};
use brink_protocol::infer::LEAST_URGENCY;
use brink_protocol::{Fault, InferRequest, Input};
use bytes::Bytes;

use super::answer::Stored;
use super::plan::{Distinct, Plan};
use super::request::Request;
use super::upstream_call::UpstreamCall;
use crate::error::ApiError;
use crate::ruling::Ruling;

/// A usable stored result.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    /// What the model gave.
    pub(crate) output: Bytes,
    /// Tokens that the model read.
    pub(crate) tokens: u32,
    pub(super) age: Duration,
    /// When the model produced it.
    pub(crate) created: UnixSeconds,
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
    pub(super) fn of(outcome: Outcome) -> Self {
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
    /// Shared with the calls that are made of it.
    pub(super) plan: Arc<Plan>,
    /// Per distinct item: the hit, or why there is none.
    pub(super) items: Vec<Result<Hit, Lack>>,
}

impl Resolved {
    /// Whether nothing is missing.
    pub(crate) fn is_complete(&self) -> bool {
        self.items.iter().all(Result::is_ok)
    }

    /// Whether some results are to be computed anew in the background: never for a request after which no
    /// model may run (RFC 9111 §5.2.1.7).
    pub(crate) fn wants_refresh(&self) -> bool {
        !self.plan.control.only_if_cached && self.items.iter().flatten().any(|hit| hit.refresh)
    }

    /// The call that computes those anew.
    pub(crate) fn refresh_call(&self, request_id: &str, timeout: Duration) -> Refresh {
        let stale = self.items.iter().enumerate();
        let distinct: Vec<_> = stale
            .filter(|(_, item)| item.as_ref().is_ok_and(|hit| hit.refresh))
            .map(|(place, _)| self.plan.distinct[place])
            .filter(|distinct| !self.is_only_named(distinct))
            .collect();
        let mut call = self.call(&distinct, request_id, timeout);
        // Its client has an answer.
        call.head.urgency = LEAST_URGENCY;
        Refresh {
            call,
            keys: distinct.iter().map(|distinct| distinct.key).collect(),
        }
    }

    /// Whether what is missing may be computed.
    ///
    /// # Errors
    /// 504 when the request allows cached answers only (RFC 9111 §5.2.1.7); 404 when a text is
    /// missing of which only the digest is known.
    pub(crate) fn may_ask_upstream(&self) -> Result<(), ApiError> {
        let nameless = |(_, distinct): &(usize, Distinct)| self.is_only_named(distinct);
        if let Some((_, distinct)) = self.missing().find(nameless) {
            let param = self.plan.request.form.param(distinct.first);
            return Err(ApiError::input_not_stored(param));
        }
        if self.plan.control.only_if_cached {
            let missing = self.missing().count();
            return Err(ApiError::only_if_cached(missing, self.items.len()));
        }
        Ok(())
    }

    /// The one upstream call for everything that is missing.
    pub(crate) fn upstream_call(&self, request_id: &str, timeout: Duration) -> UpstreamCall {
        let missing: Vec<_> = self.missing().map(|(_, distinct)| distinct).collect();
        self.call(&missing, request_id, timeout)
    }

    fn call(&self, items: &[Distinct], request_id: &str, timeout: Duration) -> UpstreamCall {
        let plan = &self.plan;
        let timeout = plan
            .request
            .form
            .timeout()
            .map_or(timeout, |own| own.min(timeout));
        let head = InferRequest {
            request_id: request_id.to_owned(),
            scope: plan.ruling.scope(),
            tenant: plan.ruling.tenant().to_owned(),
            urgency: plan.request.form.urgency().unwrap_or(plan.ruling.urgency()),
            model: plan.request.model.clone(),
            digest: plan.model.model().digest,
            task: plan.model.model().task(),
            truncate: plan.request.truncate,
            look_up: plan.may_look_up() && !self.has_purged(),
            store: plan.may_store(),
            timeout_ms: timeout.as_millis().try_into().unwrap_or(u32::MAX),
            share: plan.ruling.share(),
            inputs: Vec::new(),
        };
        UpstreamCall {
            head,
            plan: plan.clone(),
            inputs: items.iter().map(|distinct| distinct.first).collect(),
        }
    }

    /// Whether the client named the input by its digest, so that nobody could compute it.
    fn is_only_named(&self, distinct: &Distinct) -> bool {
        let input = &self.plan.request.inputs[distinct.first];
        matches!(input, Input::LongText(_))
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
        let plan = Arc::unwrap_or_clone(self.plan);
        (plan.request, plan.ruling)
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

    /// What the host said about the call, told to the client.
    pub(crate) fn error(&self, fault: Fault) -> ApiError {
        let index = fault.item.and_then(|item| self.input_index(item));
        self.plan.request.form.error(fault, index)
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
    pub call: UpstreamCall,
    /// The keys of its items, in order.
    pub(super) keys: Vec<Key>,
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
