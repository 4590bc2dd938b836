//! The edge: answers inference requests from a key-value store and asks the host only for
//! what is missing.
//!
//! The rules are plain functions without I/O, so they are tested natively and can be
//! entered from more than one door:
//!
//! ```text
//!  brink:edge/fast (synchronous: plain hits)  --\
//!                                                +--> hit: begin -> settle -> Reply
//!  wasi:http/handler (Spin, and all the rest) --/                     |
//!                                                                     '-> Missing -> the host
//! ```
//!
//! Only `edge`, compiled for Wasm alone, reads bodies, opens stores and calls the host.

pub mod cors;
pub mod default_model;
pub mod destination;
pub mod digest;
pub mod door_stream;
pub mod error;
pub mod error_form;
pub mod forms;
pub mod gathered;
pub mod head;
pub mod hit;
pub mod in_force;
pub mod items;
pub mod json_error;
pub mod kept_stream;
pub mod models;
pub mod models_v2;
pub mod openapi;
pub mod origin;
pub mod priority;
pub mod rate;
pub mod reply;
pub mod request_id;
pub mod resume;
pub mod route;
pub mod ruling;
pub mod stored_keys;
pub mod tei_info;
pub mod tokenize;

#[cfg(all(target_family = "wasm", feature = "component"))]
mod edge;
