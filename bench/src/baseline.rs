//! What a hit costs without a sandbox: the gateway's own rules in a native axum handler over
//! moka, and a static file of the same size.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request as HttpRequest, Response};
use axum::routing::{get, post};
use axum::{Router, serve};
use brink_cache::{Key, ModelDigest, Outcome, UnixSeconds};
use brink_gateway::error::ApiError;
use brink_gateway::head::Head;
use brink_gateway::hit::{self, Begun, Clock, Known, LookUp, Settled};
use brink_gateway::in_force::InForce;
use brink_gateway::items::{Fetched, Prefixes};
use brink_gateway::reply::{Exchange, Reply};
use brink_protocol::{
    Catalog, InferAnswer, InferredItem, ModelInfo, ModelKind, TextLimits, Timings,
};
use bytes::Bytes;
use http_body_util::BodyExt;
use moka::sync::Cache;
use tokio::net::TcpListener;

/// Entries that fit into the baseline's cache.
const MAX_ENTRIES: u64 = 100_000;
/// Largest body, as in the gateway.
const MAX_BODY: u64 = 16 << 20;

struct Native {
    store: Cache<Key, Bytes>,
    catalog: Arc<Catalog>,
    in_force: Arc<InForce>,
    file: Bytes,
}

/// Serves the baseline until the process is ended.
pub(crate) async fn serve_native(
    address: SocketAddr,
    model: &str,
    file_bytes: usize,
) -> Result<()> {
    let native = Arc::new(Native {
        store: Cache::new(MAX_ENTRIES),
        catalog: Arc::new(Catalog {
            models: vec![ModelInfo {
                name: model.to_owned(),
                version: "1".to_owned(),
                digest: ModelDigest([1; 32]),
                kind: ModelKind::Embed {
                    text: TextLimits {
                        max_tokens: 256,
                        vocabulary: 30_522,
                    },
                    dimensions: 384,
                },
                created: 0,
                owned_by: "baseline".to_owned(),
            }],
            ..Catalog::default()
        }),
        in_force: Arc::default(),
        file: vec![b'x'; file_bytes].into(),
    });
    let router = Router::new()
        .route("/v1/embeddings", post(embeddings))
        .route("/file", get(file))
        .with_state(native);
    let listener = axum::serve::ListenerExt::tap_io(TcpListener::bind(address).await?, |stream| {
        // As in the gateway: an answer never waits for the client's delayed ACK.
        let _ = stream.set_nodelay(true);
    });
    serve(listener, router).await?;
    Ok(())
}

async fn file(State(native): State<Arc<Native>>) -> Bytes {
    native.file.clone()
}

async fn embeddings(
    State(native): State<Arc<Native>>,
    request: HttpRequest<Body>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let head = Head::new(
        parts.method.as_str(),
        parts.uri.path(),
        None,
        &parts.headers,
    );
    let reply = match body.collect().await {
        Ok(body) => answer(&native, &head, body.to_bytes()),
        Err(_) => Err(ApiError::body_broken()),
    };
    let exchange = Exchange::of(&head, "*");
    let reply = exchange.reply(reply).finish(&exchange);
    let headers = reply.header_map();
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = reply.status;
    *response.headers_mut() = headers;
    response
}

fn answer(native: &Native, head: &Head<'_>, body: Bytes) -> Result<Reply, ApiError> {
    thread_local!(static PREFIXES: Prefixes = Prefixes::default());
    let begun = PREFIXES.with(|prefixes| {
        let known = Known {
            catalog: Some(&native.catalog),
            prefixes,
            in_force: &native.in_force,
            max_body_bytes: MAX_BODY,
        };
        hit::begin(head, body, known, &SystemClock)
    });
    let pending = match begun? {
        Begun::Answered(reply) => return Ok(reply),
        Begun::Pending(pending) => pending,
        Begun::CatalogNeeded(_)
        | Begun::Unbound(_)
        | Begun::Tokenize(_)
        | Begun::Kept(_)
        | Begun::Origin => {
            unreachable!("all models are given, and nothing else is routed here")
        }
    };
    let missing = match pending.settle(&mut Store(&native.store), &SystemClock)? {
        Settled::Answered(reply) | Settled::Stale(reply, _) => return Ok(reply),
        Settled::Missing(missing) => missing,
    };
    let call = missing.upstream_call("", std::time::Duration::from_secs(1));
    let computed = made_up(call.items());
    let answer = missing.complete(computed, &SystemClock)?;
    for stored in answer.store {
        native.store.insert(stored.key, stored.bytes.into());
    }
    Ok(answer.reply)
}

struct Store<'a>(&'a Cache<Key, Bytes>);

impl LookUp for Store<'_> {
    fn get(&mut self, key: &Key) -> Fetched {
        self.0.get(key).map_or(Fetched::Absent, Fetched::Bytes)
    }
}

/// The baseline has no model: only what a hit costs is measured.
fn made_up(items: usize) -> InferAnswer {
    let item = InferredItem {
        output: 0.05f32.to_le_bytes().repeat(384).into(),
        tokens: 8,
        cost_us: 1,
        outcome: Outcome::Miss,
    };
    InferAnswer {
        items: vec![item; items],
        timings: Timings::default(),
        model_time: None,
    }
}

struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the edge of the program: it reads the wall clock"
    )]
    fn now(&self) -> UnixSeconds {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        UnixSeconds(since_epoch.unwrap_or_default().as_secs())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the edge of the program: it reads the monotonic clock"
    )]
    fn monotonic(&self) -> std::time::Duration {
        static START: std::sync::LazyLock<std::time::Instant> =
            std::sync::LazyLock::new(std::time::Instant::now);
        START.elapsed()
    }
}
