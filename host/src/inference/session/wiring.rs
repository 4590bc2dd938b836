//! How a model's inputs are filled and its outputs read, and whether it has those that its folder says.

use brink_protocol::tensor::{Datatype, Tensor, TensorInfo};
use ort::value::{Outlet, TensorElementType};

use super::Interface;
use super::inputs::Feed;
use super::outputs::{Numbers, NumbersShape};
use super::pixels::PixelFeed;
use super::tokens::TokenFeed;
use crate::inference::backend::Payload;
use crate::inference::model::{ClassifierInput, ModelFiles, ModelTask, WarmUp};

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
    /// A shape to warm up with, of an input that is none.
    #[error("model.toml has warm_up.shapes.{name}; the inputs of the model are {}", inputs.join(", "))]
    WarmUpInput {
        /// The name there.
        name: String,
        /// Those that the model has.
        inputs: Vec<String>,
    },
    /// A shape to warm up with that the input does not take.
    #[error(
        "warm_up.shapes.{name} of model.toml is {given:?}; the model takes {wanted:?} (-1: any)"
    )]
    WarmUpShape {
        /// The input.
        name: String,
        /// What `model.toml` says.
        given: Vec<u64>,
        /// What the ONNX file says.
        wanted: Vec<i64>,
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
            let blanks = blanks(&interface, &files.manifest.warm_up)?;
            Ok((Wiring::Tensors(interface), Payload::Tensors(blanks)))
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

/// An item of zeros that the model takes: of the shapes that its folder names, or of one where any size will
/// do.
fn blanks(interface: &Interface, warm_up: &WarmUp) -> Result<Vec<Tensor>, WiringError> {
    let inputs = &interface.inputs;
    let is_input = |name: &String| inputs.iter().any(|info| info.name == *name);
    if let Some(name) = warm_up.shapes.keys().find(|name| !is_input(name)) {
        return Err(WiringError::WarmUpInput {
            name: name.clone(),
            inputs: inputs.iter().map(|info| info.name.clone()).collect(),
        });
    }
    let tensor = |info: &TensorInfo| match warm_up.shapes.get(&info.name) {
        None => Ok(blank(
            info,
            info.shape
                .iter()
                .map(|size| u64::try_from(*size).unwrap_or(1)),
        )),
        Some(given) => {
            let item = &given[usize::from(interface.batched).min(given.len())..];
            if !info.takes(item) {
                let batch = interface.batched.then_some(-1);
                return Err(WiringError::WarmUpShape {
                    name: info.name.clone(),
                    given: given.clone(),
                    wanted: batch
                        .into_iter()
                        .chain(info.shape.iter().copied())
                        .collect(),
                });
            }
            Ok(blank(info, item.iter().copied()))
        }
    };
    inputs.iter().map(tensor).collect()
}

/// A tensor of zeros.
fn blank(info: &TensorInfo, shape: impl Iterator<Item = u64>) -> Tensor {
    let shape: Vec<u64> = shape.collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Pictures of any size, and a number.
    fn interface(batched: bool) -> Interface {
        let info = |name: &str, shape: &[i64]| TensorInfo {
            name: name.to_owned(),
            datatype: Datatype::Fp32,
            shape: shape.to_vec(),
        };
        Interface {
            inputs: vec![info("pixels", &[3, -1, -1]), info("scale", &[])],
            outputs: Vec::new(),
            batched,
        }
    }

    fn warm_up(name: &str, shape: &[u64]) -> WarmUp {
        WarmUp {
            shapes: [(name.to_owned(), shape.to_vec())].into(),
        }
    }

    #[test]
    fn blank_item_has_the_shape_that_the_folder_names() {
        let shapes = |batched, warm_up: &WarmUp| {
            let blanks = blanks(&interface(batched), warm_up).expect("shapes that fit");
            assert!(blanks.iter().all(|tensor| tensor.check().is_ok()));
            blanks
                .into_iter()
                .map(|tensor| tensor.shape)
                .collect::<Vec<_>>()
        };
        assert_eq!(shapes(true, &WarmUp::default()), [vec![3, 1, 1], vec![]]);
        let eight = warm_up("pixels", &[1, 3, 8, 8]);
        assert_eq!(shapes(true, &eight), [vec![3, 8, 8], vec![]]);
        let eight = warm_up("pixels", &[3, 8, 8]);
        assert_eq!(shapes(false, &eight), [vec![3, 8, 8], vec![]]);
    }

    #[test]
    fn shapes_that_the_model_does_not_take_are_told_with_those_it_does() {
        let check = |warm_up: &WarmUp, part: &str| {
            let error = blanks(&interface(true), warm_up)
                .expect_err(part)
                .to_string();
            assert!(error.contains(part), "{error}");
        };
        check(
            &warm_up("pixel", &[1, 3, 8, 8]),
            "the inputs of the model are pixels, scale",
        );
        check(
            &warm_up("pixels", &[1, 4, 8, 8]),
            "is [1, 4, 8, 8]; the model takes [-1, 3, -1, -1] (-1: any)",
        );
        check(&warm_up("pixels", &[1]), "is [1]; the model takes");
    }
}
