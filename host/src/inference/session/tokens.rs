//! Token ids, and other lists of small numbers, as the inputs of a model.

use ort::session::SessionInputValue;
use ort::value::{TensorElementType, TensorRef};

use super::wiring::{WiringError, element_type};
use crate::inference::backend::{BackendError, Payload};

/// The inputs of a model that reads token ids, in its order.
#[derive(Debug)]
pub(super) struct TokenFeed {
    inputs: Vec<(Kind, Width)>,
    buffers: Buffers,
}

/// What encoders read. Each is `[batch, sequence]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ids,
    Mask,
    /// Which of two texts a token belongs to: always the first here.
    Types,
}

/// The elements of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    I64,
    I32,
}

impl TokenFeed {
    /// For a model of text, whose inputs have the names that encoders have.
    pub(super) fn of_text(session: &ort::session::Session) -> Result<Self, WiringError> {
        Self::new(session, |name| match name {
            "input_ids" => Some(Kind::Ids),
            "attention_mask" => Some(Kind::Mask),
            "token_type_ids" => Some(Kind::Types),
            _ => None,
        })
    }

    /// For a model that reads numbers from the one input of that name.
    pub(super) fn of_numbers(
        session: &ort::session::Session,
        tensor: &str,
    ) -> Result<Self, WiringError> {
        Self::new(session, |name| (name == tensor).then_some(Kind::Ids))
    }

    fn new(
        session: &ort::session::Session,
        kind: impl Fn(&str) -> Option<Kind>,
    ) -> Result<Self, WiringError> {
        let input = |input: &ort::value::Outlet| {
            let name = input.name();
            let kind = kind(name).ok_or_else(|| WiringError::Input(name.to_owned()))?;
            let width = match element_type(input) {
                Some(TensorElementType::Int64) => Width::I64,
                Some(TensorElementType::Int32) => Width::I32,
                other => return Err(WiringError::Elements(name.to_owned(), other)),
            };
            Ok((kind, width))
        };
        let inputs: Vec<_> = session
            .inputs()
            .iter()
            .map(input)
            .collect::<Result<_, _>>()?;
        if !inputs.iter().any(|(kind, _)| *kind == Kind::Ids) {
            return Err(WiringError::NoInput);
        }
        Ok(Self {
            inputs,
            buffers: Buffers::default(),
        })
    }

    /// Pads a batch. `shape` is what it is padded to at least: items and tokens.
    pub(super) fn fill(
        &mut self,
        batch: &[&Payload],
        at_least: [usize; 2],
    ) -> Result<(), BackendError> {
        let ids: Result<Vec<&[u32]>, _> = batch.iter().map(|payload| payload.tokens()).collect();
        let kinds = self.inputs.iter().copied();
        self.buffers.fill(&ids?, at_least, kinds.collect());
        Ok(())
    }

    /// The tensors of the batch that was filled in.
    pub(super) fn values(&self) -> ort::Result<Vec<SessionInputValue<'_>>> {
        let shape = self.buffers.shape;
        let inputs = self.buffers.inputs.iter();
        inputs.map(|buffer| buffer.value(shape)).collect()
    }

    /// Real tokens of each item of the batch that was filled in.
    pub(super) fn lengths(&self) -> &[usize] {
        &self.buffers.lengths
    }

    pub(super) fn forget(&mut self) {
        self.buffers = Buffers::default();
    }
}

/// The padded inputs of a batch, kept from run to run.
#[derive(Debug, Default)]
struct Buffers {
    shape: [usize; 2],
    lengths: Vec<usize>,
    inputs: Vec<Buffer>,
}

#[derive(Debug, PartialEq)]
enum Buffer {
    I64(Vec<i64>),
    I32(Vec<i32>),
}

