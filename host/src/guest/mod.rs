//! Runs Spin components with wasmtime: the manifest, the instances, and what
//! components may use.
//!
//! ```text
//!  spin.toml -> manifest -> app -+-> router -> pool -+-> door (plain hits, without suspending)
//!                                |                   '-> run (the guest, in the caller's task)
//!                                '-> engine               |
//!                                    (compile)            '-> state: interfaces -> keyvalue
//!                                                                    outbound   -> allow, local, client
//! ```
//!
//! Invariants: one request at a time in an instance; nothing is queued; whatever a
//! guest does (loop, trap, hog memory, never answer), only its own request notices;
//! every wait has a limit in [`GuestConfig`].
//!
//! `wasmtime` is named only below this module.

mod app;
pub mod body;
mod build;
mod compile;
mod config;
mod door;
mod drive;
mod engine;
mod error;
mod files;
mod headers;
mod interfaces;
pub mod keyvalue;
mod logs;
pub mod manifest;
mod outbound;
mod pool;
mod response;
mod router;
mod run;
mod state;
mod stats;

pub use app::{GuestHost, GuestParts};
pub use body::{BodyFault, BodyLimits, LimitedBody};
pub use config::{FastDoorConfig, GuestConfig, GuestConfigError, OutboundConfig};
pub use engine::component_imports;
pub use error::{BuildError, GuestError};
pub use files::FilesError;
pub use manifest::{Manifest, ManifestError, Overrides};
pub use outbound::{
    LocalUpstream,
    allow::{AllowError, AllowList, AllowedHost},
};
pub use response::{GuestBody, GuestBodyError};
pub use router::{RouteError, RouteMatch, RoutePattern, Router};
pub use stats::PoolStats;
