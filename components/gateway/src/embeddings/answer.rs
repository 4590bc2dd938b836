//! From results to the answer, each vector at its own index.

use std::fmt::Write;
use std::time::Duration;

use brink_cache::entry::Content;
use brink_cache::status::CacheStatus;
use brink_cache::{Entry, EntryMeta, Key, Lifetimes, OutcomeCounts, UnixSeconds};
use brink_protocol::{EmbedAnswer, Timings};
use bytes::Bytes;
use http::StatusCode;
use http::header::AGE;

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
pub struct Timing {
    /// Reading the request and deriving keys.
    pub key: Duration,
    /// Asking the store.
    pub store: Duration,
    /// The upstream call, if there was one.
    pub upstream: Option<Duration>,
}

impl Resolved {
    /// Builds the answer. `upstream` holds the results of the call that
    /// [`upstream_call`](Self::upstream_call) asked for, and is `None` when nothing was missing.
    ///
    /// # Errors
    /// 502 when the host's answer does not fit the call; nothing is stored then.
    pub fn complete(
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
            .with(BRINK_ITEMS, outcomes.to_string())
            .with(
                SERVER_TIMING,
                server_timing(timing, host.map(|(_, timings)| timings)),
            );
        let reply = match oldest {
            Some(age) => reply.with(AGE, age.as_secs().to_string()),
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
            model: self.plan.model.name,
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
        out.extend_from_slice(br#"{"object":"list","data":["#);
        let mut tokens = 0u64;
        for (index, place) in self.place_of.iter().enumerate() {
            let hit = &self.hits[*place];
            tokens += u64::from(hit.tokens);
            let separator = if index == 0 { "" } else { "," };
            append(
                &mut out,
                format_args!(r#"{separator}{{"object":"embedding","index":{index},"embedding":"#),
            );
            vector::write(
                &vector::shortened(&hit.vector, dimensions),
                self.format,
                &mut out,
            );
            out.push(b'}');
        }
        out.extend_from_slice(br#"],"model":"#);
        serde_json::to_writer(&mut out, &self.model).expect("a string always serialises");
        append(
            &mut out,
            format_args!(r#","usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}}}"#),
        );
        out.into()
    }
}

fn append(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    std::io::Write::write_fmt(out, text).expect("writing into memory cannot fail");
}

/// RFC 9211 §2: the cache closest to the origin comes first.
fn cache_status(edge: &CacheStatus, host: Option<&OutcomeCounts>) -> String {
    match host {
        Some(counts) => format!("{}, {edge}", CacheStatus::of_items(HOST, counts)),
        None => edge.to_string(),
    }
}

/// Durations in milliseconds, as `Server-Timing` wants them.
fn server_timing(edge: Timing, host: Option<Timings>) -> String {
    let mut value = format!("key;dur={}, store;dur={}", Ms(edge.key), Ms(edge.store));
    if let Some(upstream) = edge.upstream {
        let _ = write!(value, ", upstream;dur={}", Ms(upstream));
    }
    if let Some(host) = host {
        let micros = |us: u32| Ms(Duration::from_micros(us.into()));
        let (queue, inference) = (micros(host.queue_us), micros(host.inference_us));
        let _ = write!(value, ", queue;dur={queue}, inference;dur={inference}");
    }
    value
}

/// A duration in milliseconds with microseconds behind the point, without floating point.
struct Ms(Duration);

impl std::fmt::Display for Ms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let micros = self.0.as_micros();
        write!(f, "{}.{:03}", micros / 1000, micros % 1000)
    }
}
