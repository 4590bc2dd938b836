//! The request as it is written: JSON, and tensors after it. What depends on the model is not checked here.

use brink_protocol::tensor::{Datatype, Tensor};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::binary::{self, HEADER_LENGTH, Tail};
use super::parameters::{self, Parameters, Wishes};
use super::{Infer, Output, coding, read_json};
use crate::error::{ApiError, shorten};
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
    inputs: Vec<RawInput<'a>>,
    outputs: Option<Vec<RawOutput>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInput<'a> {
    name: String,
    shape: Vec<u64>,
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

/// Reads a body. `limit` is in bytes, and holds for what a compressed one becomes.
pub(super) fn read(head: &Head<'_>, bytes: &[u8], limit: u64) -> Result<Infer, ApiError> {
    let bytes = coding::decoded(bytes, head.get("content-encoding"), limit)?;
    let (json, mut tail) = binary::split(&bytes, head.get(HEADER_LENGTH))?;
    let raw: RawRequest<'_> = body::read(json)?;
    if let Some(id) = raw.id.as_ref().filter(|id| id.len() > MAX_ID_BYTES) {
        let message = format!(
            "id has {} bytes; at most {MAX_ID_BYTES} are allowed",
            id.len()
        );
        return Err(ApiError::invalid("id", message));
    }
    check_count("inputs", raw.inputs.len())?;
    let outputs = raw.outputs.unwrap_or_default();
    check_count("outputs", outputs.len())?;
    let wishes = Wishes::read(&raw.parameters)?;
    let inputs = raw.inputs.into_iter().map(|input| tensor(input, &mut tail));
    let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
    tail.finish()?;
    let outputs = outputs.into_iter().map(|output| wanted(output, wishes));
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

fn tensor(raw: RawInput<'_>, tail: &mut Tail) -> Result<Tensor, ApiError> {
    let name = raw.name;
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
        (None, Some(data)) => read_json::elements(data, datatype, &raw.shape)
            .map_err(|what| wrong(&name, &what))?
            .into(),
        (Some(_), Some(_)) => return Err(wrong(&name, "has both data and binary_data_size")),
        (None, None) => return Err(wrong(&name, "has neither data nor binary_data_size")),
    };
    let tensor = Tensor {
        name,
        datatype,
        shape: raw.shape,
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
