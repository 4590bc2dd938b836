//! ONNX Runtime sessions: batches of payloads in, results out.
//!
//! ```text
//!  batch --feed--> input tensors --run--> output tensors --extract--> one result per item
//! ```
//!
//! What is fed and extracted follows from the model's task, and is checked against the ONNX file when it
//! is loaded.

mod outputs;
mod pixels;
mod probe;
mod tensors;
mod tokens;
mod wiring;

use std::sync::Arc;
use std::time::Duration;

use brink_protocol::tensor::{Tensor, TensorInfo};
use ort::ep::{self, ExecutionProviderDispatch};
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{NoSelectedOutputs, RunOptions, SessionInputValue, SessionOutputs};

use self::outputs::{Numbers, NumbersShape};
use self::pixels::PixelFeed;
use self::tokens::TokenFeed;
use super::backend::{Backend, BackendError, Output, Payload};
use super::config::InferenceConfig;
use super::device::Device;
use super::memory;
use super::model::{ClassifierInput, ModelFiles, ModelTask};
use super::runtime::Runtime;

pub use wiring::WiringError;

/// Ids of a warm-up input. Any do; most vocabularies have some hundred.
const WARM_UP: [u32; 4] = [1; 4];

/// A session and the buffers of its runs.
pub struct Session {
    inner: ort::session::Session,
    wiring: Wiring,
    /// What batches are filled up to.
    shape: FixedShape,
    /// An item that the model takes.
    blank: Payload,
    /// Of a model that reads text, the longest.
    max_tokens: Option<u32>,
    /// Options of the run that gives memory back.
    shrinking: Arc<RunOptions<NoSelectedOutputs>>,
    /// Last, so that what the session took is free by then.
    _give_back: memory::GiveBack,
}

/// How payloads become inputs, and outputs results.
enum Wiring {
    Tokens(TokenFeed, Numbers),
    Pixels(PixelFeed, Numbers),
    Tensors(Interface),
}

/// What a model of any tensors reads and gives.
#[derive(Clone, Debug, Default)]
pub struct Interface {
    /// Inputs in the model's order, without the dimension of the batch.
    pub inputs: Vec<TensorInfo>,
    /// Outputs likewise.
    pub outputs: Vec<TensorInfo>,
    /// Whether there is such a dimension.
    pub batched: bool,
}

/// What batches are filled up to, so that an item is always computed in a run of the same shape: whatever
/// the runtime does differently for other shapes, it cannot show in a result then.
#[derive(Clone, Debug, Default)]
struct FixedShape {
    /// Lengths, rising; empty: the longest item's.
    lengths: Vec<usize>,
    /// Items, if there are lengths.
    items: usize,
}

impl FixedShape {
    fn of(files: &ModelFiles) -> Self {
        let batching = &files.manifest.batching;
        Self {
            lengths: batching.shape_buckets.clone(),
            items: batching.bucket_items.unwrap_or(1),
        }
    }

    /// Items and length of a run of this batch, at least.
    fn at_least(&self, batch: &[&Payload]) -> [usize; 2] {
        if self.lengths.is_empty() {
            return [0, 0];
        }
        let longest = batch
            .iter()
            .map(|payload| payload.size())
            .max()
            .unwrap_or(0);
        let length = self.lengths.iter().find(|length| **length >= longest);
        // Beyond the last one an item runs in its own length.
        [self.items, length.copied().unwrap_or(longest)]
    }
}

