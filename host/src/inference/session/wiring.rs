//! How a model's inputs are filled and its outputs read, and whether it has those that its folder says.

use brink_protocol::tensor::{Datatype, Tensor, TensorInfo};
use ort::value::{Outlet, TensorElementType};

use super::Interface;
use super::inputs::Feed;
use super::outputs::{Numbers, NumbersShape};
use super::pixels::PixelFeed;
use super::tokens::TokenFeed;
use crate::inference::backend::Payload;
use crate::inference::model::{ClassifierInput, ModelFiles, ModelTask};

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
    /// It has not the inputs and outputs of a decoder.
    #[error("the model is no decoder that shares its keys and values from run to run: {0}")]
    NoDecoder(String),
    /// Its runs depend on those before, which a batch does not know: see `inference::generate`.
    #[error("the model writes text, and does not run batches of items")]
    Writes,
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

/// Ids of a warm-up input. Any do; most vocabularies have some hundred.
const WARM_UP: [u32; 4] = [1; 4];

/// How payloads become inputs, and outputs results.
pub(super) enum Wiring {
    Numbers(Box<dyn Feed>, Numbers),
    Tensors(Interface),
}

/// Holds the model against its folder. Also gives an item that the model takes.
pub(super) fn wire(
    session: &ort::session::Session,
    files: &ModelFiles,
) -> Result<(Wiring, Payload), WiringError> {
    let tokens = || Payload::Tokens(WARM_UP.to_vec());
    match &files.manifest.task {
        ModelTask::Embed(it) => {
            let shape = NumbersShape::Vector {
                pooling: it.pooling,
                normalize: it.normalize,
            };
            let numbers = numbers(session, None, it.dimensions as usize, shape)?;
            let feed = TokenFeed::of_text(session)?;
            Ok((Wiring::Numbers(Box::new(feed), numbers), tokens()))
        }
        ModelTask::Classify(it) => {
            let shape = NumbersShape::Scores { logits: it.logits };
            let output = it.output.as_deref();
            let numbers = numbers(session, output, files.labels.len(), shape)?;
            Ok(match &it.input {
                ClassifierInput::Text { .. } => {
                    let feed = TokenFeed::of_text(session)?;
                    (Wiring::Numbers(Box::new(feed), numbers), tokens())
                }
                ClassifierInput::Bytes(bytes) => {
                    let feed = TokenFeed::of_numbers(session, &bytes.tensor)?;
                    let blank = vec![bytes.padding; (bytes.begin + bytes.end) as usize];
                    (
                        Wiring::Numbers(Box::new(feed), numbers),
                        Payload::Tokens(blank),
                    )
                }
                ClassifierInput::Image(image) => {
                    let feed = PixelFeed::new(session, image)?;
                    let size = image.width as usize * image.height as usize * 3;
                    (
                        Wiring::Numbers(Box::new(feed), numbers),
                        Payload::Pixels(vec![0; size].into()),
                    )
                }
            })
        }
        ModelTask::Generic { batched } => {
            let interface = Interface {
                inputs: infos(session.inputs(), *batched)?,
                outputs: infos(session.outputs(), *batched)?,
                batched: *batched,
            };
            let blank = interface.inputs.iter().map(blank).collect();
            Ok((Wiring::Tensors(interface), Payload::Tensors(blank)))
        }
        ModelTask::Generate(_) => Err(WiringError::Writes),
    }
}

fn numbers(
    session: &ort::session::Session,
    name: Option<&str>,
    per_item: usize,
    shape: NumbersShape,
) -> Result<Numbers, WiringError> {
    let mut outputs = session.outputs().iter().map(|output| output.name());
    let output = match name {
        None => outputs.next().ok_or(WiringError::NoOutputs)?,
        Some(name) => outputs
            .find(|output| *output == name)
            .ok_or_else(|| WiringError::NoOutput(name.to_owned()))?,
    };
    Ok(Numbers {
        output: output.to_owned(),
        per_item,
        shape,
    })
}

/// A tensor of zeros that fits; where any size will do, of one.
fn blank(info: &TensorInfo) -> Tensor {
    let shape: Vec<u64> = info
        .shape
        .iter()
        .map(|size| u64::try_from(*size).unwrap_or(1))
        .collect();
    let elements: u64 = shape.iter().product();
    // Strings are empty: a length of zero.
    let bytes = elements * info.datatype.size().unwrap_or(4) as u64;
    Tensor {
        name: info.name.clone(),
        datatype: info.datatype,
        shape,
        data: vec![0; usize::try_from(bytes).unwrap_or(0)].into(),
    }
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
