//! A shared cache in front of any HTTP service (RFC 9111): every rule, and no I/O.
//!
//! ```text
//!  request --start--> look up --Record--> reuse --> Fresh, StaleWhileRevalidate --> answer
//!             |                             |
//!             v                             v
//!            pass                        Validate --> upstream --304--> freshen --> answer
//!             |                                          |
//!             v                                          v
//!         invalidates                             may_store --> Record
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
//! | [`uri`] | which URIs are the same, and of one origin? |
//!
//! All functions take fields that [`hop`] has been through. Only answers to GET are stored; they
//! answer GET and HEAD.

pub mod date;
pub mod fields;
pub mod head;
pub mod hop;
pub mod keys;
pub mod record;
pub mod uri;

pub use fields::Fields;
pub use head::{Limits, ResponseHead, StoredResponse, Times};
pub use record::{Record, RecordError};

#[cfg(test)]
mod tests;
