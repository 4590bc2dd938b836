//! From results to the answer: rows are stacked again, and written as JSON or as bytes after it.

use brink_protocol::limits::MAX_MESSAGE_BYTES;
use brink_protocol::tensor::{Datatype, Tensor, TensorInfo, decode_tensors};
use brink_protocol::{ModelInfo, ModelKind};
use bytes::{Bytes, BytesMut};
use http::StatusCode;

use super::binary::HEADER_LENGTH;
use super::signature::Signature;
use super::{Infer, Output, classes, write_json};
use crate::error::{ApiError, shorten};
use crate::forms::classify::labels;
use crate::items::Results;
use crate::reply::Reply;

impl Infer {
    /// The answer.
    ///
    /// # Errors
    /// 400 for what has no form in JSON, and for rows that differ in shape; 413 for more bytes than a
    /// message may have.
    pub(in crate::forms) fn reply(&self, results: &Results<'_>) -> Result<Reply, ApiError> {
        let model = results.model();
        let signature = Signature::of(model);
        let outputs = self.outputs_of(&signature);
        let tensors = tensors(results, &signature, &outputs)?;
        let mut json = Vec::with_capacity(256);
        self.write_start(model, &mut json);
        let mut tail = BytesMut::new();
        for (index, (output, tensor)) in outputs.iter().zip(tensors).enumerate() {
            if index > 0 {
                json.push(b',');
            }
            let tensor = match output.classes {
                Some(most) => classes::of(&tensor, most, labels(model)),
                None => tensor,
            };
            write_tensor(output, &tensor, &mut json, &mut tail)?;
        }
        json.extend_from_slice(b"]}");
        if !outputs.iter().any(|output| output.is_binary) {
            return Ok(Reply::json(StatusCode::OK, json));
        }
        let length = itoa::Buffer::new().format(json.len()).to_owned();
        json.extend_from_slice(&tail);
        Ok(
            Reply::bytes(StatusCode::OK, "application/octet-stream", json)
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
fn tensors(
    results: &Results<'_>,
    signature: &Signature<'_>,
    outputs: &[Output],
) -> Result<Vec<Tensor>, ApiError> {
    let size: usize = results.each().map(|hit| hit.output.len()).sum();
    if size > MAX_MESSAGE_BYTES {
        let message = format!(
            "the outputs have {size} bytes; at most {MAX_MESSAGE_BYTES} are allowed: ask for fewer rows at once"
        );
        return Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "answer_too_large",
            message,
        ));
    }
    match &results.model().kind {
        ModelKind::Generic { .. } | ModelKind::Generate { .. } => {
            generic(results, signature, outputs)
        }
        ModelKind::Embed { .. } | ModelKind::Classify { .. } => {
            let mut data = BytesMut::with_capacity(size);
            results
                .each()
                .for_each(|hit| data.extend_from_slice(&hit.output));
            let data = data.freeze();
            let rows = results.len() as u64;
            let tensor = |info: &TensorInfo| Tensor {
                name: info.name.clone(),
                datatype: info.datatype,
                shape: [rows]
                    .into_iter()
                    .chain(info.shape.iter().map(|size| size.unsigned_abs()))
                    .collect(),
                data: data.clone(),
            };
            // These models have one output.
            let wanted = outputs
                .iter()
                .filter_map(|output| find(signature, &output.name));
            Ok(wanted.map(tensor).collect())
        }
    }
}

fn generic(
    results: &Results<'_>,
    signature: &Signature<'_>,
    outputs: &[Output],
) -> Result<Vec<Tensor>, ApiError> {
    let mut stacks: Vec<Option<Stack>> = outputs.iter().map(|_| None).collect();
    for hit in results.each() {
        let row = decode_tensors(&hit.output).unwrap_or_default();
        for (stack, output) in stacks.iter_mut().zip(outputs) {
            let tensor = row.iter().find(|tensor| tensor.name == output.name);
            let Some(tensor) = tensor else {
                return Err(ApiError::host_nonsense("an output is missing"));
            };
            match stack {
                None => *stack = Some(Stack::of(tensor)),
                Some(stack) => stack.push(tensor)?,
            }
        }
    }
    let tensor = |stack: Stack| stack.finish(signature.batched);
    Ok(stacks.into_iter().flatten().map(tensor).collect())
}

/// Rows of one output, one after the other.
struct Stack {
    first: Tensor,
    rows: u64,
    data: BytesMut,
}

impl Stack {
    fn of(first: &Tensor) -> Self {
        Self {
            first: first.clone(),
            rows: 1,
            data: BytesMut::from(&first.data[..]),
        }
    }

    fn push(&mut self, row: &Tensor) -> Result<(), ApiError> {
        if row.shape != self.first.shape {
            let what = format!(
                "has rows of different shapes ({:?} and {:?}), which make no tensor; ask for them one at a time",
                self.first.shape, row.shape
            );
            return Err(wrong(&row.name, &what));
        }
        self.rows += 1;
        self.data.extend_from_slice(&row.data);
        Ok(())
    }

    fn finish(self, batched: bool) -> Tensor {
        let rows = batched.then_some(self.rows);
        Tensor {
            shape: rows
                .into_iter()
                .chain(self.first.shape.iter().copied())
                .collect(),
            data: Bytes::from(self.data),
            ..self.first
        }
    }
}

fn write_tensor(
    output: &Output,
    tensor: &Tensor,
    json: &mut Vec<u8>,
    tail: &mut BytesMut,
) -> Result<(), ApiError> {
    json.extend_from_slice(br#"{"name":"#);
    write_text(&tensor.name, json);
    json.extend_from_slice(br#","datatype":"#);
    write_text(tensor.datatype.name(), json);
    json.extend_from_slice(br#","shape":"#);
    serde_json::to_writer(&mut *json, &tensor.shape).expect("numbers always serialise");
    if output.is_binary {
        json.extend_from_slice(br#","parameters":{"binary_data_size":"#);
        json.extend_from_slice(itoa::Buffer::new().format(tensor.data.len()).as_bytes());
        json.extend_from_slice(b"}}");
        tail.extend_from_slice(&tensor.data);
        return Ok(());
    }
    json.extend_from_slice(br#","data":"#);
    write_json::elements(tensor, json).map_err(|what| wrong(&tensor.name, &what))?;
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
