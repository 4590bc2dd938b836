//! What the scheduler knows about a model: token ids in, vectors out.

use std::sync::Arc;

use bytes::Bytes;

/// One result: `f32`, little-endian. Each has its own allocation, so that keeping one of a batch
/// does not keep the batch.
pub type Vector = Bytes;

/// A model that can run a batch. Owned by one thread, because a run needs the session alone.
pub trait Backend: Send {
    /// The vectors of a batch, in its order. An error concerns the batch as a whole: which item
    /// was to blame is found by splitting it.
    fn run(&mut self, batch: &[&[u32]]) -> Result<Vec<Vector>, BackendError>;

    /// Gives memory of past runs back. Called after some idle time, never between busy batches.
    fn shrink(&mut self) -> Result<(), BackendError>;
}

/// Why a batch has no result. `Clone`, because one failure answers every item of a batch.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BackendError {
    /// The runtime refused or failed.
    #[error("the runtime failed: {0}")]
    Runtime(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The model is not the one its folder describes.
    #[error("the model gave {actual} numbers where {expected} were expected")]
    Shape {
        /// Items times dimensions.
        expected: usize,
        /// What came out.
        actual: usize,
    },
    /// A vector with NaN or infinity compares with nothing and must not be kept.
    #[error("the model gave a vector with numbers that are not finite")]
    NotFinite,
    /// A defect in the backend itself; the batch is lost, the thread goes on.
    #[error("the backend panicked: {0}")]
    Panicked(Arc<str>),
}

impl BackendError {
    /// A stable name for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Runtime(_) => "runtime",
            Self::Shape { .. } => "shape",
            Self::NotFinite => "not-finite",
            Self::Panicked(_) => "panic",
        }
    }
}
