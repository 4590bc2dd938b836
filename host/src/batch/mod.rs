//! Dynamic batching: from single inputs to model runs.
//!
//! ```text
//!  submit --> Queue (pure: no clock, no thread) --> one OS thread per session --> Backend
//!                bounded, fair between tenants       splits a batch that fails
//! ```
//!
//! Padding decides the throughput of an encoder: every item of a batch costs as much as the
//! longest. So a batch is not the oldest items but the one whose turn it is and its neighbours by
//! length. The sessions are never idle while something waits.

mod breaker;
mod config;
mod cost;
mod driver;
mod metrics;
mod pool;
mod queue;
mod schedule;
mod shape;
mod traced;

pub use breaker::BreakerConfig;
pub use config::{BatchConfig, BatchConfigError, BatchLimits, BatchOverrides, Buckets};
pub use cost::{CostModel, fit};
pub use metrics::{BatchMetrics, ModelMetrics};
pub use pool::{BatchError, BatchPool, Inferred, Pending, PoolOptions, Submission};
pub use queue::{Bound, Claim, Full, Load, Queue, Taken, Ticket};
pub use shape::Shape;
