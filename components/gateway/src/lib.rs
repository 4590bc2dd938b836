//! The edge: answers inference requests from a key-value store and asks the host only for
//! what is missing.
//!
//! The rules are plain functions without I/O, so they are tested natively and can be
//! entered from more than one door:
//!
//! ```text
//!  head ----> Route
//!  body ----> embeddings::Request --catalogue--> Plan (one key per distinct item)
//!  entries -> Plan::resolve -> Resolved: an answer, or what is missing (one upstream call)
//!  upstream answer -> Resolved::complete -> Reply, and entries to store afterwards
//! ```
//!
//! Only `edge`, compiled for Wasm alone, reads bodies, opens stores and calls the host.

pub mod cors;
pub mod embeddings;
pub mod error;
pub mod models;
pub mod reply;
pub mod request_id;
pub mod route;

#[cfg(target_family = "wasm")]
mod edge;
