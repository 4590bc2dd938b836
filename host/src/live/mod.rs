//! WebSockets: many requests over one connection, answered in compact frames that merge while a client is slow.
//!
//! The protocol is in `docs/websocket.md`. wasi:http has no upgrade, so sockets are the host's; what is asked on
//! them is answered by components, through the same way as over HTTP.
//!
//! ```text
//!  front --> door (handshake, probe, seats) --> session <--> socket (the library)
//!                                               |     ^
//!                                     command   |     |   outbox (merge, budget, gap)
//!                                               v     |
//!                                               ask --> Answer (observe, limit, components)
//!                                                 '-> events -> translate -> frames
//! ```
//!
//! | module | answers |
//! | --- | --- |
//! | `front`, `door`, `handshake` | who gets a socket? |
//! | `seats`, `tenants` | how many may there be, and whose is this one? |
//! | `session`, `pulse`, `ending` | what happens next on a socket, and how does it end? |
//! | `command`, `frame` | what does a message mean, and how are ours written? |
//! | `ask`, `events`, `translate` | how does an answer become frames? |
//! | `merge`, `outbox` | what waits for a client, and how much may? |
//! | `paced` | tokens for benchmarks, over sockets and as an event stream |
//!
//! Limits: everything in [`LiveConfig`]. What has a limit is refused or closed beyond it, and nothing is queued for a
//! socket but its outbox.
//!
//! Not here: WebSockets over HTTP/2 (RFC 8441), and messages that nobody asked for.

mod ask;
mod command;
mod config;
mod door;
mod ending;
mod events;
mod frame;
mod front;
mod handshake;
pub mod merge;
mod metrics;
pub mod outbox;
mod paced;
mod pulse;
mod seats;
mod session;
mod socket;
mod tenants;
mod translate;

pub use config::LiveConfig;
pub use door::Live;
pub use front::Front;
pub use metrics::{Ended, LiveMetrics};
pub use tenants::StoredTenants;
