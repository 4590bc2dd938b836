//! The caching rules of Brink.
//!
//! Everything that decides *what* is stored under *which* name and *whether* it may
//! answer a request is here, and nothing else: no clock, no I/O, no async. The same
//! code runs inside the Wasm component at the edge and inside the native host, so the
//! two can never disagree.
//!
//! ```text
//!  request --key--> Key --look-up--> Entry --freshness--> Decision --status--> Cache-Status
//! ```
//!
//! | module | answers |
//! | --- | --- |
//! | [`key`] | under which 256-bit name is this result kept? |
//! | [`entry`] | what do the stored bytes mean? |
//! | [`seal`] | did an edge store these bytes under this key? |
//! | [`freshness`] | may a result of this age still be used? |
//! | [`control`] | what does the request's `Cache-Control` ask for? |
//! | [`lease`] | does somebody ask for this already? |
//! | [`outcome`] | what happened to each item, for metrics and clients? |
//! | [`status`] | how is that told in `Cache-Status`? |
//! | [`tenant`] | whose request is this, and how much may they ask for? |
//! | [`policy`] | which results are stored, how long, for whom, and why? |
//! | [`purge`] | did an operator take this entry back? |
//! | [`file`](mod@file) | what is wrong in a file that an operator wrote? |
//! | [`http`] | what do a response's headers allow a shared cache? |
//! | [`canonical`] | which bytes stand for this JSON? |

pub mod canonical;
pub mod control;
pub mod entry;
pub mod file;
pub mod freshness;
pub mod http;
mod index;
pub mod key;
pub mod lease;
pub mod outcome;
pub mod policy;
pub mod purge;
pub mod seal;
pub mod status;
pub mod tenant;
pub mod time;

pub use control::RequestControl;
pub use entry::{Entry, EntryMeta};
pub use freshness::{Decision, Lifetimes};
pub use key::{Key, KeyPrefix, ModelDigest, Scope};
pub use lease::{Lease, Turn};
pub use outcome::{Outcome, OutcomeCounts};
pub use policy::Policy;
pub use purge::{Mark, Marked, Marks, Purged};
pub use seal::{SealKey, Seals};
pub use tenant::{Tenant, TenantLimits, Tenants, TokenBucket};
pub use time::UnixSeconds;
