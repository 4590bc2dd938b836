//! Any tensors: from the protocol's bytes to ONNX Runtime's values and back.
//!
//! Items of equal shapes run together; a batch of unequal ones is run group by group, because there is
//! no padding that every model would ignore.

use std::sync::Arc;

use brink_protocol::tensor::{Datatype, Tensor, encode_tensors};
use bytes::{BufMut, Bytes, BytesMut};
use half::{bf16, f16};
use ort::session::{SessionInputValue, SessionOutputs};
use ort::value::{DynValue, PrimitiveTensorElementType, Tensor as Value};

use super::wiring::datatype;
use super::{Failed, runtime_error};
use crate::inference::backend::{BackendError, Output, Payload};

/// Places of a batch whose items have equal shapes, in order of their first appearance.
pub(super) fn groups(batch: &[&Payload]) -> Result<Vec<Vec<usize>>, BackendError> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (place, payload) in batch.iter().enumerate() {
        let tensors = payload.tensors()?;
        let alike = |group: &&mut Vec<usize>| {
            let first = batch[group[0]].tensors();
            first.is_ok_and(|first| {
                first.len() == tensors.len()
                    && first.iter().zip(tensors).all(|(a, b)| a.shape == b.shape)
            })
        };
        match groups.iter_mut().find(alike) {
            Some(group) => group.push(place),
            None => groups.push(vec![place]),
        }
    }
    Ok(groups)
}

/// The inputs of a run over items of equal shapes: each is the items' tensors, one after another.
pub(super) fn inputs(
    items: &[&[Tensor]],
    batched: bool,
) -> Result<Vec<SessionInputValue<'static>>, BackendError> {
    let first = items.first().ok_or(BackendError::Payload)?;
    let input = |index: usize| {
        let tensor = &first[index];
        let count = batched.then_some(items.len() as u64);
        let dimensions = count.into_iter().chain(tensor.shape.iter().copied());
        let shape: Vec<i64> = dimensions
            .map(|size| i64::try_from(size).unwrap_or(i64::MAX))
            .collect();
        let mut data = BytesMut::new();
        for item in items {
            data.put_slice(&item[index].data);
        }
        value(tensor.datatype, shape, &data).map(SessionInputValue::from)
    };
    (0..first.len()).map(input).collect()
}

fn value(datatype: Datatype, shape: Vec<i64>, data: &[u8]) -> Result<DynValue, BackendError> {
    match datatype {
        Datatype::Bool => numbers(shape, data, |[byte]| byte != 0),
        Datatype::Uint8 => numbers(shape, data, u8::from_le_bytes),
        Datatype::Uint16 => numbers(shape, data, u16::from_le_bytes),
        Datatype::Uint32 => numbers(shape, data, u32::from_le_bytes),
        Datatype::Uint64 => numbers(shape, data, u64::from_le_bytes),
        Datatype::Int8 => numbers(shape, data, i8::from_le_bytes),
        Datatype::Int16 => numbers(shape, data, i16::from_le_bytes),
        Datatype::Int32 => numbers(shape, data, i32::from_le_bytes),
        Datatype::Int64 => numbers(shape, data, i64::from_le_bytes),
        Datatype::Fp16 => numbers(shape, data, f16::from_le_bytes),
        Datatype::Bf16 => numbers(shape, data, bf16::from_le_bytes),
        Datatype::Fp32 => numbers(shape, data, f32::from_le_bytes),
        Datatype::Fp64 => numbers(shape, data, f64::from_le_bytes),
        Datatype::Bytes => strings(shape, data),
    }
}

fn numbers<T, const SIZE: usize>(
    shape: Vec<i64>,
    data: &[u8],
    read: impl Fn([u8; SIZE]) -> T,
) -> Result<DynValue, BackendError>
where
    T: PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static,
{
    let (cells, _) = data.as_chunks::<SIZE>();
    let cells: Vec<T> = cells.iter().map(|cell| read(*cell)).collect();
    let value = Value::from_array((shape, cells)).map_err(runtime_error)?;
    Ok(value.into_dyn())
}

