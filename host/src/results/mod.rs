//! Results: kept, and computed once.
//!
//! | module | answers |
//! | --- | --- |
//! | [`store`] | has this result been computed before? |
//! | [`collapse`] | is it being computed right now? |
//!
//! Neither knows what a result is computed by; [`crate::service`] brings them together.

pub mod collapse;
mod config;
mod metrics;
pub mod store;

pub use config::{ResultsConfig, ResultsConfigError};
pub use metrics::{CacheItems, Tier};
