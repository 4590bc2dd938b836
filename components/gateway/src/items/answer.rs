//! From results to the answer, each at its own index, and to the entries that are stored.

use std::sync::Arc;
use std::time::Duration;

use brink_cache::entry::Content;
use brink_cache::status::{CacheStatus, Forward};
use brink_cache::{Entry, EntryMeta, Key, Lifetimes, OutcomeCounts, UnixSeconds};
use brink_protocol::{Fault, InferAnswer, InferredItem, Timings, message};
use bytes::Bytes;
use http::StatusCode;

use super::plan::{FAULT_MEDIA, Plan};
use super::resolved::{Hit, Lack, Refresh, Resolved};
use super::results::Results;
use super::{MAX_ANSWER_BYTES, for_caches};
use crate::error::ApiError;
use crate::forms::text::event_stream;
use crate::rate;
use crate::reply::{BRINK_ITEMS, BRINK_POLICY, CACHE_STATUS, Reply, SERVER_TIMING};

/// The name of the edge's cache in `Cache-Status`.
const EDGE: &str = "brink-edge";
/// The name of the host's.
const HOST: &str = "brink-host";

/// An entry to store once the answer is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Under which key.
    pub key: Key,
    /// The encoded entry.
    pub bytes: Vec<u8>,
}

/// A finished request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What the client gets.
    pub reply: Reply,
    /// What to store afterwards.
    pub store: Vec<Stored>,
}

/// What the edge itself spent, for `Server-Timing`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timing {
    /// Reading the request and deriving keys.
    pub(crate) key: Duration,
    /// Asking the store.
    pub(crate) store: Duration,
    /// The upstream call, if there was one.
    pub(crate) upstream: Option<Duration>,
}

impl Resolved {
    /// Builds the answer. `upstream` holds the results of the call that
    /// [`upstream_call`](Self::upstream_call) made, and is `None` when nothing was missing.
    ///
    /// # Errors
    /// 502 when the host's answer does not fit the call, 400 when results have no form in which the client
    /// wants them; nothing is stored then.
    pub(crate) fn complete(
        mut self,
        upstream: Option<InferAnswer>,
        timing: Timing,
        now: UnixSeconds,
    ) -> Result<Answer, ApiError> {
        // A call that is still under way keeps the inputs, and costs no more than that.
        if let Some(plan) = Arc::get_mut(&mut self.plan) {
            plan.forget_inputs();
        }
        let outcomes = self.outcomes();
        let mut edge = self.status(&outcomes);
        let host = upstream.as_ref().map(|answer| {
            let counts = answer.items.iter().map(|item| item.outcome).collect();
            (counts, answer.timings)
        });
        let model_time = upstream.as_ref().and_then(|answer| answer.model_time);
        let computed = upstream.map(|answer| answer.items).unwrap_or_default();
        let keys: Vec<_> = self.missing().map(|(_, distinct)| distinct.key).collect();
        let store = self.plan.entries(&keys, &computed, now)?;
        edge.stored = !store.is_empty();
        let Self { plan, items } = self;
        let hits = fill(items, computed, plan.ruling.lifetimes(), now);
        let report = Report {
            edge,
            outcomes,
            host,
            timing,
        };
        let mut reply = report.reply(&plan, &hits)?;
        let limit = plan
            .ruling
            .share()
            .and_then(|share| share.model_ms_per_minute);
        if let (Some(limit), Some(left)) = (limit, model_time) {
            reply = rate::tell_model_time(reply, limit, left);
        }
        Ok(Answer { reply, store })
    }

    /// What this cache did, before anything is stored.
    fn status(&self, outcomes: &OutcomeCounts) -> CacheStatus {
        let mut edge = CacheStatus::of_items(EDGE, outcomes);
        if edge.forward.is_some() && self.plan.ruling.storing().is_none() {
            // Not the request's wish, as the outcomes alone would have it, but the policy's.
            edge.forward = Some(Forward::Bypass);
            edge.detail = Some("policy");
        }
        edge
    }

    /// The head of an answer whose body is written while it is sent.
    pub(crate) fn stream_head(&self, timing: Timing) -> Reply {
        let outcomes = self.outcomes();
        event_stream(Bytes::new())
            .with(CACHE_STATUS, cache_status(&self.status(&outcomes), None))
            .with(BRINK_ITEMS, items(&outcomes))
            .with(BRINK_POLICY, self.plan.ruling.label().to_owned())
            .with(SERVER_TIMING, server_timing(timing, None))
    }

