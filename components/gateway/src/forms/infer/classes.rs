//! The classification extension: the highest elements of an output, each as `score:place:label`.

use std::fmt::Write;

use brink_protocol::tensor::{Datatype, TensorInfo};

use super::answer::Stack;
use crate::error::{ApiError, shorten};
use crate::forms::ranked;

/// Whether an output of the model can be told that way: a list of FP32 in each row.
pub(super) fn check(info: &TensorInfo, batched: bool) -> Result<(), ApiError> {
    let is_list = info.datatype == Datatype::Fp32 && info.shape.len() == 1;
    if is_list && batched {
        return Ok(());
    }
    let message = format!(
        "the output {} is asked for as a classification; that is for outputs of one FP32 list in each row",
        shorten(&info.name)
    );
    Err(ApiError::invalid("outputs", message))
}

/// The `most` highest elements of each row. Rows of `stack` are lists of FP32.
pub(super) fn of(stack: &Stack, most: usize, labels: &[String]) -> Stack {
    let elements = stack.shape.last().copied().unwrap_or_default();
    let mut data = Vec::new();
    for row in &stack.rows {
        for (place, score) in ranked::highest(row, most) {
            let mut class = format!("{score:.6}:{place}");
            if let Some(label) = labels.get(place) {
                write!(class, ":{label}").expect("a text takes whatever is written to it");
            }
            let length = u32::try_from(class.len()).unwrap_or(u32::MAX);
            data.extend_from_slice(&length.to_le_bytes());
            data.extend_from_slice(class.as_bytes());
        }
    }
    Stack {
        name: stack.name.clone(),
        datatype: Datatype::Bytes,
        shape: vec![stack.rows.len() as u64, elements.min(most as u64)],
        rows: vec![data.into()],
    }
}
