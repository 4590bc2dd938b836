//! The host's listeners: HTTP on sockets, limits, observation, draining.
//!
//! A request's way, outermost first:
//!
//! ```text
//!  connection (head limits, time-outs) -> Observed (id, span, log line, metrics)
//!    -> Limited (requests in flight) -> Guests (components) or Routes (the inference API)
//! ```

mod admin;
mod compressed;
mod connection;
mod guest_metrics;
mod guests;
mod limit;
mod listener;
mod metrics;
mod models;
mod observe;
mod refusal;
mod route;
mod routes;
mod socket;
mod traced;

use std::net::SocketAddr;

pub use admin::{Admin, Readiness};
pub use compressed::Compressed;
pub use connection::{Answer, ConnectionLimits, RequestBody, serve};
pub use guest_metrics::GuestMetrics;
#[cfg(test)]
pub(crate) use guest_metrics::OneComponent;
pub use guests::Guests;
pub use limit::Limited;
pub use listener::{BindError, Purpose, bind};
pub use metrics::HttpMetrics;
pub use models::{ModelChange, ModelChanged, ModelEntry, ModelList};
pub use observe::{Observed, Observer};
pub use refusal::Refusal;
pub use route::WEBSOCKET_PATH;
pub use routes::Routes;
pub use traced::Tracing;

/// `[server]`: listeners and connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where the gateway listens.
    pub listen: SocketAddr,
    /// Where health and metrics are.
    pub admin_listen: SocketAddr,
    /// Where the inference host listens, or what components call it under `brink up`.
    pub inference_listen: SocketAddr,
    /// Threads that serve requests; 0 is one per core.
    pub worker_threads: usize,
    /// Most requests answered at once.
    pub max_in_flight: usize,
    /// Most event streams that are compressed at a time; further ones are sent as they are.
    pub max_compressed_streams: usize,
    /// Limits of connections.
    pub connections: ConnectionLimits,
}
