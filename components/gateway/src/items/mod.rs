//! From a request to a key for each item, and from entries to an answer, whatever form it has.
//!
//! ```text
//!  Request --Bound::find--> model --Plan::new--> keys --resolve--> hits, and what is missing
//!                                                   '--complete--> Form::reply
//! ```
//!
//! What an item is, how a client asks for it and how its answer is written is said by a
//! [`Form`](crate::forms::Form); everything between is the same for all of them, so that the same item
//! has one entry, whichever way it was asked for.

mod answer;
mod bound;
mod for_caches;
mod plan;
mod prefixes;
mod request;
mod resolved;
mod results;
mod texts;
mod upstream_call;

pub use answer::{Answer, Stored};
pub use bound::Bound;
pub use plan::Fetched;
pub use prefixes::Prefixes;
pub use request::Request;
pub use resolved::Refresh;
pub use results::Results;
pub use texts::{Gathered, Progress, Streaming, TextWaits, answer};
pub use upstream_call::UpstreamCall;

pub(crate) use answer::Timing;
pub(crate) use plan::Plan;
pub(crate) use resolved::Resolved;

/// Most bytes of results that a request may bring. An instance has them up to three times: as they came, in the
/// answer and in entries to store; its memory is a few times as much (`guest.max_memory_mib`).
pub const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;
