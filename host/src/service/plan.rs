//! Which inputs of a call are the same.

use std::collections::HashMap;

use brink_cache::Key;
use brink_protocol::InferRequest;

/// A call's distinct inputs, and which of them each input is.
#[derive(Debug)]
pub(super) struct Plan {
    /// The distinct inputs, by first appearance.
    pub(super) distinct: Vec<Distinct>,
    /// For each input, the index of its distinct input.
    pub(super) slots: Vec<usize>,
}

/// An input that is computed at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Distinct {
    pub(super) key: Key,
    /// Index of its first appearance in the call.
    pub(super) input: usize,
}

impl Plan {
    /// Derives the keys, the same as the edge's.
    pub(super) fn new(request: &InferRequest) -> Self {
        let prefix = request.key_prefix();
        let mut known = HashMap::with_capacity(request.inputs.len());
        let mut distinct = Vec::new();
        let slots = request.inputs.iter().enumerate().map(|(index, input)| {
            let key = prefix.key(input.bytes());
            *known.entry(key).or_insert_with(|| {
                distinct.push(Distinct { key, input: index });
                distinct.len() - 1
            })
        });
        let slots = slots.collect();
        Self { distinct, slots }
    }
}
