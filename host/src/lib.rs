//! The native host of Brink: runs Spin components, and computes what they lack.
//!
//! ```text
//!  main -> application -> server -> guest (components) --in process--> api
//!                                                                       |
//!                                       service -> results, batch -> inference
//! ```
//!
//! Modules use those below them only. `ort` is named only under [`inference`], `wasmtime` only
//! under [`guest`], `moka` only in [`results`] and `guest::keyvalue`.

pub mod api;
pub mod application;
pub mod batch;
pub mod cli;
pub mod config;
pub mod connect;
pub mod generate;
pub mod guest;
pub mod inference;
pub mod live;
pub mod logging;
pub mod policy;
pub mod results;
pub mod server;
pub mod service;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod warm_up;
