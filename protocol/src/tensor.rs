//! Tensors as the Open Inference Protocol names and lays them out.
//!
//! Numbers are little-endian in row-major order. An element of `BYTES` is its length as a `u32`,
//! little-endian, followed by that many bytes: the form of the binary tensor data extension.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Most dimensions of a tensor; ONNX Runtime and clients take no more in practice.
pub const MAX_RANK: usize = 8;

/// Most elements of a tensor, and of its dimensions but those of zero: a model may make room for what a
/// shape says, whatever the data.
pub const MAX_ELEMENTS: u64 = 16 << 20;

/// Media type of a stored list of tensors, as postcard writes it.
pub const TENSORS_MEDIA: &str = "application/vnd.brink.tensors";
/// Media type of a stored list of scores: `f32`, little-endian.
pub const SCORES_MEDIA: &str = "application/vnd.brink.scores";

/// What a tensor's elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Datatype {
    /// One byte, 0 or 1.
    Bool,
    /// Unsigned, 8 bits.
    Uint8,
    /// Unsigned, 16 bits.
    Uint16,
    /// Unsigned, 32 bits.
    Uint32,
    /// Unsigned, 64 bits.
    Uint64,
    /// Signed, 8 bits.
    Int8,
    /// Signed, 16 bits.
    Int16,
    /// Signed, 32 bits.
    Int32,
    /// Signed, 64 bits.
    Int64,
    /// IEEE 754, 16 bits. Has no form in JSON.
    Fp16,
    /// IEEE 754, 32 bits.
    Fp32,
    /// IEEE 754, 64 bits.
    Fp64,
    /// The upper half of an FP32. Has no form in JSON.
    Bf16,
    /// A string of bytes, of any length.
    Bytes,
}

impl Datatype {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Bool,
        Self::Uint8,
        Self::Uint16,
        Self::Uint32,
        Self::Uint64,
        Self::Int8,
        Self::Int16,
        Self::Int32,
        Self::Int64,
        Self::Fp16,
        Self::Fp32,
        Self::Fp64,
        Self::Bf16,
        Self::Bytes,
    ];

    /// The protocol's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::Uint8 => "UINT8",
            Self::Uint16 => "UINT16",
            Self::Uint32 => "UINT32",
            Self::Uint64 => "UINT64",
            Self::Int8 => "INT8",
            Self::Int16 => "INT16",
            Self::Int32 => "INT32",
            Self::Int64 => "INT64",
            Self::Fp16 => "FP16",
            Self::Fp32 => "FP32",
            Self::Fp64 => "FP64",
            Self::Bf16 => "BF16",
            Self::Bytes => "BYTES",
        }
    }

    /// The type of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|datatype| datatype.name() == name)
    }

    /// Bytes of an element; `None` where they differ.
    pub fn size(self) -> Option<usize> {
        match self {
            Self::Bool | Self::Uint8 | Self::Int8 => Some(1),
            Self::Uint16 | Self::Int16 | Self::Fp16 | Self::Bf16 => Some(2),
            Self::Uint32 | Self::Int32 | Self::Fp32 => Some(4),
            Self::Uint64 | Self::Int64 | Self::Fp64 => Some(8),
            Self::Bytes => None,
        }
    }
}

/// What a model reads or gives under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorInfo {
    /// The name in the model.
    pub name: String,
    /// Its elements.
    pub datatype: Datatype,
    /// Its dimensions; -1 where any number will do.
    pub shape: Vec<i64>,
}

impl TensorInfo {
    /// Whether a tensor of this shape is one.
    pub fn takes(&self, shape: &[u64]) -> bool {
        shape.len() == self.shape.len()
            && self
                .shape
                .iter()
                .zip(shape)
                .all(|(wanted, actual)| *wanted < 0 || u64::try_from(*wanted) == Ok(*actual))
    }
}

/// A tensor. Holding one does not mean that its parts agree: see [`Tensor::check`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tensor {
    /// The name in the model.
    pub name: String,
    /// Its elements.
    pub datatype: Datatype,
    /// Its dimensions.
    pub shape: Vec<u64>,
    /// The elements.
    pub data: Bytes,
}

/// The tensors of a result, as they are stored and sent.
pub fn encode_tensors(tensors: &[Tensor]) -> Bytes {
    postcard::to_stdvec(tensors)
        .expect("tensors hold no value that cannot be serialised")
        .into()
}

/// What [`encode_tensors`] wrote, its elements being slices of it; `None` if it is something else.
pub fn decode_tensors(bytes: &Bytes) -> Option<Vec<Tensor>> {
    match postcard::take_from_bytes::<Vec<Borrowed<'_>>>(bytes) {
        Ok((tensors, [])) => {
            let tensors = tensors.into_iter();
            Some(tensors.map(|tensor| tensor.shared_from(bytes)).collect())
        }
        _ => None,
    }
}

