//! What a user of the whole product sees.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod bodies;
mod chat;
#[path = "../../src/telemetry/testing.rs"]
mod collector;
mod doors;
mod embeddings;
mod failures;
mod leaks;
mod models;
mod origins;
mod policy;
mod protocols;
mod refusals;
mod structure;
mod support;
mod tenants;
mod traces;
mod warm_up;
mod websocket;
