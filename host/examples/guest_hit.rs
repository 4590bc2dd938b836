//! What a hit costs inside the component, without sockets.
//!
//! Question: how many microseconds does a cached answer take through the synchronous door and
//! through `wasi:http` (warm, and in a fresh instance), for 1, 16 and 100 inputs? Budget: for one
//! input, the door takes at most a fifth of a warm `wasi:http` instance. Read the last column; a
//! regression of the component shows here before it shows over sockets. Run it in release mode:
//!
//! ```text
//! cargo run --release --example guest_hit -p brink-host -- target/components/gateway.wasm
//! ```

#![expect(clippy::print_stdout, reason = "a measurement prints its result")]

use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use brink_cache::{ModelDigest, Outcome};
use brink_host::guest::keyvalue::{MemoryStore, Stores};
use brink_host::guest::{
    FastDoorConfig, GuestConfig, GuestHost, GuestParts, LocalUpstream, Manifest, Overrides,
};
use brink_protocol::{
    CATALOG_PATH, Catalog, INFER_PATH, InferAnswer, InferReply, InferRequest, InferredItem,
    ModelInfo, ModelKind, TextLimits, Timings, message,
};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use tokio::time::Instant;
use tower::ServiceExt;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const DIMENSIONS: usize = 384;
const ROUNDS: usize = 7;
const CLIENT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let component = std::env::args().nth(1).ok_or("the component is missing")?;
    let ways = [
        ("fast door", host(&component, true, 64).await?),
        ("wasi:http, warm", host(&component, false, 64).await?),
        (
            "wasi:http, fresh instance",
            host(&component, false, 0).await?,
        ),
    ];
    for items in [1, 16, 100] {
        for format in ["base64", "float"] {
            let mut best = [f64::INFINITY; 3];
            for _ in 0..ROUNDS {
                for (best, (_, host)) in best.iter_mut().zip(&ways) {
                    *best = best.min(measure(host, items, format).await?);
                }
            }
            println!("{items} input(s), {format}, best of {ROUNDS} rounds:");
            for (micros, (name, _)) in best.iter().zip(&ways) {
                println!("  {micros:9.2} us  {:6.2}  {name}", micros / best[1]);
            }
        }
    }
    Ok(())
}

/// Microseconds per request.
async fn measure(host: &GuestHost, items: usize, format: &str) -> Result<f64> {
    let texts: Vec<String> = (0..items)
        .map(|index| format!("the quick brown fox jumps over the lazy dog {index}"))
        .collect();
    let body = serde_json::json!({"model": "m", "input": texts, "encoding_format": format});
    let body = Bytes::from(body.to_string());
    let hit = format!("hit={items}");
    // Results are stored after their answer.
    while ask(host, &body).await? != hit {}
    let requests = 4000 / items + 50;
    let start = Instant::now();
    for _ in 0..requests {
        let outcome = ask(host, &body).await?;
        if outcome != hit {
            return Err(format!("no hit: {outcome}").into());
        }
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / requests as f64)
}

/// What the gateway says about the request's items.
async fn ask(host: &GuestHost, body: &Bytes) -> Result<String> {
    let request = Request::post("/v1/embeddings")
        .header("host", "127.0.0.1:3000")
        .header("content-type", "application/json")
        .header("content-length", body.len())
        .header("accept", "*/*")
        .header("user-agent", "guest_hit")
        .header("x-request-id", "req-0123456789abcdef-1")
        .body(Full::new(body.clone()))?;
    let response = host.handle(request, CLIENT).await?;
    let items = response.headers().get("brink-items");
    let items = items
        .map_or("", |value| value.to_str().unwrap_or_default())
        .to_owned();
    response.into_body().collect().await?;
    Ok(items)
}

async fn host(component: &str, door: bool, max_idle: usize) -> Result<GuestHost> {
    let text = std::fs::read_to_string("spin.toml")?;
    let text = text.replace("target/components/gateway.wasm", component);
    let mut variables = BTreeMap::new();
    // A refresh in the middle would be measured as well.
    variables.insert("catalog_lifetime_seconds".to_owned(), "86400".to_owned());
    let overrides = Overrides {
        variables: &variables,
        env: &|_| None,
    };
    let parts = GuestParts {
        config: GuestConfig {
            max_idle,
            max_uses: 1_000_000,
            fast_door: FastDoorConfig {
                enabled: door,
                ..FastDoorConfig::default()
            },
            ..GuestConfig::default()
        },
        folder: Path::new(".").to_owned(),
        stores: Stores::new().with("default", Arc::new(MemoryStore::new(64 << 20))),
        upstreams: vec![LocalUpstream::new(
            "127.0.0.1:3002",
            inference().map_request(|request: Request<_>| request.map(Body::new)),
        )],
    };
    let manifest = Manifest::parse(&text, Path::new("spin.toml"), &overrides)?;
    Ok(GuestHost::build(manifest, parts).await?)
}

/// A host without a model: only what a hit costs is measured.
fn inference() -> Router {
    let catalog = Catalog {
        models: vec![ModelInfo {
            name: "m".to_owned(),
            version: "1".to_owned(),
            digest: ModelDigest([1; 32]),
            kind: ModelKind::Embed {
                text: TextLimits {
                    max_tokens: 256,
                    vocabulary: 30_522,
                },
                dimensions: DIMENSIONS as u32,
            },
            created: 0,
            owned_by: "example".to_owned(),
        }],
        ..Catalog::default()
    };
    Router::new()
        .route(CATALOG_PATH, get(async move || message::encode(&catalog)))
        .route(INFER_PATH, post(embed))
}

async fn embed(body: Bytes) -> Vec<u8> {
    let items = message::decode::<InferRequest>(&body).map_or(0, |call| call.inputs.len());
    let numbers = (0..DIMENSIONS).map(|index| (index as f32 * 0.37).sin() * 0.09);
    let item = InferredItem {
        output: numbers.flat_map(f32::to_le_bytes).collect(),
        tokens: 8,
        cost_us: 1,
        outcome: Outcome::Miss,
    };
    let reply: InferReply = Ok(InferAnswer {
        items: vec![item; items],
        timings: Timings::default(),
        model_time: None,
    });
    message::encode(&reply)
}