impl Buffers {
    /// Pads a batch to its longest item. The id under a zero mask does not matter; zero is in
    /// every vocabulary. An item that only fills a batch up has one token of zero, because a mask
    /// without any one makes some models divide by zero.
    fn fill(&mut self, batch: &[&[u32]], at_least: [usize; 2], inputs: Vec<(Kind, Width)>) {
        let longest = batch.iter().map(|ids| ids.len()).max().unwrap_or(0);
        self.shape = [batch.len().max(at_least[0]), longest.max(at_least[1])];
        self.lengths.clear();
        self.lengths.extend(batch.iter().map(|ids| ids.len()));
        self.inputs
            .resize_with(inputs.len(), || Buffer::I64(Vec::new()));
        for (buffer, (kind, width)) in self.inputs.iter_mut().zip(inputs) {
            match width {
                Width::I64 => fill(buffer.as_i64(), self.shape, batch, kind),
                Width::I32 => fill(buffer.as_i32(), self.shape, batch, kind),
            }
        }
    }
}

impl Buffer {
    fn value(&self, shape: [usize; 2]) -> ort::Result<SessionInputValue<'_>> {
        Ok(match self {
            Self::I64(cells) => TensorRef::from_array_view((shape, &cells[..]))?.into(),
            Self::I32(cells) => TensorRef::from_array_view((shape, &cells[..]))?.into(),
        })
    }

    fn as_i64(&mut self) -> &mut Vec<i64> {
        if !matches!(self, Self::I64(_)) {
            *self = Self::I64(Vec::new());
        }
        match self {
            Self::I64(cells) => cells,
            Self::I32(_) => unreachable!("it was made one above"),
        }
    }

    fn as_i32(&mut self) -> &mut Vec<i32> {
        if !matches!(self, Self::I32(_)) {
            *self = Self::I32(Vec::new());
        }
        match self {
            Self::I32(cells) => cells,
            Self::I64(_) => unreachable!("it was made one above"),
        }
    }
}

fn fill<T: Copy + Default + From<bool> + TryFrom<u32>>(
    cells: &mut Vec<T>,
    [items, length]: [usize; 2],
    batch: &[&[u32]],
    kind: Kind,
) {
    cells.clear();
    cells.resize(items * length, T::default());
    match kind {
        Kind::Types => {}
        Kind::Mask => {
            for row in 0..items {
                let ones = batch.get(row).map_or(1, |ids| ids.len());
                cells[row * length..][..ones].fill(T::from(true));
            }
        }
        Kind::Ids => {
            for (row, ids) in batch.iter().enumerate() {
                for (cell, id) in cells[row * length..].iter_mut().zip(ids.iter()) {
                    // Ids are below the vocabulary, which no model has above 2^31.
                    *cell = T::try_from(*id).unwrap_or_default();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [(Kind, Width); 3] = [
        (Kind::Ids, Width::I64),
        (Kind::Mask, Width::I64),
        (Kind::Types, Width::I32),
    ];

    #[test]
    fn batches_are_padded_to_their_longest_item() {
        let mut buffers = Buffers::default();
        buffers.fill(&[&[9; 7]], [0, 0], ALL.to_vec());
        buffers.fill(&[&[5, 6, 7], &[8]], [0, 0], ALL.to_vec());
        assert_eq!(buffers.shape, [2, 3]);
        assert_eq!(buffers.lengths, [3, 1]);
        assert_eq!(
            buffers.inputs,
            [
                Buffer::I64(vec![5, 6, 7, 8, 0, 0]),
                Buffer::I64(vec![1, 1, 1, 1, 0, 0]),
                Buffer::I32(vec![0; 6]),
            ]
        );
    }

    #[test]
    fn batches_are_filled_up_to_a_shape() {
        let mut buffers = Buffers::default();
        buffers.fill(&[&[5]], [2, 2], ALL.to_vec());
        assert_eq!(buffers.shape, [2, 2]);
        assert_eq!(buffers.inputs[0], Buffer::I64(vec![5, 0, 0, 0]));
        assert_eq!(buffers.inputs[1], Buffer::I64(vec![1, 0, 1, 0]));
    }
}
