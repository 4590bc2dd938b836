//! Other HTTP services behind the edge: a shared cache in front of them (RFC 9111).
//!
//! ```text
//!  head --Call::new--> Call --start--> pass on as it is
//!                        |
//!                        '-- look up --Found--> verdict --> Fresh, StaleWhileRevalidate --> answer
//!                                                  '--> Validate --> upstream --> keep, freshen
//! ```
//!
//! Whatever RFC 9111 says is in [`brink_cache::http::shared`]; what operators say is in
//! [`Ruling`](crate::ruling::Ruling). Here the two meet, without I/O.
//!
//! | module | answers |
//! | --- | --- |
//! | [`call`] | what goes upstream, and under which rule? |
//! | [`found`] | what is stored, and what may be done with it? |
//! | [`posted`] | where does the answer to JSON lie, and what may be done with it? |
//! | [`items`] | which inputs of an embeddings route are known one by one? |
//! | [`known`] | what may be done with what is known of each? |
//! | [`told`] | what is the client told about it? |

pub mod call;
mod error;
pub mod found;
pub mod items;
pub mod known;
pub mod posted;
pub mod told;

pub use call::Call;
pub use found::{Found, Made};
