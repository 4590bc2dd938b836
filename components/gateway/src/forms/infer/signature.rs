//! Which tensors a model reads and gives, whatever its task.
//!
//! Models that embed or classify have no tensors of their own for clients; theirs are made here: strings of
//! bytes in, numbers out.

use std::borrow::Cow;

use brink_protocol::tensor::{Datatype, TensorInfo};
use brink_protocol::{ModelInfo, ModelKind, Reads};

/// The tensors of a model. Shapes are those of one row, without the dimension that counts rows.
#[derive(Clone, Debug)]
pub struct Signature<'a> {
    /// What it reads.
    pub inputs: Cow<'a, [TensorInfo]>,
    /// What it gives.
    pub outputs: Cow<'a, [TensorInfo]>,
    /// Whether the first dimension of every tensor counts rows.
    pub batched: bool,
}

impl<'a> Signature<'a> {
    /// Of a model.
    pub fn of(model: &'a ModelInfo) -> Self {
        match &model.kind {
            ModelKind::Embed { dimensions, .. } => {
                Self::of_strings("text", ("embedding", i64::from(*dimensions)))
            }
            ModelKind::Classify { reads, labels } => {
                let input = match reads {
                    Reads::Text(_) => "text",
                    Reads::Image { .. } => "image",
                    Reads::Bytes { .. } => "file",
                };
                let labels = i64::try_from(labels.len()).unwrap_or(i64::MAX);
                Self::of_strings(input, ("scores", labels))
            }
            ModelKind::Generic {
                inputs,
                outputs,
                batched,
            } => Self {
                inputs: inputs.into(),
                outputs: outputs.into(),
                batched: *batched,
            },
            // It reads prompts, and is asked elsewhere.
            ModelKind::Generate { .. } => Self {
                inputs: Cow::Borrowed(&[]),
                outputs: Cow::Borrowed(&[]),
                batched: false,
            },
        }
    }

    fn of_strings(input: &str, (output, elements): (&str, i64)) -> Self {
        let tensor = |name: &str, datatype, shape| TensorInfo {
            name: name.to_owned(),
            datatype,
            shape,
        };
        Self {
            inputs: vec![tensor(input, Datatype::Bytes, vec![])].into(),
            outputs: vec![tensor(output, Datatype::Fp32, vec![elements])].into(),
            batched: true,
        }
    }

    /// A tensor's whole shape, with -1 where any number will do.
    pub fn shape(&self, info: &TensorInfo) -> Vec<i64> {
        let batch = self.batched.then_some(-1);
        batch
            .into_iter()
            .chain(info.shape.iter().copied())
            .collect()
    }
}
