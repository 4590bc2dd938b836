//! From results to the answer: rows are stacked again, and written as JSON or as bytes after it.
//!
//! Rows stay where they came until they are written, into a body for which room is made once: an instance has none for
//! a second copy.

use brink_protocol::tensor::{Datatype, Tensor, TensorInfo, decode_tensors};
use brink_protocol::{ModelInfo, ModelKind};
use bytes::Bytes;
use http::StatusCode;

use super::binary::HEADER_LENGTH;
use super::signature::Signature;
use super::write_json::{self, Unwritten};
use super::{Infer, Output, classes};
use crate::error::{ApiError, shorten};
use crate::forms::classify::labels;
use crate::items::{MAX_ANSWER_BYTES, Results};
use crate::reply::Reply;

impl Infer {
    /// The answer.
    ///
    /// # Errors
    /// 400 for what has no form in JSON, and for rows that differ in shape; 413 for more JSON than an answer may
    /// have.
    pub(in crate::forms) fn reply(&self, results: &Results<'_>) -> Result<Reply, ApiError> {
        let model = results.model();
        let signature = Signature::of(model);
        let outputs = self.outputs_of(&signature);
        let stacks = stacks(results, &signature, &outputs)?;
        let mut body = Vec::with_capacity(256);
        let mut tail: Vec<Bytes> = Vec::new();
        self.write_start(model, &mut body);
        for (index, (output, stack)) in outputs.iter().zip(stacks).enumerate() {
            if index > 0 {
                body.push(b',');
            }
            let stack = match output.classes {
                Some(most) => classes::of(&stack, most, labels(model)),
                None => stack,
            };
            write_tensor(output, &stack, &mut body)?;
            if output.is_binary {
                tail.extend(stack.rows);
            }
        }
        body.extend_from_slice(b"]}");
        if !outputs.iter().any(|output| output.is_binary) {
            return Ok(Reply::json(StatusCode::OK, body));
        }
        let length = itoa::Buffer::new().format(body.len()).to_owned();
        body.reserve_exact(tail.iter().map(Bytes::len).sum());
        tail.iter().for_each(|row| body.extend_from_slice(row));
        Ok(
            Reply::bytes(StatusCode::OK, "application/octet-stream", body)
                .with(HEADER_LENGTH, length),
        )
    }