fn strings(shape: Vec<i64>, data: &[u8]) -> Result<DynValue, BackendError> {
    let tensor = Tensor {
        name: String::new(),
        datatype: Datatype::Bytes,
        shape: Vec::new(),
        data: Bytes::copy_from_slice(data),
    };
    let text = |string: Result<&[u8], _>| {
        let string = string.map_err(|_| BackendError::Payload)?;
        String::from_utf8(string.to_vec()).map_err(|_| BackendError::Payload)
    };
    let texts: Vec<String> = tensor.strings().map(text).collect::<Result<_, _>>()?;
    let value = Value::from_string_array((shape, &texts[..])).map_err(runtime_error)?;
    Ok(value.into_dyn())
}

/// How large the result of one item may be. Only a run shows how large it is, where the model has dimensions
/// that are free.
#[derive(Clone, Debug)]
pub(super) struct OutputLimit {
    /// The model, for the error.
    pub(super) model: Arc<str>,
    /// Most bytes of all outputs together.
    pub(super) most: usize,
}

impl OutputLimit {
    /// Looks at the outputs before they are copied. All items of a run have equal shapes, so one stands for
    /// all; of strings only their number counts here, and their bytes where the answer is put together.
    pub(super) fn check(
        &self,
        given: &SessionOutputs<'_>,
        names: &[String],
        items: usize,
    ) -> Result<(), BackendError> {
        let sizes = (0..names.len()).map(|index| {
            let kind = given[index].dtype();
            let cell = kind.tensor_type().and_then(datatype);
            let cell = cell.and_then(Datatype::size).unwrap_or(size_of::<u32>());
            let cells = kind.tensor_shape().map_or(0, |shape| shape.num_elements());
            cells.saturating_mul(cell) / items.max(1)
        });
        self.check_sizes(names, sizes)
    }

    fn check_sizes(
        &self,
        names: &[String],
        sizes: impl Iterator<Item = usize>,
    ) -> Result<(), BackendError> {
        let mut bytes = 0usize;
        for (name, size) in names.iter().zip(sizes) {
            bytes = bytes.saturating_add(size);
            if bytes > self.most {
                return Err(BackendError::OutputTooLarge {
                    model: Arc::clone(&self.model),
                    output: name.as_str().into(),
                    bytes,
                    most: self.most,
                });
            }
        }
        Ok(())
    }
}

/// What a run gave for each of its items.
pub(super) fn outputs(
    given: &SessionOutputs<'_>,
    names: &[String],
    items: usize,
    batched: bool,
) -> Result<Vec<Output>, BackendError> {
    let mut of_items = vec![Vec::with_capacity(names.len()); items];
    for (index, name) in names.iter().enumerate() {
        let tensor = tensor(name, &given[index])?;
        if !batched {
            of_items[0].push(tensor);
            continue;
        }
        let rows = tensor.rows().unwrap_or_default();
        if rows.len() != items {
            return Err(BackendError::Shape {
                expected: items,
                actual: rows.len(),
            });
        }
        for (item, row) in of_items.iter_mut().zip(rows) {
            item.push(row);
        }
    }
    Ok(of_items.iter().map(|item| encode_tensors(item)).collect())
}

