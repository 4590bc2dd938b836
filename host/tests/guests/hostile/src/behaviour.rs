//! What the component does on each route.

use std::hint::black_box;

use anyhow::{Result, anyhow};
use bytes::Bytes;
use futures::SinkExt;
use spin_sdk::{
    http::{
        BoxBody, EmptyBody, Request, Response,
        body::{IncomingBodyExt, stream},
        box_body, send,
    },
    key_value::Store,
    variables, wasip3,
};

use super::{Query, text};

type Answer = Result<Response<BoxBody>>;

pub(super) fn loop_forever() -> Answer {
    loop {
        black_box(0_u8);
    }
}

pub(super) fn hog_memory() -> Answer {
    let mut blocks = Vec::new();
    loop {
        blocks.push(vec![1_u8; 1 << 20]);
        black_box(&blocks);
    }
}

/// One chunk, then a trap while the client reads.
pub(super) fn trap_after_head(query: Query) -> Response<BoxBody> {
    let (mut sender, body) = stream::<Bytes>();
    wasip3::spawn(async move {
        let sent = sender.send(Bytes::from_static(b"first")).await;
        // The test answers once it has seen the chunk.
        let answered = fetch(&query).await.is_ok();
        panic!("trap after the head, sent: {sent:?}, {answered}");
    });
    Response::new(box_body(body))
}

/// Answers at once; then asks `url`, and never ends when that has answered.
pub(super) fn loop_after_response(query: Query) -> Response<BoxBody> {
    wasip3::spawn(async move {
        let _ = fetch(&query).await;
        loop {
            black_box(0_u8);
        }
    });
    text("answered")
}

/// Reads the whole body and answers its length.
pub(super) async fn length(request: Request) -> Answer {
    let body = request.into_body().bytes().await?;
    Ok(text(body.len().to_string()))
}

pub(super) fn headers(request: &Request) -> Response<BoxBody> {
    let lines = request.headers().iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        format!("{name}: {value}\n")
    });
    text(lines.collect::<String>())
}

/// `store`, `key`, and `bytes`, the size of the value.
pub(super) async fn kv_set(query: &Query) -> Answer {
    let store = Store::open(query.get("store")).await?;
    let value = vec![b'v'; query.get("bytes").parse()?];
    store.set(query.get("key"), value).await?;
    Ok(text("set"))
}

pub(super) async fn kv_get(query: &Query) -> Answer {
    let store = Store::open(query.get("store")).await?;
    let value = store.get(query.get("key")).await?;
    Ok(text(value.ok_or_else(|| anyhow!("no such key"))?))
}

pub(super) async fn variable(query: &Query) -> Answer {
    Ok(text(variables::get(query.get("name")).await?))
}

pub(super) fn file(query: &Query) -> Answer {
    Ok(text(std::fs::read(query.get("path"))?))
}

/// Sends a request to `url` and passes the answer on, chunk by chunk.
pub(super) async fn outbound(query: &Query) -> Answer {
    let request = http::Request::get(query.get("url")).body(EmptyBody::new())?;
    let (mut parts, body) = send(request).await?.into_parts();
    // Hop-by-hop headers must not be passed on.
    parts.headers.remove(http::header::TRANSFER_ENCODING);
    parts.headers.remove(http::header::CONNECTION);
    Ok(Response::from_parts(parts, box_body(body)))
}

/// Answers at once; then asks `url`, and sets `key` when that has answered.
pub(super) fn background(query: Query) -> Response<BoxBody> {
    wasip3::spawn(async move {
        if let Err(error) = set_after_response(&query).await {
            eprintln!("background work failed: {error:#}");
        }
    });
    text("answered")
}

async fn set_after_response(query: &Query) -> Result<()> {
    fetch(query).await?;
    Store::open("default")
        .await?
        .set(query.get("key"), "done")
        .await?;
    Ok(())
}

/// Waits for the whole answer of `url`.
async fn fetch(query: &Query) -> Result<Bytes> {
    let request = http::Request::get(query.get("url")).body(EmptyBody::new())?;
    Ok(send(request).await?.into_body().bytes().await?)
}
