//! `POST /v2/models/{name}/infer`: the Open Inference Protocol, version 2, as KServe and Triton speak it over
//! HTTP, with its binary tensor data and classification extensions.
//!
//! ```text
//!  body --coding--> bytes --binary--> JSON, tail --request--> tensors --rows--> items
//!  results --answer--> tensors --classes--> JSON, bytes after it
//! ```
//!
//! A body is never copied: tensors and items are slices of it, or of what its JSON made.
//!
//! A batch is not an item: each row of the first dimension is, so of a batch whose rows are known in part
//! only the others are computed. Numbers that are not finite come as binary data only, and only models of
//! tensors read numbers; to those they are passed as they are.
//!
//! Not here: which models there are, see [`models_v2`](crate::models_v2).

mod answer;
mod binary;
mod classes;
mod coding;
mod parameters;
mod read_json;
mod request;
mod rows;
mod signature;
mod write_json;

use std::time::Duration;

use brink_protocol::tensor::Tensor;
use brink_protocol::{Input, ModelInfo};
use bytes::Bytes;

use super::Form;
use super::input::check_total;
use crate::error::ApiError;
use crate::head::Head;
use crate::items::Request;
use crate::route::Target;
use parameters::Wishes;

pub use binary::HEADER_LENGTH;
pub use request::{MAX_ID_BYTES, MAX_TENSORS};
pub use signature::Signature;

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Infer {
    id: Option<String>,
    /// As they were sent; the model says what of them is an item.
    inputs: Vec<Tensor>,
    /// Empty for all.
    outputs: Vec<Output>,
    wishes: Wishes,
}

/// An output that is wanted, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Output {
    name: String,
    is_binary: bool,
    /// How many of the highest elements of each row are told in its place.
    classes: Option<usize>,
}

/// Reads a request. `limit` is the most bytes of a body that was compressed, and of all data that is JSON.
///
/// # Errors
/// The first mistake in it.
pub fn read(
    head: &Head<'_>,
    body: Bytes,
    target: &Target,
    limit: u64,
) -> Result<Request, ApiError> {
    Ok(Request {
        inputs: Vec::new(),
        model: target.model.clone(),
        version: target.version.clone(),
        truncate: false,
        form: Form::Infer(Box::new(request::read(head, body, limit)?)),
    })
}

impl Infer {
    pub(super) fn param(&self, index: usize) -> String {
        rows::param(index)
    }

    /// Makes the items: only the model says which tensors there have to be.
    pub(super) fn bind(&self, inputs: &mut Vec<Input>, model: &ModelInfo) -> Result<(), ApiError> {
        *inputs = rows::items(&self.inputs, model)?;
        self.check_outputs(model)?;
        check_total("inputs", inputs)
    }

    /// Gives up the tensors, once no model is asked again.
    pub(super) fn forget_inputs(&mut self) {
        self.inputs = Vec::new();
    }

    /// How urgent it is, if the client said so.
    pub(super) fn urgency(&self) -> Option<u8> {
        self.wishes.urgency
    }

    /// How long it may take, if the client said so.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.wishes.timeout
    }

    /// Answers to POST alone have this form, and those are never validated.
    pub(super) fn tag(&self, hasher: &mut blake3::Hasher) {
        hasher.update(&[3]);
    }
}

#[cfg(test)]
mod tests;