fn tensor(name: &str, value: &DynValue) -> Result<Tensor, BackendError> {
    let elements = value.dtype().tensor_type().and_then(datatype);
    let datatype = elements.ok_or_else(|| failed(format!("the output {name} is no tensor")))?;
    let (shape, data) = match datatype {
        Datatype::Bool => bytes(value, |it: &bool, out| out.put_u8(u8::from(*it)))?,
        Datatype::Uint8 => bytes(value, |it: &u8, out| out.put_u8(*it))?,
        Datatype::Uint16 => bytes(value, |it: &u16, out| out.put_u16_le(*it))?,
        Datatype::Uint32 => bytes(value, |it: &u32, out| out.put_u32_le(*it))?,
        Datatype::Uint64 => bytes(value, |it: &u64, out| out.put_u64_le(*it))?,
        Datatype::Int8 => bytes(value, |it: &i8, out| out.put_i8(*it))?,
        Datatype::Int16 => bytes(value, |it: &i16, out| out.put_i16_le(*it))?,
        Datatype::Int32 => bytes(value, |it: &i32, out| out.put_i32_le(*it))?,
        Datatype::Int64 => bytes(value, |it: &i64, out| out.put_i64_le(*it))?,
        Datatype::Fp16 => bytes(value, |it: &f16, out| out.put_slice(&it.to_le_bytes()))?,
        Datatype::Bf16 => bytes(value, |it: &bf16, out| out.put_slice(&it.to_le_bytes()))?,
        Datatype::Fp32 => bytes(value, |it: &f32, out| out.put_f32_le(*it))?,
        Datatype::Fp64 => bytes(value, |it: &f64, out| out.put_f64_le(*it))?,
        Datatype::Bytes => text(value)?,
    };
    Ok(Tensor {
        name: name.to_owned(),
        datatype,
        shape: shape
            .iter()
            .map(|size| u64::try_from(*size).unwrap_or(0))
            .collect(),
        data,
    })
}

fn bytes<T: PrimitiveTensorElementType + 'static>(
    value: &DynValue,
    write: impl Fn(&T, &mut BytesMut),
) -> Result<(Vec<i64>, Bytes), BackendError> {
    let (shape, cells) = value.try_extract_tensor::<T>().map_err(runtime_error)?;
    let mut data = BytesMut::with_capacity(size_of_val(cells));
    for cell in cells {
        write(cell, &mut data);
    }
    Ok((shape.to_vec(), data.freeze()))
}

fn text(value: &DynValue) -> Result<(Vec<i64>, Bytes), BackendError> {
    let (shape, strings) = value.try_extract_strings().map_err(runtime_error)?;
    let mut data = BytesMut::new();
    for string in strings {
        data.put_u32_le(u32::try_from(string.len()).unwrap_or(u32::MAX));
        data.put_slice(string.as_bytes());
    }
    Ok((shape.to_vec(), data.freeze()))
}

fn failed(message: String) -> BackendError {
    BackendError::Runtime(std::sync::Arc::new(Failed(message)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(shape: &[u64]) -> Payload {
        Payload::Tensors(vec![Tensor {
            name: "x".to_owned(),
            datatype: Datatype::Uint8,
            shape: shape.to_vec(),
            data: Bytes::new(),
        }])
    }

    #[test]
    fn outputs_beyond_the_limit_are_named_with_model_and_limit() {
        let limit = OutputLimit {
            model: "m".into(),
            most: 100,
        };
        let names = ["a", "b"].map(str::to_owned);
        let check = |sizes: [usize; 2]| limit.check_sizes(&names, sizes.into_iter());
        assert!(check([40, 60]).is_ok());
        let error = check([40, 61]).expect_err("101 bytes");
        assert_eq!(
            error.to_string(),
            "the output b of model m has 101 bytes for this input; at most 100 are allowed (inference.max_output_mib)"
        );
        assert!(!error.is_the_models_fault());
        assert!(check([usize::MAX, 1]).is_err());
    }

    #[test]
    fn items_of_equal_shapes_are_one_group() {
        let (a, b) = (payload(&[2, 3]), payload(&[3, 2]));
        let groups = groups(&[&a, &b, &a]).expect("tensors");
        assert_eq!(groups, [vec![0, 2], vec![1]]);
        assert!(super::groups(&[&Payload::Tokens(vec![1])]).is_err());
    }
}
