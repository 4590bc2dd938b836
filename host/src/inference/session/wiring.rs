//! Whether a model has the inputs and outputs that its folder says it has.

use brink_protocol::tensor::{Datatype, TensorInfo};
use ort::value::{Outlet, TensorElementType};

/// The model is not the one that its folder describes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WiringError {
    /// An input that nothing is known for.
    #[error("the model has an input {0}, which its task does not fill")]
    Input(String),
    /// Several inputs where one is filled.
    #[error("the model has {0} inputs; its task fills one")]
    Count(usize),
    /// No input for the ids.
    #[error("the model has no input for what its task reads")]
    NoInput,
    /// A model without outputs gives no results.
    #[error("the model has no output")]
    NoOutputs,
    /// No output of that name.
    #[error("the model has no output {0}")]
    NoOutput(String),
    /// Elements that the task does not have.
    #[error("{0} of the model has elements of type {1:?}, which its task does not fill or read")]
    Elements(String, Option<TensorElementType>),
    /// No tensor: a sequence or a map.
    #[error("{0} of the model is no tensor")]
    NoTensor(String),
    /// A first dimension that is fixed cannot count items.
    #[error(
        "{name} of the model has the shape {shape:?}; batched = true needs -1 as its first dimension"
    )]
    NoBatch {
        /// The input or output.
        name: String,
        /// Its shape.
        shape: Vec<i64>,
    },
}

pub(super) fn element_type(outlet: &Outlet) -> Option<TensorElementType> {
    outlet.dtype().tensor_type()
}

/// What clients are told of inputs or outputs. Where the first dimension counts items, it is left out.
pub(super) fn infos(outlets: &[Outlet], batched: bool) -> Result<Vec<TensorInfo>, WiringError> {
    outlets.iter().map(|outlet| info(outlet, batched)).collect()
}

fn info(outlet: &Outlet, batched: bool) -> Result<TensorInfo, WiringError> {
    let name = outlet.name().to_owned();
    let (Some(shape), Some(elements)) = (outlet.dtype().tensor_shape(), element_type(outlet))
    else {
        return Err(WiringError::NoTensor(name));
    };
    let Some(datatype) = datatype(elements) else {
        return Err(WiringError::Elements(name, Some(elements)));
    };
    let mut shape = shape.to_vec();
    if batched {
        if shape.first().is_none_or(|first| *first >= 0) {
            return Err(WiringError::NoBatch { name, shape });
        }
        shape.remove(0);
    }
    Ok(TensorInfo {
        name,
        datatype,
        shape,
    })
}

/// The protocol's name of a type of elements.
pub(super) fn datatype(elements: TensorElementType) -> Option<Datatype> {
    Some(match elements {
        TensorElementType::Bool => Datatype::Bool,
        TensorElementType::Uint8 => Datatype::Uint8,
        TensorElementType::Uint16 => Datatype::Uint16,
        TensorElementType::Uint32 => Datatype::Uint32,
        TensorElementType::Uint64 => Datatype::Uint64,
        TensorElementType::Int8 => Datatype::Int8,
        TensorElementType::Int16 => Datatype::Int16,
        TensorElementType::Int32 => Datatype::Int32,
        TensorElementType::Int64 => Datatype::Int64,
        TensorElementType::Float16 => Datatype::Fp16,
        TensorElementType::Float32 => Datatype::Fp32,
        TensorElementType::Float64 => Datatype::Fp64,
        TensorElementType::Bfloat16 => Datatype::Bf16,
        TensorElementType::String => Datatype::Bytes,
        _ => return None,
    })
}