    /// Answers with stale results because asking the host failed with this status. `None` if not
    /// every item has one that may (RFC 5861 §4).
    pub(crate) fn complete_stale(&self, failed: StatusCode, timing: Timing) -> Option<Reply> {
        let hits = self.stand_in()?;
        let outcomes = self.outcomes();
        let edge = CacheStatus {
            forward_status: Some(failed.as_u16()),
            detail: Some("stale-if-error"),
            ..CacheStatus::of_items(EDGE, &outcomes)
        };
        let report = Report {
            edge,
            outcomes,
            host: None,
            timing,
        };
        report.reply(&self.plan, &hits).ok()
    }
}

/// Puts the upstream results, one for each, at the places that lack one.
fn fill(
    items: Vec<Result<Hit, Lack>>,
    computed: Vec<InferredItem>,
    lifetimes: Lifetimes,
    now: UnixSeconds,
) -> Vec<Hit> {
    let mut computed = computed.into_iter().map(|item| Hit {
        output: item.output,
        tokens: item.tokens,
        age: Duration::ZERO,
        created: now,
        left: i64::try_from(lifetimes.fresh.as_secs()).unwrap_or(i64::MAX),
        refresh: false,
        purged: false,
        is_stored: false,
    });
    let filled = items
        .into_iter()
        .map(|item| item.ok().or_else(|| computed.next()));
    filled.flatten().collect()
}

impl Plan {
    /// Checks what the host computed for these keys, and makes the entries to store.
    fn entries(
        &self,
        keys: &[Key],
        computed: &[InferredItem],
        now: UnixSeconds,
    ) -> Result<Vec<Stored>, ApiError> {
        if computed.len() != keys.len() {
            let what = format!("{} items for {}", computed.len(), keys.len());
            return Err(ApiError::host_nonsense(&what));
        }
        let may_store = self.may_store();
        let mut store = Vec::new();
        for (key, item) in keys.iter().zip(computed) {
            if !self.model.takes(&item.output) {
                return Err(ApiError::host_nonsense(
                    "a result of the wrong size, or not finite",
                ));
            }
            if may_store {
                let meta = EntryMeta {
                    cost_us: item.cost_us,
                    tokens: item.tokens,
                    ..self.meta(self.ruling.lifetimes(), self.model.content(), now)
                };
                store.extend(self.entry(*key, meta, item.output.clone()));
            }
        }
        Ok(store)
    }

    fn meta(&self, lifetimes: Lifetimes, content: Content, now: UnixSeconds) -> EntryMeta {
        EntryMeta {
            created: now,
            lifetimes,
            model_digest: self.model.model().digest,
            cost_us: 0,
            tokens: 0,
            content,
            surrogate_keys: self
                .ruling
                .surrogate_keys(&self.request.model, Some(&self.model.model().digest)),
        }
    }

    /// `None` if it is larger than the policy allows.
    fn entry(&self, key: Key, meta: EntryMeta, body: Bytes) -> Option<Stored> {
        // Before it is copied: an instance has little room beside a result of megabytes.
        if !self.ruling.accepts_size(body.len()) {
            return None;
        }
        let bytes = self.ruling.seal(&key, Entry { meta, body }.encode())?;
        Some(Stored { key, bytes })
    }

    /// The error to store for one item, if the policy stores errors of its status.
    pub(crate) fn negative(&self, key: Key, fault: &Fault, now: UnixSeconds) -> Option<Stored> {
        let lifetimes = self.ruling.negative_lifetimes(fault.code.status())?;
        if !self.may_store() {
            return None;
        }
        let content = Content::Media(FAULT_MEDIA.to_owned());
        let meta = self.meta(lifetimes, content, now);
        self.entry(key, meta, message::encode(fault).into())
    }
}

impl Refresh {
    /// The entries to store.
    ///
    /// # Errors
    /// 502 when the host's answer does not fit the call; nothing is stored then.
    pub fn complete(self, answer: &InferAnswer, now: UnixSeconds) -> Result<Vec<Stored>, ApiError> {
        self.call.plan.entries(&self.keys, &answer.items, now)
    }
}

