//! The one call for everything that is missing, sent without a copy of it.

use std::sync::Arc;

use brink_protocol::InferRequest;
use brink_protocol::pieces::Pieces;
use bytes::Bytes;

use super::plan::Plan;

/// A call to the host. Its inputs are those of the plan, which it shares until the last one is sent.
#[derive(Clone, Debug)]
pub struct UpstreamCall {
    /// All of it but the inputs, of which this has none.
    pub head: InferRequest,
    pub(super) plan: Arc<Plan>,
    /// Which of the request's inputs, in the order of the call.
    pub(super) inputs: Vec<usize>,
}

impl UpstreamCall {
    /// How many results are asked for.
    pub fn items(&self) -> usize {
        self.inputs.len()
    }

    /// The call with a copy of its inputs, for those who are no host.
    pub fn whole(&self) -> InferRequest {
        let inputs = self.inputs.iter();
        InferRequest {
            inputs: inputs
                .map(|input| self.plan.request.inputs[*input].clone())
                .collect(),
            ..self.head.clone()
        }
    }

    /// What goes to the host, piece by piece.
    pub fn pieces(&self) -> impl Iterator<Item = Bytes> + use<> {
        Sending {
            pieces: Pieces::begin(&self.head, self.inputs.len()),
            left: Some(self.plan.clone()),
            inputs: self.inputs.clone().into_iter(),
        }
    }
}

/// A call on its way.
struct Sending {
    pieces: Pieces,
    /// What is still to be sent is in there; given up with the last of it.
    left: Option<Arc<Plan>>,
    inputs: std::vec::IntoIter<usize>,
}

impl Iterator for Sending {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        while let Some(plan) = &self.left {
            if let Some(piece) = self.pieces.take() {
                return Some(piece);
            }
            match self.inputs.next() {
                Some(input) => self.pieces.push(&plan.request.inputs[input]),
                None => self.left = None,
            }
        }
        self.pieces.finish()
    }
}