/// A tensor within the bytes that it was read from.
#[derive(Deserialize)]
struct Borrowed<'a> {
    name: &'a str,
    datatype: Datatype,
    shape: Vec<u64>,
    data: &'a [u8],
}

impl Borrowed<'_> {
    fn shared_from(self, bytes: &Bytes) -> Tensor {
        Tensor {
            name: self.name.to_owned(),
            datatype: self.datatype,
            shape: self.shape,
            data: bytes.slice_ref(self.data),
        }
    }
}

impl Tensor {
    /// What [`encode_tensors`] writes before the elements. They follow as they are, so they need not be copied to
    /// be written or hashed.
    pub(crate) fn head(&self) -> Vec<u8> {
        postcard::to_stdvec(&(&self.name, self.datatype, &self.shape, self.data.len()))
            .expect("texts and numbers always serialise")
    }
}

/// Why a tensor is none. The message names no tensor: the caller knows which it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// More dimensions than any model has.
    #[error("has {0} dimensions; at most {MAX_RANK} are allowed")]
    Rank(usize),
    /// More elements than could be counted.
    #[error(
        "has the shape {0:?}; at most {MAX_ELEMENTS} elements are allowed, dimensions of zero left out"
    )]
    Shape(Vec<u64>),
    /// Shape and data disagree.
    #[error("has {actual} bytes; its shape and type make {expected}")]
    Size {
        /// What the shape and the type make.
        expected: usize,
        /// What there is.
        actual: usize,
    },
    /// Shape and data disagree, of strings.
    #[error("has {actual} strings; its shape makes {expected}")]
    Strings {
        /// What the shape makes.
        expected: usize,
        /// What there is.
        actual: usize,
    },
    /// The lengths before the strings lead out of the data.
    #[error("has a string at byte {0} that is longer than the data")]
    CutOff(usize),
}

impl Tensor {
    /// Elements that the shape makes; `None` if they cannot be counted.
    pub fn elements(&self) -> Option<usize> {
        let product = self
            .shape
            .iter()
            .try_fold(1u64, |product, size| product.checked_mul(*size));
        usize::try_from(product?).ok()
    }

    /// Whether shape, type and data agree.
    pub fn check(&self) -> Result<(), TensorError> {
        if self.shape.len() > MAX_RANK {
            return Err(TensorError::Rank(self.shape.len()));
        }
        let too_large = || TensorError::Shape(self.shape.clone());
        let spanned = self
            .shape
            .iter()
            .try_fold(1u64, |product, size| product.checked_mul((*size).max(1)));
        if spanned.is_none_or(|spanned| spanned > MAX_ELEMENTS) {
            return Err(too_large());
        }
        let elements = self.elements().ok_or_else(too_large)?;
        let Some(size) = self.datatype.size() else {
            return self.check_strings(elements);
        };
        let expected = elements.checked_mul(size).ok_or_else(too_large)?;
        match self.data.len() {
            actual if actual == expected => Ok(()),
            actual => Err(TensorError::Size { expected, actual }),
        }
    }

    fn check_strings(&self, expected: usize) -> Result<(), TensorError> {
        let mut actual = 0;
        for string in Strings::new(&self.data) {
            string?;
            actual += 1;
        }
        if actual == expected {
            Ok(())
        } else {
            Err(TensorError::Strings { expected, actual })
        }
    }

    /// The elements of a tensor of `BYTES`.
    pub fn strings(&self) -> Strings<'_> {
        Strings::new(&self.data)
    }

    /// The same tensor cut along its first dimension: one for each step, without that dimension.
    /// `None` if it has no dimension, or if its parts do not agree.
    pub fn rows(&self) -> Option<Vec<Self>> {
        self.check().ok()?;
        let (&count, shape) = self.shape.split_first()?;
        let count = usize::try_from(count).ok()?;
        let row = |data| Self {
            name: self.name.clone(),
            datatype: self.datatype,
            shape: shape.to_vec(),
            data,
        };
        if self.datatype.size().is_some() {
            let size = self.data.len().checked_div(count).unwrap_or(0);
            let cut =
                (0..count).map(|index| row(self.data.slice(index * size..(index + 1) * size)));
            return Some(cut.collect());
        }
        let per_row = self.elements()?.checked_div(count).unwrap_or(0);
        let mut strings = self.strings();
        let mut rows = Vec::with_capacity(count);
        for _ in 0..count {
            let start = strings.at;
            for _ in 0..per_row {
                strings.next()?.ok()?;
            }
            rows.push(row(self.data.slice(start..strings.at)));
        }
        Some(rows)
    }
}

/// The strings of a tensor of `BYTES`. Ends after the first mistake.
#[derive(Clone, Debug)]
pub struct Strings<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Strings<'a> {
    /// The strings in these bytes.
    pub fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }
}

