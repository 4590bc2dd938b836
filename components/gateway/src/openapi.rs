//! `GET /openapi.json`: the document of all routes (OpenAPI 3.1).
//!
//! It is a file of this crate, made by `tests/rules/openapi` from the limits of the code, and held against the
//! routes and readers there: the component carries its bytes and nothing that makes them.

use std::sync::LazyLock;

use brink_cache::http::{EntityTag, IfNoneMatch};
use bytes::Bytes;
use http::StatusCode;

use crate::head::Head;
use crate::reply::Reply;

/// The document.
pub const DOCUMENT: &str = include_str!("../openapi.json");

/// It changes with a release only, and a client should see that soon.
const CACHE_CONTROL: &str = "public, max-age=300";

/// The answer, or 304 if the client has it (RFC 9110 §13.1.2).
pub fn reply(head: &Head<'_>) -> Reply {
    static TAG: LazyLock<String> =
        LazyLock::new(|| blake3::hash(DOCUMENT.as_bytes()).to_hex()[..32].to_owned());
    let own = EntityTag {
        is_weak: false,
        opaque: &TAG,
    };
    let given = head.get("if-none-match").and_then(IfNoneMatch::parse);
    let reply = match given.is_some_and(|given| given.has(Some(&own))) {
        true => Reply::empty(StatusCode::NOT_MODIFIED),
        false => Reply::json(StatusCode::OK, Bytes::from_static(DOCUMENT.as_bytes())),
    };
    reply
        .with("etag", format!("\"{}\"", *TAG))
        .with("cache-control", CACHE_CONTROL)
}
