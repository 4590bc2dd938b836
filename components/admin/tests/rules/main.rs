//! The operator's API, with a store made of plain values.

#![expect(
    clippy::unwrap_used,
    reason = "test helpers: a failure here is a failed test"
)]

mod access;
mod audit;
mod policy;
mod purge;
mod request_keys;
mod tenants;
mod world;
