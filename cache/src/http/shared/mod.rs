//! A shared cache in front of any HTTP service (RFC 9111): every rule, and no I/O.
//!
//! ```text
//!  request --start--> look up --Record--> reuse --> Fresh, StaleWhileRevalidate --> answer
//!             |                             |
//!             v                             v
//!            pass                        Validate --> upstream --304--> freshen ----> answer
//!             |                                          |
//!             v                                         200
//!         invalidates                                    |
//!                                                        v
//!                                                    may_store --> is_storable_now --> Record
//! ```
//!
//! | module | answers |
//! | --- | --- |
//! | [`fields`] | what are the header fields of a message? |
//! | [`date`](mod@date) | which moment does a date mean? |
//! | [`hop`] | which fields end here, and what does `Via` say? |
//! | [`head`] | how old is a response, and how long may it be used? |
//! | [`record`] | what do the stored bytes mean, and which record takes the place of another? |
//! | [`keys`] | under which names are responses kept? |
//! | [`request`] | what may the cache do with a request? |
//! | [`reuse`](mod@reuse) | may a stored response answer it, and how is upstream asked if not? |
//! | [`answer`](mod@answer) | what does the client get of a stored response? |
//! | [`storing`] | may a response be stored, and why not? |
//! | [`freshen`](mod@freshen) | what does a 304 change in a stored response? |
//! | [`invalidation`] | what does an unsafe request make invalid? |
//! | [`uri`] | which URIs are the same, and of one origin? |
//!
//! All functions take fields that [`hop`] has been through. Only answers to GET are stored; they
//! answer GET and HEAD.

pub mod answer;
pub mod date;
pub mod fields;
pub mod freshen;
pub mod head;
pub mod hop;
pub mod invalidation;
pub mod keys;
pub mod record;
pub mod request;
pub mod reuse;
pub mod storing;
pub mod uri;

pub use answer::{Answer, answer};
pub use fields::Fields;
pub use freshen::{freshen, invalidated_by_head};
pub use head::{Limits, ResponseHead, StoredResponse, Times};
pub use invalidation::invalidates;
pub use record::{Record, RecordError};
pub use request::{Pass, RequestHead, Start};
pub use reuse::{Reuse, Terms, Verdict, counts_as_error, reuse};
pub use storing::{Unstorable, may_store};

#[cfg(test)]
mod tests;