/// What an answer's head says about how it came to be.
struct Report {
    edge: CacheStatus,
    outcomes: OutcomeCounts,
    host: Option<(OutcomeCounts, Timings)>,
    timing: Timing,
}

impl Report {
    /// The answer made of one result per distinct item.
    fn reply(mut self, plan: &Plan, hits: &[Hit]) -> Result<Reply, ApiError> {
        let stored = self.edge.forward.is_none() || self.edge.forward_status.is_some();
        if stored {
            self.edge.ttl = hits.iter().map(|hit| hit.left).min();
            if self.edge.detail.is_none() && hits.iter().any(|hit| hit.refresh) {
                self.edge.detail = Some("stale-while-revalidate");
            }
        }
        if let [only] = &plan.distinct[..]
            && plan.ruling.wants_key()
        {
            self.edge.key = Some(only.key);
        }
        let (counts, timings) = self.host.unzip();
        check_size(plan, hits)?;
        let reply = if plan.ruling.is_safe() {
            for_caches::reply(plan, hits)?
        } else {
            plan.request.form.reply(&Results::new(plan, hits))?
        };
        let reply = reply
            .with(CACHE_STATUS, cache_status(&self.edge, counts.as_ref()))
            .with(BRINK_ITEMS, items(&self.outcomes))
            .with(BRINK_POLICY, plan.ruling.label().to_owned())
            .with(SERVER_TIMING, server_timing(self.timing, timings));
        let stored = hits.iter().filter(|hit| hit.is_stored);
        Ok(match stored.map(|hit| hit.age).max() {
            Some(age) => reply.with("age", itoa::Buffer::new().format(age.as_secs()).to_owned()),
            None => reply,
        })
    }
}

/// Refuses results that would take more room than an instance has for them.
fn check_size(plan: &Plan, hits: &[Hit]) -> Result<(), ApiError> {
    let sizes = plan.place_of.iter().map(|place| hits[*place].output.len());
    match sizes.sum::<usize>() > MAX_ANSWER_BYTES {
        true => Err(ApiError::answer_too_large(MAX_ANSWER_BYTES)),
        false => Ok(()),
    }
}

fn items(outcomes: &OutcomeCounts) -> String {
    let mut items = String::with_capacity(24);
    outcomes.write(&mut items);
    items
}

/// RFC 9211 §2: the cache closest to the origin comes first.
fn cache_status(edge: &CacheStatus, host: Option<&OutcomeCounts>) -> String {
    let mut status = String::with_capacity(48);
    if let Some(counts) = host {
        CacheStatus::of_items(HOST, counts).write(&mut status);
        status.push_str(", ");
    }
    edge.write(&mut status);
    status
}

/// Durations in milliseconds, as `Server-Timing` wants them. Written by hand, like the body:
/// formatting is a good part of what a hit costs.
fn server_timing(edge: Timing, host: Option<Timings>) -> String {
    let mut value = String::with_capacity(128);
    let mut metric = |name: &str, duration: Duration| {
        let separator = if value.is_empty() { "" } else { ", " };
        value.push_str(separator);
        value.push_str(name);
        value.push_str(";dur=");
        push_milliseconds(&mut value, duration);
    };
    metric("key", edge.key);
    metric("store", edge.store);
    if let Some(upstream) = edge.upstream {
        metric("upstream", upstream);
    }
    if let Some(host) = host {
        metric("queue", Duration::from_micros(host.queue_us.into()));
        metric("inference", Duration::from_micros(host.inference_us.into()));
    }
    value
}

/// With microseconds behind the point.
fn push_milliseconds(out: &mut String, duration: Duration) {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let mut number = itoa::Buffer::new();
    out.push_str(number.format(micros / 1000));
    out.push('.');
    // The leading one keeps the zeros, and is left out.
    out.push_str(&number.format(micros % 1000 + 1000)[1..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_milliseconds_with_three_decimals() {
        let check = |micros, expected: &str| {
            let mut out = String::new();
            push_milliseconds(&mut out, Duration::from_micros(micros));
            assert_eq!(out, expected);
        };
        check(0, "0.000");
        check(7, "0.007");
        check(1_050, "1.050");
        check(12_345_678, "12345.678");
    }
}
