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
use brink_cache::key::Task;
use brink_cache::{Key, Lifetimes, ModelDigest, Outcome, RequestControl, Scope, UnixSeconds};
use brink_gateway::embeddings::{Fetched, Plan, Request, Timing};
use brink_gateway::error::ApiError;
use brink_gateway::reply::Reply;
use brink_gateway::request_id;
use brink_protocol::{EmbedAnswer, EmbeddedItem, ModelInfo, Timings};
use bytes::Bytes;
use http_body_util::BodyExt;
use moka::sync::Cache;
use tokio::net::TcpListener;

/// Entries that fit into the baseline's cache.
const MAX_ENTRIES: u64 = 100_000;
/// Largest body, as in the gateway.
const MAX_BODY: usize = 16 << 20;

struct Native {
    store: Cache<Key, Bytes>,
    model: ModelInfo,
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
        model: ModelInfo {
            name: model.to_owned(),
            digest: ModelDigest([1; 32]),
            task: Task::Embed,
            dimensions: 384,
            max_tokens: 256,
            vocabulary: 30_522,
            created: 0,
            owned_by: "baseline".to_owned(),
        },
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
    let (head, body) = request.into_parts();
    let id = request_id::of(&head.headers);
    let reply = match body.collect().await {
        Ok(body) => answer(&native, &body.to_bytes()),
        Err(_) => Err(ApiError::body_broken()),
    };
    let reply = reply
        .unwrap_or_else(Reply::from)
        .finish(&id, Some(&axum::http::HeaderValue::from_static("*")));
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response
}

fn answer(native: &Native, body: &[u8]) -> Result<Reply, ApiError> {
    if body.len() > MAX_BODY {
        return Err(ApiError::body_too_large(body.len() as u64, MAX_BODY as u64));
    }
    let request = Request::parse(body)?;
    if request.model != native.model.name {
        return Err(ApiError::unknown_model(&request.model));
    }
    let scope = Scope::Tenant("default".to_owned());
    let plan = Plan::new(request, &native.model, scope, RequestControl::default())?;
    let fetch = |key| {
        native
            .store
            .get(key)
            .map_or(Fetched::Absent, Fetched::Bytes)
    };
    let fetched: Vec<Fetched> = plan.keys().map(fetch).collect();
    let resolved = plan.resolve(fetched, now());
    let call = resolved.upstream_call("", std::time::Duration::from_secs(1))?;
    let upstream = call.map(|call| made_up(call.inputs.len()));
    let answer = resolved.complete(upstream, Lifetimes::IMMUTABLE, Timing::default(), now())?;
    for stored in answer.store {
        native.store.insert(stored.key, stored.bytes.into());
    }
    Ok(answer.reply)
}

/// The baseline has no model: only what a hit costs is measured.
fn made_up(items: usize) -> EmbedAnswer {
    let item = EmbeddedItem {
        vector: 0.05f32.to_le_bytes().repeat(384).into(),
        tokens: 8,
        cost_us: 1,
        outcome: Outcome::Miss,
    };
    EmbedAnswer {
        items: vec![item; items],
        timings: Timings::default(),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the edge of the program: it reads the wall clock"
)]
fn now() -> UnixSeconds {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    UnixSeconds(since_epoch.unwrap_or_default().as_secs())
}
