//! One log line, one count and one measured duration per request, and a span if it is recorded.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use brink_cache::OutcomeCounts;
use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tokio::time::Instant;

use super::connection::{Answer, RequestBody};
use super::metrics::{Answered, Cache, Exemplar, HttpMetrics};
use super::route::Route;
use super::traced::{Traced, Tracing};

/// The request's id, taken from the client or made here.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How a component tells what happened to a request's items.
const BRINK_ITEMS: HeaderName = HeaderName::from_static("brink-items");
/// Longest id taken over from a client, in bytes.
const MAX_ID: usize = 128;

/// Answers through another answer, and takes note.
#[derive(Clone)]
pub struct Observed<A> {
    inner: A,
    observer: Observer,
}

/// Where the notes go.
#[derive(Clone)]
pub struct Observer {
    /// Counts and durations.
    pub metrics: HttpMetrics,
    /// Spans.
    pub tracing: Tracing,
}

impl Observer {
    fn count(&self, answered: Answered, counts: Option<&OutcomeCounts>, trace_id: Option<String>) {
        let exemplar = trace_id.map(|trace_id| Exemplar { trace_id });
        self.metrics.record(answered, exemplar);
        if let Some(counts) = counts {
            self.metrics.record_edge_items(counts);
        }
    }
}

impl<A> Observed<A> {
    /// Observes `inner`.
    pub fn new(inner: A, observer: Observer) -> Self {
        Self { inner, observer }
    }
}

impl<A: Answer> Answer for Observed<A> {
    async fn answer<B: RequestBody>(
        &self,
        mut request: Request<B>,
        client: SocketAddr,
    ) -> Response<Body> {
        let start = Instant::now();
        let id = request_id(request.headers_mut());
        let route = Route::of(request.uri().path());
        let traced = self.observer.tracing.begin(&mut request, route);
        // Only the log needs them.
        let target = tracing::enabled!(tracing::Level::INFO).then(|| {
            (
                request.method().clone(),
                shorten(request.uri().path()).to_owned(),
            )
        });

        let mut response = self.inner.answer(request, client).await;

        let elapsed = start.elapsed();
        let status = response.status().as_u16();
        let items = response
            .headers()
            .get(BRINK_ITEMS)
            .and_then(|value| value.to_str().ok());
        let counts = items.and_then(OutcomeCounts::parse);
        let trace_id = traced.as_ref().map(Traced::trace_id);
        self.observer.count(
            Answered {
                route,
                cache: Cache::of(counts.as_ref()),
                status,
                elapsed,
            },
            counts.as_ref(),
            trace_id.clone(),
        );
        if let Some((method, path)) = target {
            tracing::info!(
                id = id.to_str().unwrap_or_default(),
                %client,
                %method,
                path,
                status,
                ms = elapsed.as_micros() as f64 / 1000.0,
                items = items.unwrap_or_default(),
                trace_id,
                "request"
            );
        }
        response
            .headers_mut()
            .entry(X_REQUEST_ID)
            .or_insert_with(|| id.clone());
        match traced {
            None => response,
            Some(traced) => traced.end(response, &id, counts.as_ref()),
        }
    }
}

/// The client's id when it is harmless in logs, a new one otherwise; set on the request, so
/// that a component uses the same.
fn request_id(headers: &mut HeaderMap) -> HeaderValue {
    let harmless = |value: &&HeaderValue| {
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
        (1..=MAX_ID).contains(&value.len()) && value.as_bytes().iter().all(allowed)
    };
    if let Some(id) = headers.get(X_REQUEST_ID).filter(harmless) {
        return id.clone();
    }
    let id = new_id();
    headers.insert(X_REQUEST_ID, id.clone());
    id
}

/// Unique among the processes of a deployment: 64 random bits of this process and a counter.
fn new_id() -> HeaderValue {
    use std::hash::{BuildHasher, RandomState};
    use std::sync::LazyLock;

    static PREFIX: LazyLock<String> = LazyLock::new(|| {
        let process = RandomState::new().hash_one("brink");
        format!("req-{process:016x}-")
    });
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut id = BytesMut::with_capacity(PREFIX.len() + 16);
    id.extend_from_slice(PREFIX.as_bytes());
    // By hand: every request needs one, and formatting takes longer than the rest of it.
    let digits = (64 - number.leading_zeros()).div_ceil(4).max(1);
    for position in (0..digits).rev() {
        let digit = (number >> (4 * position)) & 0xf;
        id.extend_from_slice(&[b"0123456789abcdef"[digit as usize]]);
    }
    HeaderValue::from_maybe_shared(id.freeze()).expect("hexadecimal digits are valid in a header")
}

/// A path as it goes into the log: clients choose it, so it is cut.
fn shorten(path: &str) -> &str {
    const LONGEST: usize = 128;
    match path.char_indices().nth(LONGEST) {
        Some((end, _)) => &path[..end],
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_clients_are_kept_when_harmless() {
        let check = |id: &'static str, kept: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(X_REQUEST_ID, HeaderValue::from_static(id));
            let used = request_id(&mut headers);
            assert_eq!(used == id, kept, "{id}");
            assert_eq!(headers[X_REQUEST_ID], used);
        };
        check("6f1d2c1e-7b0e", true);
        check("a b", false);
        check("", false);
    }

    #[test]
    fn every_new_id_differs_and_is_harmless() {
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| new_id()).collect();
        assert_eq!(ids.len(), 1000);
        for id in ids {
            let mut headers = HeaderMap::new();
            headers.insert(X_REQUEST_ID, id.clone());
            assert_eq!(request_id(&mut headers), id, "another host keeps it");
        }
    }
}
