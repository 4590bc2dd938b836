//! The native host of Brink.

pub mod api;
pub mod batch;
pub mod guest;
pub mod inference;
pub mod results;
pub mod service;
#[cfg(test)]
mod testing;
