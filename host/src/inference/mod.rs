//! Runs models: the only module that names `ort`, and the only one that reads model folders.
//!
//! ```text
//!  model folder --ModelFiles--> Reader    input -> payload     (any thread)
//!                          |--> Session   payloads -> results  (one thread each)
//!                          \--> Decoder   tokens -> logits      (one thread each)
//! ```
//!
//! Everything above talks to the [`Backend`] trait, so scheduling is tested without a model.
//! Not here: queues, threads and batches (see [`crate::batch`]).

mod backend;
mod config;
mod device;
mod generate;
mod memory;
mod model;
mod open;
mod read;
mod runtime;
mod session;

pub use backend::{Backend, BackendError, Output, Payload, Prepare, Prepared};
pub use config::{InferenceConfig, InferenceConfigError, MAX_NICENESS};
pub use device::{Device, DeviceChoice, ParseDeviceError};
pub use generate::{Decoder, Logits, OpenedDecoder, open_decoder};
pub use memory::{give_back as give_memory_back, resident_bytes};
pub use model::{
    BatchSettings, BytesInput, Claim, Classification, ClassifierInput, DecodeSettings, Embedding,
    Generation, ImageInput, MANIFEST, Manifest, ModelError, ModelFiles, ModelFolder, ModelTask,
    Pooling, Resize, RunSettings, WarmUp,
};
pub use open::{SessionError, Sessions, open_sessions};
pub use read::{
    ImageError, ImageReader, InputError, PromptPiece, Reader, TensorMismatch, TokenLimits,
    Tokenizer, TokenizerError, Vocabulary, model_kind,
};
pub use runtime::{Runtime, RuntimeError};
pub use session::{Interface, LoadError, Placement, Session, WiringError};
