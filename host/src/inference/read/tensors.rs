//! Tensors of a client, held against what the model takes.

use brink_protocol::tensor::{Datatype, Tensor, TensorError, TensorInfo};

use crate::inference::backend::Payload;

/// Reads tensors.
#[derive(Debug)]
pub struct TensorReader(Vec<TensorInfo>);

/// Why tensors are not the model's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorMismatch {
    /// More or fewer than the model has inputs.
    #[error("there are {given} tensors; the model has the inputs {}", names.join(", "))]
    Count {
        /// How many came.
        given: usize,
        /// What the model has.
        names: Vec<String>,
    },
    /// Another name or order.
    #[error("the model has no input of the name given in place {place}; there it has {wanted}")]
    Name {
        /// From 0.
        place: usize,
        /// The model's name.
        wanted: String,
    },
    /// Other elements.
    #[error("the tensor {name} is {}; the model takes {}", given.name(), wanted.name())]
    Datatype {
        /// The model's name.
        name: String,
        /// What came.
        given: Datatype,
        /// What the model takes.
        wanted: Datatype,
    },
    /// Another shape.
    #[error("the tensor {name} has the shape {given:?}; the model takes {wanted:?} (-1: any)")]
    Shape {
        /// The model's name.
        name: String,
        /// What came, without the dimension of the batch.
        given: Vec<u64>,
        /// What the model takes.
        wanted: Vec<i64>,
    },
    /// Its parts disagree.
    #[error("the tensor {name} {source}")]
    Parts {
        /// The model's name.
        name: String,
        /// What is wrong.
        source: TensorError,
    },
    /// A string that is no text, or has a character that ends strings in the runtime.
    #[error("the tensor {name} has a string that is no UTF-8, or has a zero byte")]
    Utf8 {
        /// The model's name.
        name: String,
    },
}

impl TensorReader {
    pub(super) fn new(inputs: Vec<TensorInfo>) -> Self {
        Self(inputs)
    }

    pub(super) fn read(&self, tensors: &[Tensor]) -> Result<Payload, TensorMismatch> {
        if tensors.len() != self.0.len() {
            return Err(TensorMismatch::Count {
                given: tensors.len(),
                names: self.0.iter().map(|info| info.name.clone()).collect(),
            });
        }
        for (place, (tensor, info)) in tensors.iter().zip(&self.0).enumerate() {
            check(place, tensor, info)?;
        }
        Ok(Payload::Tensors(tensors.to_vec()))
    }
}

fn check(place: usize, tensor: &Tensor, info: &TensorInfo) -> Result<(), TensorMismatch> {
    let name = || info.name.clone();
    if tensor.name != info.name {
        return Err(TensorMismatch::Name {
            place,
            wanted: name(),
        });
    }
    if tensor.datatype != info.datatype {
        return Err(TensorMismatch::Datatype {
            name: name(),
            given: tensor.datatype,
            wanted: info.datatype,
        });
    }
    if !info.takes(&tensor.shape) {
        return Err(TensorMismatch::Shape {
            name: name(),
            given: tensor.shape.clone(),
            wanted: info.shape.clone(),
        });
    }
    tensor.check().map_err(|source| TensorMismatch::Parts {
        name: name(),
        source,
    })?;
    let is_text = |string: Result<&[u8], _>| {
        string.is_ok_and(|it| std::str::from_utf8(it).is_ok() && !it.contains(&0))
    };
    if tensor.datatype == Datatype::Bytes && !tensor.strings().all(is_text) {
        return Err(TensorMismatch::Utf8 { name: name() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn tensor(name: &str, datatype: Datatype, shape: &[u64], data: &[u8]) -> Tensor {
        Tensor {
            name: name.to_owned(),
            datatype,
            shape: shape.to_vec(),
            data: Bytes::copy_from_slice(data),
        }
    }

    #[test]
    fn tensors_that_are_not_the_models_are_named() {
        let info = |name: &str, datatype, shape: &[i64]| TensorInfo {
            name: name.to_owned(),
            datatype,
            shape: shape.to_vec(),
        };
        let reader = TensorReader::new(vec![
            info("x", Datatype::Fp32, &[2, -1]),
            info("s", Datatype::Bytes, &[1]),
        ]);
        let x = || tensor("x", Datatype::Fp32, &[2, 1], &[0; 8]);
        let s = |data: &[u8]| tensor("s", Datatype::Bytes, &[1], data);
        assert!(reader.read(&[x(), s(b"\x01\0\0\0a")]).is_ok());
        let check = |tensors: &[Tensor], part: &str| {
            let error = reader.read(tensors).expect_err(part).to_string();
            assert!(error.contains(part), "{error}");
        };
        check(&[x()], "there are 1 tensors; the model has the inputs x, s");
        check(&[s(b""), x()], "in place 0; there it has x");
        let other = tensor("x", Datatype::Int64, &[2, 1], &[0; 16]);
        check(
            &[other, s(b"")],
            "the tensor x is INT64; the model takes FP32",
        );
        let other = tensor("x", Datatype::Fp32, &[1, 2], &[0; 8]);
        check(
            &[other, s(b"")],
            "the tensor x has the shape [1, 2]; the model takes [2, -1]",
        );
        let other = tensor("x", Datatype::Fp32, &[2, 1], &[0; 7]);
        check(&[other, s(b"")], "the tensor x has 7 bytes");
        check(&[x(), s(b"\x01\0\0\0\0")], "or has a zero byte");
        check(
            &[x(), s(b"\x01\0\0\0\xff")],
            "the tensor s has a string that is no UTF-8",
        );
    }
}