    fn write_start(&self, model: &ModelInfo, json: &mut Vec<u8>) {
        json.extend_from_slice(br#"{"model_name":"#);
        write_text(&model.name, json);
        json.extend_from_slice(br#","model_version":"#);
        write_text(&model.version, json);
        if let Some(id) = &self.id {
            json.extend_from_slice(br#","id":"#);
            write_text(id, json);
        }
        json.extend_from_slice(br#","outputs":["#);
    }

    /// What is asked for; all outputs of the model if nothing is named.
    fn outputs_of(&self, signature: &Signature<'_>) -> Vec<Output> {
        if !self.outputs.is_empty() {
            return self.outputs.clone();
        }
        let all = signature.outputs.iter().map(|info| Output {
            name: info.name.clone(),
            is_binary: self.wishes.binary_output,
            classes: None,
        });
        all.collect()
    }

    /// Holds the outputs that are asked for against those that the model has.
    pub(super) fn check_outputs(&self, model: &ModelInfo) -> Result<(), ApiError> {
        let signature = Signature::of(model);
        let outputs = self.outputs_of(&signature);
        for (index, output) in outputs.iter().enumerate() {
            let Some(info) = find(&signature, &output.name) else {
                let names = signature.outputs.iter().map(|info| info.name.as_str());
                let what = format!(
                    "is no output of the model {}; those are {}",
                    model.name,
                    names.collect::<Vec<_>>().join(", ")
                );
                return Err(wrong(&output.name, &what));
            };
            if outputs[..index]
                .iter()
                .any(|other| other.name == output.name)
            {
                return Err(wrong(&output.name, "is asked for twice"));
            }
            if output.classes.is_some() {
                classes::check(info, signature.batched)?;
            }
            let has_json = !matches!(info.datatype, Datatype::Fp16 | Datatype::Bf16);
            if !output.is_binary && !has_json {
                let what = format!(
                    "is of {}, which has no form in JSON; ask for it as binary data",
                    info.datatype.name()
                );
                return Err(wrong(&output.name, &what));
            }
        }
        Ok(())
    }
}

fn find<'s>(signature: &'s Signature<'_>, name: &str) -> Option<&'s TensorInfo> {
    signature.outputs.iter().find(|info| info.name == name)
}

/// The tensors that are asked for, of all rows.
fn stacks(
    results: &Results<'_>,
    signature: &Signature<'_>,
    outputs: &[Output],
) -> Result<Vec<Stack>, ApiError> {
    match &results.model().kind {
        ModelKind::Generic { .. } | ModelKind::Generate { .. } => {
            generic(results, signature, outputs)
        }
        ModelKind::Embed { .. } | ModelKind::Classify { .. } => {
            let stack = |info: &TensorInfo| Stack {
                name: info.name.clone(),
                datatype: info.datatype,
                shape: [results.len() as u64]
                    .into_iter()
                    .chain(info.shape.iter().map(|size| size.unsigned_abs()))
                    .collect(),
                rows: results.each().map(|hit| hit.output.clone()).collect(),
            };
            // These models have one output.
            let wanted = outputs
                .iter()
                .filter_map(|output| find(signature, &output.name));
            Ok(wanted.map(stack).collect())
        }
    }
}

fn generic(
    results: &Results<'_>,
    signature: &Signature<'_>,
    outputs: &[Output],
) -> Result<Vec<Stack>, ApiError> {
    let mut stacks: Vec<Option<Stack>> = outputs.iter().map(|_| None).collect();
    for hit in results.each() {
        let row = decode_tensors(&hit.output).unwrap_or_default();
        for (stack, output) in stacks.iter_mut().zip(outputs) {
            let tensor = row.iter().find(|tensor| tensor.name == output.name);
            let Some(tensor) = tensor else {
                return Err(ApiError::host_nonsense("an output is missing"));
            };
            match stack {
                None => *stack = Some(Stack::of(tensor.clone())),
                Some(stack) => stack.push(tensor)?,
            }
        }
    }
    let finish = |stack: Stack| stack.finish(signature.batched);
    Ok(stacks.into_iter().flatten().map(finish).collect())
}

/// An output, its rows one after the other.
pub(super) struct Stack {
    pub(super) name: String,
    pub(super) datatype: Datatype,
    /// Of a row, until the stack is [finished](Self::finish); then of all.
    pub(super) shape: Vec<u64>,
    pub(super) rows: Vec<Bytes>,
}

impl Stack {
    fn of(first: Tensor) -> Self {
        Self {
            name: first.name,
            datatype: first.datatype,
            shape: first.shape,
            rows: vec![first.data],
        }
    }

    fn push(&mut self, row: &Tensor) -> Result<(), ApiError> {
        if row.shape != self.shape {
            let what = format!(
                "has rows of different shapes ({:?} and {:?}), which make no tensor; ask for them one at a time",
                self.shape, row.shape
            );
            return Err(wrong(&row.name, &what));
        }
        self.rows.push(row.data.clone());
        Ok(())
    }

    fn finish(mut self, batched: bool) -> Self {
        if batched {
            self.shape.insert(0, self.rows.len() as u64);
        }
        self
    }
}

/// Writes all of an output but the bytes that come after the JSON.
fn write_tensor(output: &Output, stack: &Stack, json: &mut Vec<u8>) -> Result<(), ApiError> {
    json.extend_from_slice(br#"{"name":"#);
    write_text(&stack.name, json);
    json.extend_from_slice(br#","datatype":"#);
    write_text(stack.datatype.name(), json);
    json.extend_from_slice(br#","shape":"#);
    serde_json::to_writer(&mut *json, &stack.shape).expect("numbers always serialise");
    if output.is_binary {
        let size: usize = stack.rows.iter().map(Bytes::len).sum();
        json.extend_from_slice(br#","parameters":{"binary_data_size":"#);
        json.extend_from_slice(itoa::Buffer::new().format(size).as_bytes());
        json.extend_from_slice(b"}}");
        return Ok(());
    }
    json.extend_from_slice(br#","data":"#);
    let written = write_json::elements(stack.datatype, &stack.rows, MAX_ANSWER_BYTES, json);
    written.map_err(|error| match error {
        Unwritten::NoForm(what) => wrong(&stack.name, &what),
        Unwritten::TooLarge => ApiError::answer_too_large(MAX_ANSWER_BYTES),
    })?;
    json.push(b'}');
    Ok(())
}

fn write_text(text: &str, json: &mut Vec<u8>) {
    serde_json::to_writer(&mut *json, text).expect("a string always serialises");
}

/// 400: that output, and what of it.
fn wrong(name: &str, what: &str) -> ApiError {
    ApiError::invalid("outputs", format!("the output {} {what}", shorten(name)))
}
