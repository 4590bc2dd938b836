//! `POST /v1/embeddings`: from a body to per-item keys, and from entries to an answer.

mod answer;
mod for_caches;
mod input;
mod plan;
mod prefixes;
mod query;
mod request;
mod resolved;
mod vector;

pub use answer::{Answer, Stored};
pub use plan::Fetched;
pub use prefixes::Prefixes;
pub use request::{EncodingFormat, Request};
pub use resolved::Refresh;

pub(crate) use answer::Timing;
pub(crate) use plan::Plan;
pub(crate) use resolved::Resolved;
