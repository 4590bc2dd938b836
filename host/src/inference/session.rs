//! ONNX Runtime sessions that embed batches of token ids.

use std::sync::Arc;

use bytes::Bytes;
use ort::ep::{self, ExecutionProviderDispatch};
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{NoSelectedOutputs, RunOptions, SessionInputValue};
use ort::value::TensorRef;

use super::backend::{Backend, BackendError, Output, Payload};
use super::config::InferenceConfig;
use super::device::Device;
use super::memory;
use super::model::ModelFiles;
use super::runtime::Runtime;

/// A warm-up input. Any ids do; most vocabularies have some hundred.
const WARM_UP: [u32; 4] = [1; 4];
/// A session and the buffers of its runs.
pub struct Session {
    inner: ort::session::Session,
    dimensions: usize,
    inputs: Vec<InputKind>,
    /// Options of the run that gives memory back.
    shrinking: Arc<RunOptions<NoSelectedOutputs>>,
    buffers: Buffers,
}

/// The inputs that encoders have. Each is `[batch, sequence]` of `i64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InputKind {
    Ids,
    Mask,
    /// Which of two texts a token belongs to: always the first here.
    Types,
}

impl Session {
    /// Loads the model. The first run is still to be made, see [`Session::warm_up`].
    pub(super) fn load(
        runtime: &Runtime,
        files: &ModelFiles,
        config: &InferenceConfig,
        device: Device,
    ) -> Result<Self, ort::Error> {
        let inner = ort::session::Session::builder(runtime.environment())?
            .with_optimization_level(GraphOptimizationLevel::Level3)?
            .with_intra_threads(config.intra_threads)?
            // A spinning thread takes the core from the threads that serve.
            .with_intra_op_spinning(false)?
            .with_execution_providers(providers(device))?
            .commit_from_file(&files.model)?;
        let inputs = inner
            .inputs()
            .iter()
            .map(|input| input_kind(input.name()))
            .collect::<Result<_, _>>()?;
        let mut shrinking = RunOptions::new()?;
        let arena = match device {
            Device::Cpu => "cpu:0".to_owned(),
            Device::Cuda(number) => format!("cpu:0;gpu:{number}"),
        };
        shrinking.set("memory.enable_memory_arena_shrinkage", arena)?;
        Ok(Self {
            inner,
            dimensions: files.manifest.dimensions as usize,
            inputs,
            shrinking: Arc::new(shrinking),
            buffers: Buffers::default(),
        })
    }

    /// Makes a first run: it allocates, and shows that the model gives what its folder says.
    pub(super) fn warm_up(&mut self) -> Result<(), BackendError> {
        self.run_with(&[&WARM_UP], None).map(drop)
    }

    fn run_with(
        &mut self,
        batch: &[&[u32]],
        options: Option<&RunOptions<NoSelectedOutputs>>,
    ) -> Result<Vec<Output>, BackendError> {
        let expected = batch.len() * self.dimensions;
        let shape = self.buffers.fill(batch);
        let inputs = self
            .inputs
            .iter()
            .map(|kind| TensorRef::from_array_view((shape, self.buffers.of(*kind))))
            .collect::<Result<Vec<_>, _>>()
            .map_err(runtime_error)?;
        let inputs: Vec<SessionInputValue<'_>> = inputs.into_iter().map(Into::into).collect();
        let outputs = match options {
            None => self.inner.run(&inputs[..]),
            Some(options) => self.inner.run_with_options(&inputs[..], options),
        }
        .map_err(runtime_error)?;
        let (_, numbers) = outputs[0]
            .try_extract_tensor::<f32>()
            .map_err(runtime_error)?;
        if numbers.len() != expected {
            return Err(BackendError::Shape {
                expected,
                actual: numbers.len(),
            });
        }
        numbers.chunks_exact(self.dimensions).map(vector).collect()
    }
}

impl Backend for Session {
    fn run(&mut self, batch: &[&Payload]) -> Result<Vec<Output>, BackendError> {
        let ids: Result<Vec<&[u32]>, _> = batch.iter().map(|payload| payload.tokens()).collect();
        self.run_with(&ids?, None)
    }

