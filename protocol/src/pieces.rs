//! The call for results, piece by piece.
//!
//! The pieces joined are what [`message::encode`] makes of the whole [`InferRequest`]. An edge has megabytes of files or
//! tensors in a memory of some dozen, so those are never copied into one message: what is large is a slice
//! of where it lies, and what is small is gathered until it is worth sending.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::Serialize;

use crate::infer::{InferRequest, Input};
use crate::message;

/// Most bytes of a piece that is a slice, and about as many of a gathered one. Whoever sends a piece may copy it.
pub const PIECE_BYTES: usize = 64 * 1024;

/// What is no longer than this is gathered: to send it alone would cost more than to copy it.
const SMALL_BYTES: usize = 4 * 1024;

/// The pieces of one call, in the order in which they are sent.
#[derive(Debug, Default)]
pub struct Pieces {
    ready: VecDeque<Bytes>,
    gathered: Vec<u8>,
}

impl Pieces {
    /// Begins a call with so many inputs. `head` is all of it but the inputs, of which it has none.
    pub fn begin(head: &InferRequest, inputs: usize) -> Self {
        debug_assert!(head.inputs.is_empty(), "the inputs follow");
        let mut gathered = message::encode(head);
        // The inputs are the last member: an empty list is one byte, its length.
        gathered.pop();
        let mut pieces = Self {
            ready: VecDeque::new(),
            gathered,
        };
        pieces.small(&inputs);
        pieces
    }

    /// Adds an input.
    pub fn push(&mut self, input: &Input) {
        match input {
            Input::Text(_) | Input::LongText(_) | Input::Tokens(_) => self.small(input),
            Input::Blob(blob) => {
                // Its kind and its length, and then its bytes.
                self.kind(&Input::Blob(Bytes::new()));
                self.small(&blob.len());
                self.bytes(blob);
            }
            Input::Tensors(tensors) => {
                self.kind(&Input::Tensors(Vec::new()));
                self.small(&tensors.len());
                for tensor in tensors {
                    self.gathered.extend_from_slice(&tensor.head());
                    self.bytes(&tensor.data);
                }
            }
        }
    }

    /// The next piece that is ready.
    pub fn take(&mut self) -> Option<Bytes> {
        if self.ready.is_empty() && self.gathered.len() >= PIECE_BYTES {
            return self.finish();
        }
        self.ready.pop_front()
    }

    /// The next piece, once all inputs are added.
    pub fn finish(&mut self) -> Option<Bytes> {
        self.ready.pop_front().or_else(|| {
            let last = std::mem::take(&mut self.gathered);
            (!last.is_empty()).then(|| last.into())
        })
    }

    /// The kind of an input, of which an empty one is that and a length of one byte.
    fn kind(&mut self, empty: &Input) {
        self.small(empty);
        self.gathered.pop();
    }

    fn small(&mut self, value: &impl Serialize) {
        let gathered = std::mem::take(&mut self.gathered);
        self.gathered = postcard::to_extend(value, gathered)
            .expect("messages hold no value that cannot be serialised");
    }

    fn bytes(&mut self, bytes: &Bytes) {
        if bytes.len() <= SMALL_BYTES {
            self.gathered.extend_from_slice(bytes);
            return;
        }
        let before = std::mem::take(&mut self.gathered);
        self.ready.push_back(before.into());
        let starts = (0..bytes.len()).step_by(PIECE_BYTES);
        let ends = |start: usize| (start + PIECE_BYTES).min(bytes.len());
        self.ready
            .extend(starts.map(|start| bytes.slice(start..ends(start))));
    }
}

#[cfg(test)]
mod tests {
    use brink_cache::key::Task;
    use brink_cache::{ModelDigest, Scope};
    use proptest::prelude::*;

    use super::*;
    use crate::tensor::{Datatype, Tensor};

    fn call(inputs: Vec<Input>) -> InferRequest {
        InferRequest {
            request_id: "r".to_owned(),
            scope: Scope::Public,
            tenant: "default".to_owned(),
            urgency: 3,
            model: "m".to_owned(),
            digest: ModelDigest([1; 32]),
            task: Task::Generic,
            truncate: false,
            look_up: true,
            store: true,
            timeout_ms: 1000,
            share: None,
            inputs,
        }
    }

    /// All pieces, taken as a sender takes them.
    fn pieces(call: &InferRequest) -> Vec<Bytes> {
        let head = InferRequest {
            inputs: Vec::new(),
            ..call.clone()
        };
        let mut pieces = Pieces::begin(&head, call.inputs.len());
        let mut taken = Vec::new();
        for input in &call.inputs {
            taken.extend(std::iter::from_fn(|| pieces.take()));
            pieces.push(input);
        }
        taken.extend(std::iter::from_fn(|| pieces.finish()));
        taken
    }

    #[test]
    fn what_is_large_is_not_copied_and_comes_in_small_pieces() {
        let file = Bytes::from(vec![7; 3 * PIECE_BYTES + 1]);
        let sent = pieces(&call(vec![Input::Blob(file.clone())]));
        assert_eq!(sent.len(), 5);
        for piece in &sent[1..] {
            assert!(file.as_ptr_range().contains(&piece.as_ptr()));
            assert!(piece.len() <= PIECE_BYTES);
        }
        let few = pieces(&call(vec![Input::Text("a".to_owned()); 100]));
        assert_eq!(few.len(), 1, "what is small is sent at once");
    }

    fn input() -> impl Strategy<Value = Input> {
        let size = prop_oneof![0usize..300, Just(SMALL_BYTES + 1), Just(PIECE_BYTES + 1)];
        let bytes = (any::<u8>(), size).prop_map(|(byte, size)| Bytes::from(vec![byte; size]));
        let tensor = (
            ".{0,9}",
            prop::collection::vec(any::<u64>(), 0..3),
            bytes.clone(),
        );
        let tensor = tensor.prop_map(|(name, shape, data)| Tensor {
            name,
            datatype: Datatype::Uint8,
            shape,
            data,
        });
        prop_oneof![
            ".{0,300}".prop_map(Input::Text),
            any::<[u8; 32]>().prop_map(Input::LongText),
            prop::collection::vec(any::<u32>(), 0..9).prop_map(Input::Tokens),
            bytes.prop_map(Input::Blob),
            prop::collection::vec(tensor, 0..3).prop_map(Input::Tensors),
        ]
    }

    proptest! {
        #[test]
        fn joined_pieces_are_the_message(inputs in prop::collection::vec(input(), 0..140)) {
            let call = call(inputs);
            prop_assert_eq!(pieces(&call).concat(), message::encode(&call));
        }
    }
}
