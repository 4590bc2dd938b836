//! Runs models: the only module that names `ort`, and the only one that reads model folders.
//!
//! ```text
//!  model folder --ModelFiles--> Tokenizer   text -> token ids     (any thread)
//!                          \--> Session     token ids -> vectors  (one thread each)
//! ```
//!
//! Everything above talks to the [`Backend`] trait, so scheduling is tested without a model.
//! Not here: queues, threads and batches (see [`crate::batch`]).

mod backend;
mod config;
mod device;
mod memory;
mod model;
mod open;
mod runtime;
mod session;
mod tokenize;

pub use backend::{Backend, BackendError, Output, Payload};
pub use config::{InferenceConfig, InferenceConfigError};
pub use device::{Device, DeviceChoice, ParseDeviceError};
pub use model::{Manifest, ModelError, ModelFiles};
pub use open::{SessionError, Sessions, open_sessions};
pub use runtime::{Runtime, RuntimeError};
pub use session::Session;
pub use tokenize::{InputError, TokenLimits, Tokenizer, TokenizerError};
