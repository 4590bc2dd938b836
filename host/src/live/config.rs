//! `[live]`: what a WebSocket may cost.

use std::time::Duration;

use super::merge::OutboxLimits;

/// Limits of WebSockets. Whatever has one is refused or closed beyond it, with an answer that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveConfig {
    /// Whether there are WebSockets at all. If not, the path is a component's like any other.
    pub enabled: bool,
    /// Most sockets at a time.
    pub max_sockets: usize,
    /// Most sockets of one tenant at a time. Clients without an API key are no tenant and have only the limit of all.
    pub max_sockets_per_tenant: usize,
    /// Most sockets that compress, some 350 KB each; further ones are opened without.
    pub max_compressed: usize,
    /// Most requests in flight on one socket.
    pub max_requests_per_socket: usize,
    /// Largest message from a client, in bytes.
    pub max_frame_bytes: usize,
    /// Largest answer in one message, in bytes.
    pub max_answer_bytes: usize,
    /// What may wait for one client, and how often it is sent.
    pub outbox: OutboxLimits,
    /// Silence after which a client is asked whether it is there.
    pub ping_interval: Duration,
    /// How long it may take to answer; then it is taken for gone.
    pub pong_timeout: Duration,
    /// How long one write may make no headway before the client is taken for one that does not read.
    pub write_timeout: Duration,
    /// How long a socket lives; then it ends as in a shutdown, and the client opens another.
    pub max_lifetime: Duration,
    /// Whether the paced source of benchmarks answers.
    pub paced_source: bool,
}

impl Default for LiveConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            max_sockets: 10_000,
            max_sockets_per_tenant: 1_000,
            max_compressed: 64,
            max_requests_per_socket: 16,
            max_frame_bytes: 1 << 20,
            max_answer_bytes: 16 << 20,
            outbox: OutboxLimits::default(),
            ping_interval: Duration::from_secs(30),
            pong_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            max_lifetime: Duration::from_secs(4 * 60 * 60),
            paced_source: false,
        }
    }
}
