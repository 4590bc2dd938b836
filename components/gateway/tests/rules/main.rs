//! The gateway's rules, with a store and a host made of plain values.

#![expect(
    clippy::unwrap_used,
    reason = "test helpers: a failure here is a failed test"
)]

mod classify;
mod embeddings;
mod infer;
mod openapi;
mod policy;
mod safe_methods;
mod stored_keys;
mod tei;
mod texts;
mod world;
