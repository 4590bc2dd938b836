//! `POST /v1/embeddings`: from a body to per-item keys, and from entries to an answer.

mod answer;
mod input;
mod plan;
mod request;
mod vector;

pub use answer::{Answer, Stored, Timing};
pub use plan::{Fetched, Plan, Resolved};
pub use request::{EncodingFormat, Request};
