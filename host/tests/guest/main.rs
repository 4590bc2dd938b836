//! What guests can and cannot do, shown with a real component (`tests/guests/hostile`).
#![expect(clippy::unwrap_used, reason = "all of this is test code, helpers too")]

mod application;
mod bodies;
mod door;
mod isolation;
mod outbound;
mod stores;
mod streaming;
mod support;
