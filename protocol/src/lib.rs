//! What Brink's edge and host say to each other.
//!
//! Two calls, both HTTP, both answered with a binary [`message`]:
//!
//! | call | body | answer |
//! | --- | --- | --- |
//! | `GET /brink/v1/catalog` | - | [`Catalog`]: which models there are, and their digests |
//! | `POST /brink/v1/embed` | [`EmbedRequest`]: all missing items of one request | [`EmbedReply`] |
//!
//! The status code says the same as the answer's [`Fault`], for logs and proxies between
//! the two; the edge decides by the `Fault` alone.

pub mod catalog;
pub mod embed;
pub mod fault;
pub mod limits;
pub mod message;

pub use catalog::{Catalog, ModelInfo};
pub use embed::{
    EmbedAnswer, EmbedReply, EmbedRequest, EmbeddedItem, Input, ModelTime, TenantShare, Timings,
};
pub use fault::{Fault, FaultCode};

/// Path of the catalogue.
pub const CATALOG_PATH: &str = "/brink/v1/catalog";
/// Path of the embedding call.
pub const EMBED_PATH: &str = "/brink/v1/embed";
/// Media type of every message.
pub const MEDIA_TYPE: &str = "application/vnd.brink.v1";
