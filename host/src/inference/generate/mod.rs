//! Models that write: one token after another, for several texts at a time.
//!
//! ```text
//!  prompt --prefill--> keys and values of a slot --step--> logits of the next token of each slot
//! ```
//!
//! What a model has read is kept as keys and values ([`kv`]), so a step computes one token of each text and
//! not the whole of it. Texts join and leave between steps.
//!
//! Everything above talks to the [`Decoder`] trait, so scheduling is tested without a model. Not here: which
//! token is chosen, and whose turn it is (see [`crate::generate`]).

mod decoder;
mod kv;
mod layout;
mod open;
mod rows;

use super::backend::BackendError;

pub use open::{OpenedDecoder, open_decoder};

/// A model with slots, each for one text. Owned by one thread.
///
/// A slot holds what the model has read of its text. After an error of [`prefill`](Self::prefill) or
/// [`step`](Self::step) the slots that took part hold what they held before.
pub trait Decoder: Send {
    /// How many slots there are.
    fn slots(&self) -> usize;

    /// Most tokens of a slot.
    fn context(&self) -> usize;

    /// Bytes that a token takes in a slot.
    fn token_bytes(&self) -> usize;

    /// Reads tokens behind those that a slot holds. `last` asks for the logits that follow the last one.
    fn prefill(
        &mut self,
        slot: usize,
        tokens: &[u32],
        last: bool,
    ) -> Result<Option<&[f32]>, BackendError>;

    /// Reads one token in each of some slots, and gives the logits that follow. No slot may be there twice.
    fn step(&mut self, rows: &[(usize, u32)]) -> Result<Logits<'_>, BackendError>;

    /// Makes a slot hold the first tokens of another one. What it held before is gone.
    fn copy_prefix(&mut self, from: usize, to: usize, tokens: usize);

    /// Forgets all but the first tokens of a slot, and gives their memory back.
    fn truncate(&mut self, slot: usize, tokens: usize);

    /// Gives memory of past runs back. Called after some idle time.
    fn shrink(&mut self) -> Result<(), BackendError>;
}

/// What may follow in each slot of a step.
#[derive(Clone, Copy, Debug)]
pub struct Logits<'a> {
    /// All of them, as many for each row.
    data: &'a [f32],
    /// Where those of each row are.
    order: &'a [usize],
}

impl<'a> Logits<'a> {
    /// `order` has, for each row of the step, the place of its logits.
    pub fn new(data: &'a [f32], order: &'a [usize]) -> Self {
        Self { data, order }
    }

    /// The logits of a row, in the order in which the rows were given.
    pub fn row(&self, row: usize) -> &'a [f32] {
        let size = self.data.len() / self.order.len().max(1);
        let start = self.order[row] * size;
        &self.data[start..start + size]
    }
}
