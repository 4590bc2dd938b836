//! What the scheduler knows about a model: payloads in, outputs out.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use brink_protocol::tensor::Tensor;
use bytes::Bytes;

/// One result, as [`InferredItem::output`](brink_protocol::InferredItem) describes it. Each has its own
/// allocation, so that keeping one of a batch does not keep the batch.
pub type Output = Bytes;

/// An item as a session reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Token ids, special tokens included. A batch is padded to its longest.
    Tokens(Vec<u32>),
    /// A picture of the model's size: rows of red, green and blue.
    Pixels(Bytes),
    /// A tensor for each of the model's inputs, in their order, without the dimension of the batch.
    Tensors(Vec<Tensor>),
}

impl Payload {
    /// What the item costs beside others of its model: the padding of a batch is counted in this.
    /// Tokens; elements of tensors; one for a picture, because all of a model are alike.
    pub fn size(&self) -> usize {
        match self {
            Self::Tokens(ids) => ids.len(),
            Self::Pixels(_) => 1,
            Self::Tensors(tensors) => {
                let elements = tensors.iter().map(|tensor| tensor.elements().unwrap_or(0));
                elements.sum::<usize>().max(1)
            }
        }
    }

    /// What the item holds in memory, without the few words around it.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Tokens(ids) => size_of_val(ids.as_slice()),
            Self::Pixels(pixels) => pixels.len(),
            Self::Tensors(tensors) => tensors.iter().map(|tensor| tensor.data.len()).sum(),
        }
    }

    /// The token ids, for a model that reads those.
    pub(super) fn tokens(&self) -> Result<&[u32], BackendError> {
        match self {
            Self::Tokens(ids) => Ok(ids),
            Self::Pixels(_) | Self::Tensors(_) => Err(BackendError::Payload),
        }
    }

    /// The pixels, for a model that reads pictures.
    pub(super) fn pixels(&self) -> Result<&[u8], BackendError> {
        match self {
            Self::Pixels(pixels) => Ok(pixels),
            Self::Tokens(_) | Self::Tensors(_) => Err(BackendError::Payload),
        }
    }

    /// The tensors, for a model that reads any.
    pub(super) fn tensors(&self) -> Result<&[Tensor], BackendError> {
        match self {
            Self::Tensors(tensors) => Ok(tensors),
            Self::Tokens(_) | Self::Pixels(_) => Err(BackendError::Payload),
        }
    }
}

/// What a [`Prepare`] made of a batch for the [`Backend`] it came from; only those two know what.
pub type Prepared = Box<dyn Any + Send>;

/// Does what a run needs the processor for, so that the device does not wait: pads, converts. It
/// has a thread of its own, which prepares the next batch while the backend runs the last.
pub trait Prepare: Send {
    /// Prepares a batch. After an error the batch is run without.
    fn prepare(&mut self, batch: &[&Payload]) -> Result<Prepared, BackendError>;
}

/// A model that can run a batch. Owned by one thread, because a run needs the session alone.
pub trait Backend: Send {
    /// The outputs of a batch, in its order. An error concerns the batch as a whole: which item
    /// was to blame is found by splitting it.
    fn run(&mut self, batch: &[&Payload]) -> Result<Vec<Output>, BackendError>;

    /// Gives memory of past runs back. Called after some idle time, never between busy batches.
    fn shrink(&mut self) -> Result<(), BackendError>;

    /// What can prepare batches for [`Backend::run_prepared`]; `None` if a run does everything.
    /// Asked for once, before the first run, and only where batches are prepared ahead.
    fn preparer(&self) -> Option<Box<dyn Prepare>> {
        None
    }

    /// The same as [`Backend::run`], on what the preparer made of this batch.
    fn run_prepared(
        &mut self,
        batch: &[&Payload],
        _prepared: Prepared,
    ) -> Result<Vec<Output>, BackendError> {
        self.run(batch)
    }

    /// Sizes of items to measure at warm-up, in the units of [`Payload::size`]. None if the backend
    /// cannot be measured before it serves.
    fn probe_sizes(&self) -> Vec<usize> {
        Vec::new()
    }

    /// Runs so many blank items of a size and says how long it took. `None` if the model has no
    /// such input.
    fn probe(&mut self, _items: usize, _size: usize) -> Result<Option<Duration>, BackendError> {
        Ok(None)
    }
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
    /// The runtime refuses this input, and runs others.
    #[error("the model cannot compute this input")]
    Refused(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The result of this input is larger than any call may get.
    #[error(
        "the output {output} of model {model} has {bytes} bytes for this input; at most {most} are allowed \
         (inference.max_output_mib)"
    )]
    OutputTooLarge {
        /// The model.
        model: Arc<str>,
        /// The output with which it became too much.
        output: Arc<str>,
        /// Bytes of the outputs up to that one.
        bytes: usize,
        /// The limit.
        most: usize,
    },
    /// The payload is of a kind that this model does not read: a defect of ours.
    #[error("the model does not read this kind of input")]
    Payload,
    /// A vector with NaN or infinity compares with nothing and must not be kept.
    #[error("the model gave a vector with numbers that are not finite")]
    NotFinite,
    /// A defect in the backend itself; the batch is lost, the thread goes on.
    #[error("the backend panicked: {0}")]
    Panicked(Arc<str>),
}

impl BackendError {
    /// Whether the model is to blame rather than the items.
    pub fn is_the_models_fault(&self) -> bool {
        match self {
            Self::Runtime(_) | Self::Shape { .. } | Self::Panicked(_) => true,
            Self::Refused(_) | Self::OutputTooLarge { .. } | Self::Payload | Self::NotFinite => {
                false
            }
        }
    }

    /// A stable name for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Runtime(_) => "runtime",
            Self::Shape { .. } => "shape",
            Self::Refused(_) => "refused",
            Self::OutputTooLarge { .. } => "output-too-large",
            Self::Payload => "payload",
            Self::NotFinite => "not-finite",
            Self::Panicked(_) => "panic",
        }
    }
}
