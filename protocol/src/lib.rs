//! What Brink's edge and host say to each other.
//!
//! Five calls, all HTTP, all answered with a binary [`message`], or a stream of such:
//!
//! | call | body | answer |
//! | --- | --- | --- |
//! | `GET /brink/v1/catalog` | - | [`Catalog`]: which models there are, and their digests |
//! | `POST /brink/v1/infer` | [`InferRequest`]: everything that one request lacks | [`InferReply`] |
//! | `POST /brink/v1/tokenize` | [`TokenizeRequest`]: some texts | [`TokenizeReply`] |
//! | `POST /brink/v1/generate` | [`GenerateRequest`]: a prompt | [`GenerateEvent`]s, each in a [frame](generate::frame) |
//! | `POST /brink/v1/stream` | [`StreamRequest`]: a text that is kept | the same, or nothing |
//!
//! The status code says the same as the answer's [`Fault`], for logs and proxies between
//! the two; the edge decides by the `Fault` alone.

pub mod catalog;
pub mod fault;
pub mod generate;
pub mod infer;
pub mod limits;
pub mod message;
pub mod pieces;
pub mod refusal;
pub mod tensor;
pub mod tokenize;

pub use catalog::{Catalog, ModelInfo, ModelKind, Reads, TextLimits};
pub use fault::{Fault, FaultCode};
pub use generate::{GENERATE_PATH, GenerateEvent, GenerateRequest, STREAM_PATH, StreamRequest};
pub use infer::{
    InferAnswer, InferReply, InferRequest, InferredItem, Input, ModelTime, TenantShare, Timings,
};
pub use tokenize::{TOKENIZE_PATH, Token, TokenizeReply, TokenizeRequest};

/// Path of the catalogue.
pub const CATALOG_PATH: &str = "/brink/v1/catalog";
/// Path of the call for results.
pub const INFER_PATH: &str = "/brink/v1/infer";
/// Media type of every message.
pub const MEDIA_TYPE: &str = "application/vnd.brink.v1";
