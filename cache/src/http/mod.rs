//! What a response's headers mean to a shared cache.
//!
//! | module | answers |
//! | --- | --- |
//! | [`response`] | may this response be stored, and how long does it live? |
//! | [`targeted`] | which of `CDN-Cache-Control` and `Cache-Control` has the say? |
//! | [`etag`] | does the client have the current representation already? |
//! | [`vary`] | which request headers chose this response? |
//! | [`groups`] | which stored responses go together? |
//! | [`shared`] | what does a shared cache in front of a service do with a request and a response? |
//!
//! There are no heuristics (RFC 9111 §4.2.2 leaves them to the cache): a response without
//! explicit freshness is stale from the start. Field values are text; where a field occurs
//! several times, the caller joins the values with commas (RFC 9110 §5.3).

mod directives;
pub mod etag;
pub mod groups;
pub mod response;
pub mod shared;
pub mod targeted;
pub mod vary;

pub use etag::{EntityTag, IfNoneMatch};
pub use response::{Refusal, ResponseControl};
pub use vary::{VariantKey, Vary};
