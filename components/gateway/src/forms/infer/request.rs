//! The request as it is written: JSON, and tensors after it. What depends on the model is not checked here.

use brink_protocol::tensor::{Datatype, MAX_RANK, Tensor, TensorError};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::binary::{self, HEADER_LENGTH, Tail};
use super::parameters::{self, Parameters, Wishes};
use super::read_json::{self, ElementsError};
use super::{Infer, Output, coding};
use crate::error::{ApiError, shorten};
use crate::forms::at_most::AtMost;
use crate::forms::body;
use crate::head::Head;

/// Most bytes of an id that is told back.
pub const MAX_ID_BYTES: usize = 256;
/// Most inputs and most outputs that a request may name. Models have a handful.
pub const MAX_TENSORS: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRequest<'a> {
    id: Option<String>,
    #[serde(default)]
    parameters: Parameters,
    #[serde(borrow)]
    inputs: AtMost<RawInput<'a>, MAX_TENSORS>,
    outputs: Option<AtMost<RawOutput, MAX_TENSORS>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInput<'a> {
    name: String,
    shape: AtMost<u64, MAX_RANK>,
    datatype: String,
    #[serde(default)]
    parameters: Parameters,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOutput {
    name: String,
    #[serde(default)]
    parameters: Parameters,
}

/// Bytes that tensors may still make which were written as JSON: those have no length that could be told before.
struct Room {
    left: u64,
    limit: u64,
}

impl Room {
    fn take(&mut self, name: &str, bytes: u64) -> Result<(), ApiError> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(self.exceeded(name, self.limit - self.left + bytes)),
        }
    }

    fn exceeded(&self, name: &str, bytes: u64) -> ApiError {
        let what = format!("with the tensor {}, data makes", shorten(name));
        ApiError::too_large_once_read("inputs", &what, bytes, self.limit)
    }
}

/// Reads a body. `limit` is in bytes, and holds for what a compressed one becomes, and for what all data in JSON
/// makes: a digit and a comma can stand for eight bytes.
pub(super) fn read(head: &Head<'_>, bytes: Bytes, limit: u64) -> Result<Infer, ApiError> {
    let bytes = coding::decoded(bytes, head.get("content-encoding"), limit)?;
    let (json, mut tail) = binary::split(bytes, head.get(HEADER_LENGTH))?;
    let raw: RawRequest<'_> = body::read(&json)?;
    if let Some(id) = raw.id.as_ref().filter(|id| id.len() > MAX_ID_BYTES) {
        let message = format!(
            "id has {} bytes; at most {MAX_ID_BYTES} are allowed",
            id.len()
        );
        return Err(ApiError::invalid("id", message));
    }
    check_count("inputs", raw.inputs.count)?;
    let outputs = raw.outputs.unwrap_or_default();
    check_count("outputs", outputs.count)?;
    let wishes = Wishes::read(&raw.parameters)?;
    let mut room = Room { left: limit, limit };
    let inputs = raw.inputs.kept.into_iter();
    let inputs = inputs.map(|input| tensor(input, &mut tail, &mut room));
    let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
    tail.finish()?;
    let outputs = outputs.kept.into_iter();
    let outputs = outputs.map(|output| wanted(output, wishes));
    Ok(Infer {
        id: raw.id,
        inputs,
        outputs: outputs.collect::<Result<_, _>>()?,
        wishes,
    })
}

fn check_count(member: &str, count: usize) -> Result<(), ApiError> {
    if count <= MAX_TENSORS {
        return Ok(());
    }
    let message = format!("{member} has {count} tensors; at most {MAX_TENSORS} are allowed");
    Err(ApiError::invalid(member, message))
}

fn tensor(raw: RawInput<'_>, tail: &mut Tail, room: &mut Room) -> Result<Tensor, ApiError> {
    let name = raw.name;
    if raw.shape.count > MAX_RANK {
        let error = TensorError::Rank(raw.shape.count);
        return Err(wrong(&name, &error.to_string()));
    }
    let shape = raw.shape.kept;
    let datatype = Datatype::from_name(&raw.datatype).ok_or_else(|| {
        let names = Datatype::ALL.map(Datatype::name).join(", ");
        let what = format!(
            "has the datatype {}; there are {names}",
            shorten(&raw.datatype)
        );
        wrong(&name, &what)
    })?;
    let data: Bytes = match (parameters::binary_size(&raw.parameters)?, raw.data) {
        (Some(size), None) => tail.take(&shorten(&name), size)?,
        (None, Some(data)) => {
            let read = read_json::elements(data, datatype, &shape, room.left);
            let read = read.map_err(|error| match error {
                ElementsError::Wrong(what) => wrong(&name, &what),
                ElementsError::TooLarge(bytes) => {
                    room.exceeded(&name, room.limit - room.left + bytes)
                }
            })?;
            room.take(&name, read.len() as u64)?;
            read.into()
        }
        (Some(_), Some(_)) => return Err(wrong(&name, "has both data and binary_data_size")),
        (None, None) => return Err(wrong(&name, "has neither data nor binary_data_size")),
    };
    let tensor = Tensor {
        name,
        datatype,
        shape,
        data,
    };
    tensor
        .check()
        .map_err(|error| wrong(&tensor.name, &error.to_string()))?;
    if datatype == Datatype::Bool && tensor.data.iter().any(|byte| *byte > 1) {
        return Err(wrong(&tensor.name, "has a BOOL that is neither 0 nor 1"));
    }
    Ok(tensor)
}

fn wanted(raw: RawOutput, wishes: Wishes) -> Result<Output, ApiError> {
    let (binary, classes) = parameters::output(&raw.parameters)?;
    Ok(Output {
        name: raw.name,
        is_binary: binary.unwrap_or(wishes.binary_output),
        classes: classes.map(|classes| usize::try_from(classes).unwrap_or(usize::MAX)),
    })
}

/// 400: that tensor of the inputs, and what of it.
pub(super) fn wrong(name: &str, what: &str) -> ApiError {
    ApiError::invalid("inputs", format!("the tensor {} {what}", shorten(name)))
}
