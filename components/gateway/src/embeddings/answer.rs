//! From results to the answer, each vector at its own index.

use std::time::Duration;

use brink_cache::entry::Content;
use brink_cache::status::CacheStatus;
use brink_cache::{Entry, EntryMeta, Key, Lifetimes, OutcomeCounts, UnixSeconds};
use brink_protocol::{EmbedAnswer, Timings};
use bytes::Bytes;
use http::StatusCode;

use super::plan::{Hit, Resolved};
use super::vector;
use crate::error::ApiError;
use crate::reply::{BRINK_ITEMS, CACHE_STATUS, Reply, SERVER_TIMING};

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
    /// 502 when the host's answer does not fit the call; nothing is stored then.
    pub(crate) fn complete(
        self,
        upstream: Option<EmbedAnswer>,
        lifetimes: Lifetimes,
        timing: Timing,
        now: UnixSeconds,
    ) -> Result<Answer, ApiError> {
        let outcomes = self.outcomes();
        let oldest = self.items.iter().flatten().map(|hit| hit.age).max();
        let host = upstream.as_ref().map(|answer| {
            let counts = answer.items.iter().map(|item| item.outcome).collect();
            (counts, answer.timings)
        });
        let (results, store) = self.fill(upstream, lifetimes, now)?;

        let mut edge = CacheStatus::of_items(EDGE, &outcomes);
        edge.stored = !store.is_empty();
        if edge.forward.is_none() {
            edge.ttl = results.hits.iter().map(|hit| hit.ttl).min();
        }
        let reply = Reply::json(StatusCode::OK, results.to_json())
            .with(
                CACHE_STATUS,
                cache_status(&edge, host.as_ref().map(|(counts, _)| counts)),
            )
            .with(BRINK_ITEMS, items(&outcomes))
            .with(
                SERVER_TIMING,
                server_timing(timing, host.map(|(_, timings)| timings)),
            );
        let reply = match oldest {
            Some(age) => reply.with("age", itoa::Buffer::new().format(age.as_secs()).to_owned()),
            None => reply,
        };
        Ok(Answer { reply, store })
    }

    /// Puts the upstream results at the places that lack one.
    fn fill(
        self,
        upstream: Option<EmbedAnswer>,
        lifetimes: Lifetimes,
        now: UnixSeconds,
    ) -> Result<(Results, Vec<Stored>), ApiError> {
        let missing: Vec<_> = self.missing().collect();
        let fetched = upstream.map(|answer| answer.items).unwrap_or_default();
        if fetched.len() != missing.len() {
            let what = format!("{} items for {}", fetched.len(), missing.len());
            return Err(ApiError::host_nonsense(&what));
        }
        let may_store = self.plan.control.may_store();
        let mut hits: Vec<Option<Hit>> = self.items.into_iter().map(Result::ok).collect();
        let mut store = Vec::new();
        for ((place, distinct), item) in missing.into_iter().zip(fetched) {
            if !vector::is_valid(&item.vector, self.plan.model.dimensions) {
                return Err(ApiError::host_nonsense(
                    "a vector of the wrong size, or not finite",
                ));
            }
            if may_store {
                let entry = Entry {
                    meta: EntryMeta {
                        created: now,
                        lifetimes,
                        model_digest: self.plan.model.digest,
                        cost_us: item.cost_us,
                        tokens: item.tokens,
                        content: Content::EmbeddingF32,
                        surrogate_keys: Vec::new(),
                    },
                    body: item.vector.clone(),
                };
                store.push(Stored {
                    key: distinct.key,
                    bytes: entry.encode(),
                });
            }
            hits[place] = Some(Hit {
                vector: item.vector,
                tokens: item.tokens,
                age: Duration::ZERO,
                ttl: lifetimes.fresh,
            });
        }
        let results = Results {
            hits: hits.into_iter().flatten().collect(),
            place_of: self.plan.place_of,
            dimensions: self
                .plan
                .request
                .dimensions
                .unwrap_or(self.plan.model.dimensions),
            format: self.plan.request.encoding_format,
            model: self.plan.request.model,
        };
        Ok((results, store))
    }
}

/// Everything that the body shows.
struct Results {
    hits: Vec<Hit>,
    place_of: Vec<usize>,
    dimensions: u32,
    format: super::EncodingFormat,
    model: String,
}

impl Results {
    /// OpenAI's list of embeddings. Written by hand, because the vectors are most of it and
    /// go straight from their bytes into the answer.
    fn to_json(&self) -> Bytes {
        let dimensions = self.dimensions as usize;
        let each = vector::written_size(dimensions * vector::ELEMENT, self.format) + 64;
        let mut out = Vec::with_capacity(128 + self.model.len() + each * self.place_of.len());
        let mut number = itoa::Buffer::new();
        out.extend_from_slice(br#"{"object":"list","data":["#);
        let mut tokens = 0u64;
        for (index, place) in self.place_of.iter().enumerate() {
            let hit = &self.hits[*place];
            tokens += u64::from(hit.tokens);
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(br#"{"object":"embedding","index":"#);
            out.extend_from_slice(number.format(index).as_bytes());
            out.extend_from_slice(br#","embedding":"#);
            let vector = vector::shortened(&hit.vector, dimensions);
            vector::write(&vector, self.format, &mut out);
            out.push(b'}');
        }
        out.extend_from_slice(br#"],"model":"#);
        serde_json::to_writer(&mut out, &self.model).expect("a string always serialises");
        let tokens = number.format(tokens).as_bytes();
        out.extend_from_slice(br#","usage":{"prompt_tokens":"#);
        out.extend_from_slice(tokens);
        out.extend_from_slice(br#","total_tokens":"#);
        out.extend_from_slice(tokens);
        out.extend_from_slice(b"}}");
        out.into()
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