/// Why a session cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The runtime refuses the file or the device.
    #[error(transparent)]
    Runtime(#[from] ort::Error),
    /// The model is not what its folder says.
    #[error(transparent)]
    Wiring(#[from] WiringError),
}

/// A failure that has only words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failed(String);

impl Session {
    /// Loads the model. The first run is still to be made, see [`Session::warm_up`].
    pub(super) fn load(
        runtime: &Runtime,
        files: &ModelFiles,
        config: &InferenceConfig,
        device: Device,
    ) -> Result<Self, LoadError> {
        let inner = ort::session::Session::builder(runtime.environment())?
            .with_optimization_level(GraphOptimizationLevel::Level3)
            .map_err(ort::Error::from)?
            .with_intra_threads(config.intra_threads)
            .map_err(ort::Error::from)?
            // A spinning thread takes the core from the threads that serve.
            .with_intra_op_spinning(false)
            .map_err(ort::Error::from)?
            .with_execution_providers(providers(device))
            .map_err(ort::Error::from)?
            .commit_from_file(files.model())?;
        let (wiring, blank) = wire(&inner, files)?;
        let mut shrinking = RunOptions::new()?;
        let arena = match device {
            Device::Cpu => "cpu:0".to_owned(),
            Device::Cuda(number) => format!("cpu:0;gpu:{number}"),
        };
        shrinking.set("memory.enable_memory_arena_shrinkage", arena)?;
        Ok(Self {
            inner,
            wiring,
            shape: FixedShape::of(files),
            blank,
            max_tokens: files.manifest.text().map(|text| text.max_tokens),
            shrinking: Arc::new(shrinking),
            _give_back: memory::GiveBack,
        })
    }

    /// Of a model of any tensors, what it reads and gives.
    pub(super) fn interface(&self) -> Interface {
        match &self.wiring {
            Wiring::Tensors(interface) => interface.clone(),
            Wiring::Tokens(..) | Wiring::Pixels(..) => Interface::default(),
        }
    }

    /// Makes a first run: it allocates, and shows that the model gives what its folder says.
    pub(super) fn warm_up(&mut self) -> Result<(), BackendError> {
        let blank = self.blank.clone();
        self.run_with(&[&blank], None).map(drop)
    }

    fn run_with(
        &mut self,
        batch: &[&Payload],
        options: Option<&RunOptions<NoSelectedOutputs>>,
    ) -> Result<Vec<Output>, BackendError> {
        let inner = &mut self.inner;
        let at_least = self.shape.at_least(batch);
        match &mut self.wiring {
            Wiring::Tokens(feed, numbers) => {
                feed.fill(batch, at_least)?;
                let given = run(inner, &feed.values().map_err(runtime_error)?, options)?;
                numbers.results(&given, feed.lengths())
            }
            Wiring::Pixels(feed, numbers) => {
                feed.fill(batch, at_least[0])?;
                let given = run(inner, &feed.values().map_err(runtime_error)?, options)?;
                numbers.results(&given, &vec![1; batch.len()])
            }
            Wiring::Tensors(interface) => run_tensors(inner, interface, batch, options),
        }
    }
}

impl Backend for Session {
    /// Of tensors, only the model knows which values it takes. A run that fails while one of blank
    /// tensors does not is the items' fault, which must not count against the model.
    fn run(&mut self, batch: &[&Payload]) -> Result<Vec<Output>, BackendError> {
        if matches!(self.wiring, Wiring::Tensors(_)) {
            return match self.run_with(batch, None) {
                Err(BackendError::Runtime(source)) if self.warm_up().is_ok() => {
                    Err(BackendError::Refused(source))
                }
                result => result,
            };
        }
        self.run_with(batch, None)
    }

    fn probe_sizes(&self) -> Vec<usize> {
        self.sizes()
    }

    fn probe(&mut self, items: usize, size: usize) -> Result<Option<Duration>, BackendError> {
        self.time(items, size)
    }

    /// The arena is shrunk at the end of a run, so a small one is made for that. What requests left
    /// behind in the allocator goes with it: that may hold hits up, but no batch.
    fn shrink(&mut self) -> Result<(), BackendError> {
        match &mut self.wiring {
            Wiring::Tokens(feed, _) => feed.forget(),
            Wiring::Pixels(feed, _) => feed.forget(),
            Wiring::Tensors(_) => {}
        }
        let options = Arc::clone(&self.shrinking);
        let blank = self.blank.clone();
        let shrunk = self.run_with(&[&blank], Some(&options)).map(drop);
        memory::give_back();
        shrunk
    }
}

/// Holds the model against its folder. Also gives an item that the model takes.
fn wire(
    session: &ort::session::Session,
    files: &ModelFiles,
) -> Result<(Wiring, Payload), WiringError> {
    let tokens = || Payload::Tokens(WARM_UP.to_vec());
    match &files.manifest.task {
        ModelTask::Embed(it) => {
            let shape = NumbersShape::Vector {
                pooling: it.pooling,
                normalize: it.normalize,
            };
            let numbers = numbers(session, None, it.dimensions as usize, shape)?;
            Ok((
                Wiring::Tokens(TokenFeed::of_text(session)?, numbers),
                tokens(),
            ))
        }
        ModelTask::Classify(it) => {
            let shape = NumbersShape::Scores { logits: it.logits };
            let output = it.output.as_deref();
            let numbers = numbers(session, output, files.labels.len(), shape)?;
            Ok(match &it.input {
                ClassifierInput::Text { .. } => (
                    Wiring::Tokens(TokenFeed::of_text(session)?, numbers),
                    tokens(),
                ),
                ClassifierInput::Bytes(bytes) => {
                    let feed = TokenFeed::of_numbers(session, &bytes.tensor)?;
                    let blank = vec![bytes.padding; (bytes.begin + bytes.end) as usize];
                    (Wiring::Tokens(feed, numbers), Payload::Tokens(blank))
                }
                ClassifierInput::Image(image) => {
                    let feed = PixelFeed::new(session, image)?;
                    let size = image.width as usize * image.height as usize * 3;
                    (
                        Wiring::Pixels(feed, numbers),
                        Payload::Pixels(vec![0; size].into()),
                    )
                }
            })
        }
        ModelTask::Generic { batched } => {
            let interface = Interface {
                inputs: wiring::infos(session.inputs(), *batched)?,
                outputs: wiring::infos(session.outputs(), *batched)?,
                batched: *batched,
            };
            let blank = interface.inputs.iter().map(blank).collect();
            Ok((Wiring::Tensors(interface), Payload::Tensors(blank)))
        }
    }
}

fn numbers(
    session: &ort::session::Session,
    name: Option<&str>,
    per_item: usize,
    shape: NumbersShape,
) -> Result<Numbers, WiringError> {
    let named = |name| {
        session
            .outputs()
            .iter()
            .position(|output| output.name() == name)
    };
    let output = match name {
        None => 0,
        Some(name) => named(name).ok_or_else(|| WiringError::NoOutput(name.to_owned()))?,
    };
    Ok(Numbers {
        output,
        per_item,
        shape,
    })
}

/// A tensor of zeros that fits; where any size will do, of one.
fn blank(info: &TensorInfo) -> Tensor {
    let shape: Vec<u64> = info
        .shape
        .iter()
        .map(|size| u64::try_from(*size).unwrap_or(1))
        .collect();
    let elements: u64 = shape.iter().product();
    // Strings are empty: a length of zero.
    let bytes = elements * info.datatype.size().unwrap_or(4) as u64;
    Tensor {
        name: info.name.clone(),
        datatype: info.datatype,
        shape,
        data: vec![0; usize::try_from(bytes).unwrap_or(0)].into(),
    }
}

fn run<'s>(
    session: &'s mut ort::session::Session,
    inputs: &[SessionInputValue<'_>],
    options: Option<&'s RunOptions<NoSelectedOutputs>>,
) -> Result<SessionOutputs<'s>, BackendError> {
    match options {
        None => session.run(inputs),
        Some(options) => session.run_with_options(inputs, options),
    }
    .map_err(runtime_error)
}

fn run_tensors(
    session: &mut ort::session::Session,
    interface: &Interface,
    batch: &[&Payload],
    options: Option<&RunOptions<NoSelectedOutputs>>,
) -> Result<Vec<Output>, BackendError> {
    let names: Vec<String> = interface.outputs.iter().map(|it| it.name.clone()).collect();
    let mut results = vec![Output::new(); batch.len()];
    for group in tensors::groups(batch)? {
        let most = if interface.batched { group.len() } else { 1 };
        for places in group.chunks(most.max(1)) {
            let items = places.iter().map(|place| batch[*place].tensors());
            let items: Vec<&[Tensor]> = items.collect::<Result<_, _>>()?;
            let inputs = tensors::inputs(&items, interface.batched)?;
            let given = run(session, &inputs, options)?;
            let outputs = tensors::outputs(&given, &names, items.len(), interface.batched)?;
            for (place, output) in places.iter().zip(outputs) {
                results[*place] = output;
            }
        }
    }
    Ok(results)
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

fn runtime_error<R: Send + Sync + 'static>(error: ort::Error<R>) -> BackendError {
    BackendError::Runtime(Arc::new(error))
}
