//! The inputs of a run: who fills them, and where they lie.
//!
//! A [`Feed`] writes a batch into cells and does not know whose they are: vectors that are kept from run to
//! run ([`Buffers`]), or tensors that the runtime's allocator gave, pinned for a device
//! (see [`super::binding`]). All inputs of a feed have one shape.

use half::f16;
use ort::session::SessionInputValue;
use ort::value::{DynTensor, TensorElementType, TensorRef};

use super::runtime_error;
use crate::inference::backend::{BackendError, Payload};

/// Turns payloads into the inputs of a model.
pub(super) trait Feed: Send {
    /// The elements of each input, in the model's order.
    fn elements(&self) -> Vec<TensorElementType>;

    /// The shape of each input for a batch that is filled up to `at_least` items and units.
    fn shape(&self, batch: &[&Payload], at_least: [usize; 2]) -> Result<Vec<usize>, BackendError>;

    /// Writes every cell of one input; what was in them before means nothing.
    fn write(
        &self,
        input: usize,
        batch: &[&Payload],
        shape: &[usize],
        cells: Cells<'_>,
    ) -> Result<(), BackendError>;
}

/// The elements of an input. A feed is given the type that it asked for.
pub(super) enum Cells<'a> {
    I64(&'a mut [i64]),
    I32(&'a mut [i32]),
    F32(&'a mut [f32]),
    F16(&'a mut [f16]),
}

/// The cells of a tensor that the processor can reach.
pub(super) fn cells_of(tensor: &mut DynTensor) -> Result<Cells<'_>, BackendError> {
    let elements = *tensor.data_type();
    match elements {
        TensorElementType::Int64 => tensor
            .try_extract_tensor_mut()
            .map(|(_, it)| Cells::I64(it)),
        TensorElementType::Int32 => tensor
            .try_extract_tensor_mut()
            .map(|(_, it)| Cells::I32(it)),
        TensorElementType::Float16 => tensor
            .try_extract_tensor_mut()
            .map(|(_, it)| Cells::F16(it)),
        _ => tensor
            .try_extract_tensor_mut()
            .map(|(_, it)| Cells::F32(it)),
    }
    .map_err(runtime_error)
}

/// The inputs of a batch in memory of our own, kept from run to run.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    shape: Vec<usize>,
    inputs: Vec<Buffer>,
}

#[derive(Debug)]
enum Buffer {
    I64(Vec<i64>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    F16(Vec<f16>),
}

impl Buffers {
    /// Writes a batch.
    pub(super) fn fill(
        &mut self,
        feed: &dyn Feed,
        batch: &[&Payload],
        at_least: [usize; 2],
    ) -> Result<(), BackendError> {
        if self.inputs.is_empty() {
            self.inputs = feed.elements().into_iter().map(Buffer::of).collect();
        }
        self.shape = feed.shape(batch, at_least)?;
        let count = self.shape.iter().product();
        for (index, buffer) in self.inputs.iter_mut().enumerate() {
            feed.write(index, batch, &self.shape, buffer.cells(count))?;
        }
        Ok(())
    }

    /// The tensors of the batch that was written.
    pub(super) fn values(&self) -> ort::Result<Vec<SessionInputValue<'_>>> {
        let inputs = self.inputs.iter();
        inputs.map(|buffer| buffer.value(&self.shape)).collect()
    }
}

impl Buffer {
    fn of(elements: TensorElementType) -> Self {
        match elements {
            TensorElementType::Int64 => Self::I64(Vec::new()),
            TensorElementType::Int32 => Self::I32(Vec::new()),
            TensorElementType::Float16 => Self::F16(Vec::new()),
            _ => Self::F32(Vec::new()),
        }
    }

    fn value<'a>(&'a self, shape: &'a [usize]) -> ort::Result<SessionInputValue<'a>> {
        Ok(match self {
            Self::I64(cells) => TensorRef::from_array_view((shape, &cells[..]))?.into(),
            Self::I32(cells) => TensorRef::from_array_view((shape, &cells[..]))?.into(),
            Self::F32(cells) => TensorRef::from_array_view((shape, &cells[..]))?.into(),
            Self::F16(cells) => TensorRef::from_array_view((shape, &cells[..]))?.into(),
        })
    }

    fn cells(&mut self, count: usize) -> Cells<'_> {
        match self {
            Self::I64(cells) => Cells::I64(resized(cells, count)),
            Self::I32(cells) => Cells::I32(resized(cells, count)),
            Self::F32(cells) => Cells::F32(resized(cells, count)),
            Self::F16(cells) => Cells::F16(resized(cells, count)),
        }
    }
}

fn resized<T: Clone + Default>(cells: &mut Vec<T>, count: usize) -> &mut [T] {
    cells.resize(count, T::default());
    cells
}