impl<'a> Iterator for Strings<'a> {
    type Item = Result<&'a [u8], TensorError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.data[self.at..];
        if rest.is_empty() {
            return None;
        }
        let read = || {
            let (length, rest) = rest.split_first_chunk()?;
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            rest.get(..length)
        };
        let Some(string) = read() else {
            let start = std::mem::replace(&mut self.at, self.data.len());
            return Some(Err(TensorError::CutOff(start)));
        };
        self.at += 4 + string.len();
        Some(Ok(string))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tensor(datatype: Datatype, shape: &[u64], data: &[u8]) -> Tensor {
        Tensor {
            name: "t".to_owned(),
            datatype,
            shape: shape.to_vec(),
            data: Bytes::copy_from_slice(data),
        }
    }

    #[test]
    fn decoded_tensors_share_the_bytes_that_they_were_read_from() {
        let sent = [
            tensor(Datatype::Fp32, &[2], &[1; 8]),
            tensor(Datatype::Bytes, &[0], &[]),
        ];
        let bytes = encode_tensors(&sent);
        let read = decode_tensors(&bytes).expect("tensors");
        assert_eq!(read, sent);
        assert!(bytes.as_ptr_range().contains(&read[0].data.as_ptr()));
        assert_eq!(decode_tensors(&bytes.slice(1..)), None);
    }

    #[test]
    fn names_are_those_of_the_protocol() {
        for datatype in Datatype::ALL {
            assert_eq!(Datatype::from_name(datatype.name()), Some(datatype));
        }
        assert_eq!(Datatype::from_name("fp32"), None);
    }

    #[test]
    fn parts_that_disagree_are_told_with_their_sizes() {
        let check = |tensor: Tensor, part: &str| {
            let error = tensor.check().expect_err(part).to_string();
            assert!(error.contains(part), "{error}");
        };
        check(
            tensor(Datatype::Fp32, &[1, 1 << 26, 0], &[]),
            "at most 16777216 elements",
        );
        check(
            tensor(Datatype::Fp32, &[2, 2], &[0; 15]),
            "has 15 bytes; its shape and type make 16",
        );
        check(tensor(Datatype::Fp32, &[1; 9], &[0; 4]), "9 dimensions");
        check(
            tensor(Datatype::Fp32, &[u64::MAX, 2], &[]),
            "at most 16777216 elements",
        );
        check(
            tensor(Datatype::Fp64, &[u64::MAX], &[]),
            "at most 16777216 elements",
        );
        check(tensor(Datatype::Bytes, &[1], b"\x09\0\0\0a"), "byte 0");
        check(
            tensor(Datatype::Bytes, &[2], b"\x01\0\0\0a"),
            "has 1 strings; its shape makes 2",
        );
        assert_eq!(tensor(Datatype::Int64, &[], &[0; 8]).check(), Ok(()));
        assert_eq!(tensor(Datatype::Fp32, &[0, 7], &[]).check(), Ok(()));
    }

    #[test]
    fn rows_are_cut_along_the_first_dimension() {
        let rows = tensor(Datatype::Uint16, &[2, 2], &[1, 0, 2, 0, 3, 0, 4, 0]).rows();
        let row = |data: &[u8]| tensor(Datatype::Uint16, &[2], data);
        assert_eq!(rows, Some(vec![row(&[1, 0, 2, 0]), row(&[3, 0, 4, 0])]));

        let rows = tensor(Datatype::Bytes, &[2, 1], b"\x01\0\0\0a\x02\0\0\0bc").rows();
        let row = |data: &[u8]| tensor(Datatype::Bytes, &[1], data);
        assert_eq!(rows, Some(vec![row(b"\x01\0\0\0a"), row(b"\x02\0\0\0bc")]));

        assert_eq!(tensor(Datatype::Uint8, &[], &[1]).rows(), None);
        assert_eq!(tensor(Datatype::Uint8, &[0, 3], &[]).rows(), Some(vec![]));
        assert_eq!(
            tensor(Datatype::Uint8, &[2, 0], &[])
                .rows()
                .map(|rows| rows.len()),
            Some(2)
        );
    }

    #[test]
    fn shapes_are_held_against_what_a_model_takes() {
        let info = TensorInfo {
            name: "t".to_owned(),
            datatype: Datatype::Fp32,
            shape: vec![3, -1],
        };
        assert!(info.takes(&[3, 7]));
        assert!(!info.takes(&[2, 7]) && !info.takes(&[3]) && !info.takes(&[3, 7, 1]));
    }

    proptest! {
        #[test]
        fn no_data_makes_the_reader_panic(data: Vec<u8>, shape: Vec<u64>) {
            for datatype in Datatype::ALL {
                let tensor = tensor(datatype, &shape, &data);
                let rows = tensor.rows();
                prop_assert!(rows.is_none() || tensor.check().is_ok());
            }
        }
    }
}