    /// The arena is shrunk at the end of a run, so a small one is made for that. What requests left
    /// behind in the allocator goes with it: that may hold hits up, but no batch.
    fn shrink(&mut self) -> Result<(), BackendError> {
        self.buffers = Buffers::default();
        let options = Arc::clone(&self.shrinking);
        let shrunk = self.run_with(&[&WARM_UP], Some(&options)).map(drop);
        memory::give_back();
        shrunk
    }
}

/// The providers of a device, in order of preference. ONNX Runtime falls back silently when a
/// provider fails; `error_on_failure` leaves that decision to us.
fn providers(device: Device) -> Vec<ExecutionProviderDispatch> {
    // The default of these bindings is no arena: every run would then ask the system for memory.
    let cpu = ep::CPU::default().with_arena_allocator(true).build();
    match device {
        Device::Cpu => vec![cpu],
        Device::Cuda(number) => {
            let number = i32::try_from(number).unwrap_or(i32::MAX);
            let cuda = ep::CUDA::default().with_device_id(number).build();
            vec![cuda.error_on_failure(), cpu]
        }
    }
}

fn input_kind(name: &str) -> Result<InputKind, ort::Error> {
    match name {
        "input_ids" => Ok(InputKind::Ids),
        "attention_mask" => Ok(InputKind::Mask),
        "token_type_ids" => Ok(InputKind::Types),
        other => Err(ort::Error::new(format!(
            "the model has an input {other}; input_ids, attention_mask and token_type_ids are known"
        ))),
    }
}

fn runtime_error<R: Send + Sync + 'static>(error: ort::Error<R>) -> BackendError {
    BackendError::Runtime(Arc::new(error))
}

fn vector(numbers: &[f32]) -> Result<Output, BackendError> {
    if !numbers.iter().all(|number| number.is_finite()) {
        return Err(BackendError::NotFinite);
    }
    Ok(Bytes::from_iter(
        numbers.iter().flat_map(|number| number.to_le_bytes()),
    ))
}

/// The padded inputs of a batch, kept from run to run.
#[derive(Debug, Default)]
struct Buffers {
    ids: Vec<i64>,
    mask: Vec<i64>,
    types: Vec<i64>,
}

impl Buffers {
    /// Pads a batch to its longest item. The id under a zero mask does not matter; zero is in
    /// every vocabulary.
    fn fill(&mut self, batch: &[&[u32]]) -> [usize; 2] {
        let length = batch.iter().map(|ids| ids.len()).max().unwrap_or(0);
        let shape = [batch.len(), length];
        for buffer in [&mut self.ids, &mut self.mask, &mut self.types] {
            buffer.clear();
            buffer.resize(batch.len() * length, 0);
        }
        for (row, ids) in batch.iter().enumerate() {
            let start = row * length;
            self.mask[start..start + ids.len()].fill(1);
            for (cell, id) in self.ids[start..].iter_mut().zip(ids.iter()) {
                *cell = i64::from(*id);
            }
        }
        shape
    }

    fn of(&self, kind: InputKind) -> &[i64] {
        match kind {
            InputKind::Ids => &self.ids,
            InputKind::Mask => &self.mask,
            InputKind::Types => &self.types,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_padded_to_their_longest_item() {
        let mut buffers = Buffers::default();
        buffers.fill(&[&[9; 7]]);
        assert_eq!(buffers.fill(&[&[5, 6, 7], &[8]]), [2, 3]);
        assert_eq!(buffers.of(InputKind::Ids), [5, 6, 7, 8, 0, 0]);
        assert_eq!(buffers.of(InputKind::Mask), [1, 1, 1, 1, 0, 0]);
        assert_eq!(buffers.of(InputKind::Types), [0; 6]);
    }

    #[test]
    fn vectors_that_are_not_finite_are_refused() {
        assert_eq!(
            vector(&[1.0]).ok(),
            Some(Bytes::from_static(&[0, 0, 128, 63]))
        );
        for number in [f32::NAN, f32::INFINITY] {
            assert!(matches!(
                vector(&[0.0, number]),
                Err(BackendError::NotFinite)
            ));
        }
    }
}
