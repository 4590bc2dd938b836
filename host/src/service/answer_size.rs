//! How many bytes the results of a call may have together.
//!
//! An answer is one message, and an edge holds it several times in little memory. So a call that gets too
//! much is refused: before anything runs where results of the model have one size, and otherwise as soon as
//! those that are there are too many. What is still under way for it is dropped then.

use brink_protocol::tensor::TensorInfo;
use brink_protocol::{Fault, FaultCode, ModelInfo, ModelKind};

use super::call_fault;
use super::plan::Plan;

/// What the results of a call have so far.
#[derive(Debug)]
pub(super) struct AnswerSize<'a> {
    model: &'a str,
    most: usize,
    /// For each distinct input, how often the call has it.
    times: Vec<usize>,
    taken: usize,
}

impl<'a> AnswerSize<'a> {
    /// Of a call that has no result yet.
    ///
    /// # Errors
    /// When its results can only be too large.
    pub(super) fn new(model: &'a ModelInfo, plan: &Plan, most: usize) -> Result<Self, Fault> {
        let mut times = vec![0; plan.distinct.len()];
        for slot in &plan.slots {
            times[*slot] += 1;
        }
        let size = Self {
            model: &model.name,
            most,
            times,
            taken: 0,
        };
        let least = result_bytes(&model.kind).map(|bytes| bytes.saturating_mul(plan.slots.len()));
        match least.filter(|least| *least > most) {
            Some(least) => Err(size.refuse(least)),
            None => Ok(size),
        }
    }

    /// Adds the result of a distinct input.
    ///
    /// # Errors
    /// When that is too much.
    pub(super) fn add(&mut self, distinct: usize, bytes: usize) -> Result<(), Fault> {
        let all = bytes.saturating_mul(self.times[distinct]);
        self.taken = self.taken.saturating_add(all);
        if self.taken > self.most {
            return Err(self.refuse(self.taken));
        }
        Ok(())
    }

    fn refuse(&self, bytes: usize) -> Fault {
        let message = format!(
            "the outputs of model {} have {bytes} bytes or more for this call; at most {} are allowed \
             (inference.max_output_mib): send fewer inputs, or smaller ones",
            self.model, self.most
        );
        call_fault(FaultCode::BadRequest, message)
    }
}

/// Bytes of each result, where all have the same or more.
fn result_bytes(kind: &ModelKind) -> Option<usize> {
    const NUMBER: usize = size_of::<f32>();
    match kind {
        ModelKind::Embed { dimensions, .. } => Some(*dimensions as usize * NUMBER),
        ModelKind::Classify { labels, .. } => Some(labels.len() * NUMBER),
        // It writes, and has no results.
        ModelKind::Generate { .. } => None,
        ModelKind::Generic { outputs, .. } => outputs.iter().map(tensor_bytes).sum(),
    }
}

/// `None` where dimensions are free, or elements of any length.
fn tensor_bytes(info: &TensorInfo) -> Option<usize> {
    let mut bytes = info.datatype.size()?;
    for size in &info.shape {
        bytes = bytes.checked_mul(usize::try_from(*size).ok()?)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use brink_protocol::tensor::Datatype;

    use super::*;

    fn generic(shapes: &[&[i64]]) -> ModelKind {
        let output = |shape: &&[i64]| TensorInfo {
            name: "o".to_owned(),
            datatype: Datatype::Fp64,
            shape: shape.to_vec(),
        };
        ModelKind::Generic {
            inputs: Vec::new(),
            outputs: shapes.iter().map(output).collect(),
            batched: true,
        }
    }

    #[test]
    fn results_have_a_size_of_their_own_only_where_no_dimension_is_free() {
        assert_eq!(result_bytes(&generic(&[&[2, 3], &[]])), Some(56));
        assert_eq!(result_bytes(&generic(&[&[2, 3], &[-1]])), None);
        assert_eq!(result_bytes(&generic(&[&[i64::MAX, 9]])), None);
    }
}
