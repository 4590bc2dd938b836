//! The operator's API: policy, tenants, purges and the record of changes, over the key-value store
//! that the edges read.
//!
//! The rules are plain functions over a small trait ([`World`]), so they are tested natively:
//!
//! ```text
//!  request head -> admit (who? which route?) -> Admitted
//!                                                  |  the body is read only now
//!                                                  v
//!                              Admitted::answer(World, Call) -> Reply, or a Problem
//! ```
//!
//! Every change is recorded before it is made ([`audit`]). Only `edge`, compiled for Wasm alone,
//! reads bodies, variables and stores.
//!
//! # What a store cannot do
//!
//! Key-value stores of components have no compare-and-swap. Documents that several writers add to
//! (marks, records) are read back and written again until what was added is there. Documents that
//! are replaced as a whole (policy, tenants) are guarded by `If-Match`, which is checked just before
//! they are written: two replacements at the same moment can both succeed, and the later one stays.

pub mod access;
pub mod admit;
pub mod audit;
mod policy;
mod precondition;
pub mod problem;
pub mod purge;
mod query;
mod request_keys;
pub mod route;
mod tenants;
mod timestamp;
pub mod world;

#[cfg(target_family = "wasm")]
mod edge;

pub use admit::{Admitted, Refused, admit, finish};
pub use problem::Problem;
pub use world::{Call, StoreError, World};
