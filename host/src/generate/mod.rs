//! Text that a model writes, token by token, for many readers at a time.
//!
//! ```text
//!  Generator::submit --> queue (bounded, fair between tenants) --> one thread per model: Engine --> Decoder
//!        ^  events                                                   |
//!        \------- outbox (merged while nobody reads) <---------------/
//! ```
//!
//! Requests join and leave between the steps of the model (continuous batching): a step costs little more for
//! sixteen texts than for one. What a request gets depends on its prompt, its settings and its seed, and
//! on no other request, but for rounding: see `docs/generation.md`.
//!
//! Not here: running the model (see [`crate::inference`]), HTTP, and what is stored of answers.

mod chat;
mod config;
mod driver;
mod engine;
#[cfg(test)]
mod fake;
mod generator;
mod job;
mod metrics;
mod outbox;
mod pace;
mod paced;
mod prompt;
mod sampling;
mod slots;
mod text;
mod transcript;
mod writing;

#[cfg(test)]
pub(crate) use fake::{ENDLESS, letters};

pub use chat::ChatError;
pub use config::GenerateConfig;
pub use generator::{Answer, Generator, GeneratorOptions, Submission};
pub use metrics::{GenerateMetrics, WriterMetrics};
pub use paced::{PacedAt, PacedText, PacedTokens};
pub use prompt::{Prompts, PromptsError, ReadPrompt};
pub use transcript::{Reader, Transcript};
