//! Token ids, and other lists of small numbers, as the inputs of a model.

use ort::value::TensorElementType;

use super::inputs::{Cells, Feed};
use super::wiring::{WiringError, element_type};
use crate::inference::backend::{BackendError, Payload};

/// The inputs of a model that reads token ids, in its order.
#[derive(Debug)]
pub(super) struct TokenFeed {
    inputs: Vec<(Kind, TensorElementType)>,
}

/// What encoders read. Each is `[batch, sequence]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ids,
    Mask,
    /// Which of two texts a token belongs to: always the first here.
    Types,
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
            match element_type(input) {
                Some(it @ (TensorElementType::Int64 | TensorElementType::Int32)) => Ok((kind, it)),
                other => Err(WiringError::Elements(name.to_owned(), other)),
            }
        };
        let inputs: Vec<_> = session
            .inputs()
            .iter()
            .map(input)
            .collect::<Result<_, _>>()?;
        if !inputs.iter().any(|(kind, _)| *kind == Kind::Ids) {
            return Err(WiringError::NoInput);
        }
        Ok(Self { inputs })
    }
}

impl Feed for TokenFeed {
    fn elements(&self) -> Vec<TensorElementType> {
        self.inputs.iter().map(|(_, elements)| *elements).collect()
    }

    /// A batch is padded to its longest item at least.
    fn shape(
        &self,
        batch: &[&Payload],
        [items, length]: [usize; 2],
    ) -> Result<Vec<usize>, BackendError> {
        let mut longest = length;
        for payload in batch {
            longest = longest.max(payload.tokens()?.len());
        }
        Ok(vec![batch.len().max(items), longest])
    }

    fn write(
        &self,
        input: usize,
        batch: &[&Payload],
        shape: &[usize],
        cells: Cells<'_>,
    ) -> Result<(), BackendError> {
        let ids: Result<Vec<&[u32]>, _> = batch.iter().map(|payload| payload.tokens()).collect();
        let (kind, length) = (self.inputs[input].0, shape[1]);
        match cells {
            Cells::I64(cells) => fill(cells, length, &ids?, kind),
            Cells::I32(cells) => fill(cells, length, &ids?, kind),
            Cells::F32(_) | Cells::F16(_) => return Err(BackendError::Payload),
        }
        Ok(())
    }
}

/// The id under a zero mask does not matter; zero is in every vocabulary. An item that only fills a batch
/// up has one token of zero, because a mask without any one makes some models divide by zero.
fn fill<T: Copy + Default + From<bool> + TryFrom<u32>>(
    cells: &mut [T],
    length: usize,
    batch: &[&[u32]],
    kind: Kind,
) {
    cells.fill(T::default());
    match kind {
        Kind::Types => {}
        Kind::Mask => {
            for (row, cells) in cells.chunks_exact_mut(length.max(1)).enumerate() {
                let ones = batch.get(row).map_or(1, |ids| ids.len());
                cells[..ones].fill(T::from(true));
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

    fn feed() -> TokenFeed {
        TokenFeed {
            inputs: vec![
                (Kind::Ids, TensorElementType::Int64),
                (Kind::Mask, TensorElementType::Int64),
                (Kind::Types, TensorElementType::Int32),
            ],
        }
    }

    /// What is written over cells that hold something else.
    fn written(input: usize, batch: &[&[u32]], at_least: [usize; 2]) -> (Vec<usize>, Vec<i64>) {
        let batch: Vec<Payload> = batch
            .iter()
            .map(|ids| Payload::Tokens(ids.to_vec()))
            .collect();
        let batch: Vec<&Payload> = batch.iter().collect();
        let shape = feed().shape(&batch, at_least).expect("tokens");
        let mut cells = vec![77; shape.iter().product()];
        feed()
            .write(input, &batch, &shape, Cells::I64(&mut cells))
            .expect("tokens");
        (shape, cells)
    }

    #[test]
    fn batches_are_padded_to_their_longest_item() {
        let batch: [&[u32]; 2] = [&[5, 6, 7], &[8]];
        let of = |input| written(input, &batch, [0, 0]);
        assert_eq!(of(0), (vec![2, 3], vec![5, 6, 7, 8, 0, 0]));
        assert_eq!(of(1).1, [1, 1, 1, 1, 0, 0]);
        assert_eq!(of(2).1, [0; 6]);
    }

    #[test]
    fn batches_are_filled_up_to_a_shape() {
        assert_eq!(written(0, &[&[5]], [2, 2]), (vec![2, 2], vec![5, 0, 0, 0]));
        assert_eq!(written(1, &[&[5]], [2, 2]).1, [1, 0, 1, 0]);
    }

    #[test]
    fn other_payloads_are_refused() {
        let picture = Payload::Pixels(vec![0; 3].into());
        assert!(feed().shape(&[&picture], [0, 0]).is_err());
    }
}
