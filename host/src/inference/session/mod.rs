//! ONNX Runtime sessions: batches of payloads in, results out.
//!
//! ```text
//!  batch --feed--> input tensors --run--> output tensors --extract--> one result per item
//! ```
//!
//! What is fed and extracted follows from the model's task, and is checked against the ONNX file when it
//! is loaded.

mod binding;
mod bound;
mod graphs;
mod inputs;
mod outputs;
mod pixels;
mod placement;
mod probe;
mod providers;
mod tensors;
mod tokens;
mod wiring;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use brink_protocol::tensor::{Tensor, TensorInfo};
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{NoSelectedOutputs, RunOptions, SessionInputValue, SessionOutputs};

use self::binding::Binding;
use self::inputs::{Buffers, Feed};
use self::outputs::Numbers;
use self::tensors::OutputLimit;
use self::wiring::Wiring;
use super::backend::{Backend, BackendError, Output, Payload};
use super::config::InferenceConfig;
use super::device::Device;
use super::memory;
use super::model::{ModelFiles, ModelTask};
use super::runtime::Runtime;

pub(super) use bound::{Side, bind};
pub use placement::Placement;
pub(super) use placement::Probe;
pub use wiring::WiringError;

/// A session and the buffers of its runs.
pub struct Session {
    /// Before the session whose memory it holds.
    memory: Memory,
    inner: ort::session::Session,
    wiring: Wiring,
    /// What batches are filled up to.
    shape: FixedShape,
    /// An item that the model takes.
    blank: Payload,
    /// Of a model that reads text, the longest.
    max_tokens: Option<u32>,
    /// Of a model of any tensors, how large a result may be.
    limit: OutputLimit,
    /// Options of the run that gives memory back.
    shrinking: Arc<RunOptions<NoSelectedOutputs>>,
    /// Options of the first run.
    first: Arc<RunOptions<NoSelectedOutputs>>,
    /// Last, so that what the session took is free by then.
    _give_back: memory::GiveBack,
}

/// Where inputs are written.
enum Memory {
    /// Our own: what a processor reads.
    Buffers(Buffers),
    /// The runtime's, which is bound to the session.
    Bound(Box<Binding>),
}

impl Memory {
    /// The runtime's, or ours if it has none to give: slower, and as right. What is captured needs the former.
    fn bound(
        session: &ort::session::Session,
        device: Device,
        captured: bool,
    ) -> Result<Self, ort::Error> {
        match Binding::new(session, device, captured) {
            Ok(binding) => Ok(Self::Bound(Box::new(binding))),
            Err(error) if captured => Err(error),
            Err(error) => {
                let reason = &error as &(dyn std::error::Error + 'static);
                tracing::warn!(reason, %device, "no pinned memory: inputs are copied twice");
                Ok(Self::Buffers(Buffers::default()))
            }
        }
    }
}

/// One run of a model whose results are numbers.
struct Call<'a> {
    feed: &'a dyn Feed,
    batch: &'a [&'a Payload],
    /// Items and units to fill up to.
    at_least: [usize; 2],
    /// Whether the shape is one of a few.
    fixed: bool,
    options: Option<&'a RunOptions<NoSelectedOutputs>>,
}

impl Call<'_> {
    /// Real units of each item.
    fn sizes(&self) -> Vec<usize> {
        self.batch.iter().map(|payload| payload.size()).collect()
    }
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

    /// Items and length of a run of this batch, at least, and whether that is all.
    fn at_least(&self, batch: &[&Payload]) -> ([usize; 2], bool) {
        if self.lengths.is_empty() {
            return ([0, 0], false);
        }
        let longest = batch
            .iter()
            .map(|payload| payload.size())
            .max()
            .unwrap_or(0);
        let length = self.lengths.iter().find(|length| **length >= longest);
        let fixed = length.is_some() && batch.len() <= self.items;
        // Beyond the last one an item runs in its own length.
        ([self.items, length.copied().unwrap_or(longest)], fixed)
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
    /// Loads the model. The first run is still to be made, see [`Session::warm_up`]. With a probe, it is
    /// profiled until [`Session::placement`] is asked for.
    pub(super) fn load(
        runtime: &Runtime,
        files: &ModelFiles,
        config: &InferenceConfig,
        device: Device,
        probe: Option<&Probe>,
    ) -> Result<Self, LoadError> {
        let captured = captured(files, config);
        let mut builder = builder(runtime, config, device, captured)?;
        if let Some(probe) = probe {
            let profiled = builder.with_profiling(probe.prefix());
            builder = profiled.map_err(ort::Error::from)?;
        }
        let inner = builder.commit_from_file(files.model_on(device))?;
        let (wiring, blank) = wiring::wire(&inner, files)?;
        let bound = config.binds(device) && matches!(wiring, Wiring::Numbers(..));
        let mut shrinking = RunOptions::new()?;
        let arenas = providers::arenas(device, captured);
        shrinking.set("memory.enable_memory_arena_shrinkage", arenas)?;
        let mut first = RunOptions::new()?;
        if captured {
            binding::not_captured(&mut shrinking)?;
            binding::not_captured(&mut first)?;
        }
        Ok(Self {
            memory: match bound {
                true => Memory::bound(&inner, device, captured)?,
                false => Memory::Buffers(Buffers::default()),
            },
            inner,
            wiring,
            shape: FixedShape::of(files),
            blank,
            max_tokens: files.manifest.text().map(|text| text.max_tokens),
            limit: OutputLimit {
                model: files.manifest.name.as_str().into(),
                most: config.max_output_bytes,
            },
            shrinking: Arc::new(shrinking),
            first: Arc::new(first),
            _give_back: memory::GiveBack,
        })
    }

    /// Of a model of any tensors, what it reads and gives.
    pub(super) fn interface(&self) -> Interface {
        match &self.wiring {
            Wiring::Tensors(interface) => interface.clone(),
            Wiring::Numbers(..) => Interface::default(),
        }
    }

    /// Makes a first run: it allocates, and shows that the model gives what its folder says.
    pub(super) fn warm_up(&mut self) -> Result<(), BackendError> {
        let first = Arc::clone(&self.first);
        self.run_blank(&first)
    }

    /// Ends the probe, and tells where the nodes of the runs so far were.
    pub(super) fn placement(&mut self, probe: &Probe) -> io::Result<Placement> {
        let profile = self.inner.end_profiling().map_err(io::Error::other)?;
        probe.read(&profile)
    }

    fn run_blank(&mut self, options: &RunOptions<NoSelectedOutputs>) -> Result<(), BackendError> {
        let blank = self.blank.clone();
        self.run_with(&[&blank], Some(options)).map(drop)
    }

    fn run_with(
        &mut self,
        batch: &[&Payload],
        options: Option<&RunOptions<NoSelectedOutputs>>,
    ) -> Result<Vec<Output>, BackendError> {
        let (at_least, fixed) = self.shape.at_least(batch);
        match &self.wiring {
            Wiring::Numbers(feed, numbers) => {
                let call = Call {
                    feed: feed.as_ref(),
                    batch,
                    at_least,
                    fixed,
                    options,
                };
                match &mut self.memory {
                    Memory::Bound(binding) => binding.run(&mut self.inner, &call, numbers),
                    Memory::Buffers(buffers) => {
                        run_numbers(&mut self.inner, buffers, &call, numbers)
                    }
                }
            }
            Wiring::Tensors(interface) => {
                let given = (interface, &self.limit);
                run_tensors(&mut self.inner, given, batch, options)
            }
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
        match &mut self.memory {
            Memory::Buffers(buffers) => *buffers = Buffers::default(),
            Memory::Bound(binding) => binding.forget(),
        }
        let shrinking = Arc::clone(&self.shrinking);
        let shrunk = self.run_blank(&shrinking);
        memory::give_back();
        shrunk
    }
}

/// What every session is made with.
pub(super) fn builder(
    runtime: &Runtime,
    config: &InferenceConfig,
    device: Device,
    captured: bool,
) -> ort::Result<SessionBuilder> {
    ort::session::Session::builder(runtime.environment())?
        .with_optimization_level(GraphOptimizationLevel::Level3)
        .map_err(ort::Error::<()>::from)?
        .with_intra_threads(config.intra_threads)
        .map_err(ort::Error::<()>::from)?
        // A spinning thread takes the core from the threads that serve.
        .with_intra_op_spinning(false)
        .map_err(ort::Error::<()>::from)?
        // A plan of the memory of each shape that was seen: with shapes as many as here it is no faster,
        // and takes more at the peak, because each plan wants one block beside the pieces of the others.
        .with_memory_pattern(false)
        .map_err(ort::Error::<()>::from)?
        .with_execution_providers(providers::providers(device, config, captured))
        .map_err(ort::Error::from)
}

/// Whether runs of the model are captured: only where shapes are fixed.
fn captured(files: &ModelFiles, config: &InferenceConfig) -> bool {
    let numbers = !matches!(
        files.manifest.task,
        ModelTask::Generic { .. } | ModelTask::Generate(_)
    );
    config.cuda_graphs && numbers && !files.manifest.batching.shape_buckets.is_empty()
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

fn run_numbers(
    session: &mut ort::session::Session,
    buffers: &mut Buffers,
    call: &Call<'_>,
    numbers: &Numbers,
) -> Result<Vec<Output>, BackendError> {
    buffers.fill(call.feed, call.batch, call.at_least)?;
    let inputs = buffers.values().map_err(runtime_error)?;
    let given = run(session, &inputs, call.options)?;
    numbers.results(&given[&numbers.output[..]], &call.sizes())
}

fn run_tensors(
    session: &mut ort::session::Session,
    (interface, limit): (&Interface, &OutputLimit),
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
            limit.check(&given, &names, items.len())?;
            let outputs = tensors::outputs(&given, &names, items.len(), interface.batched)?;
            for (place, output) in places.iter().zip(outputs) {
                results[*place] = output;
            }
        }
    }
    Ok(results)
}

pub(super) fn runtime_error<R: Send + Sync + 'static>(error: ort::Error<R>) -> BackendError {
    BackendError::Runtime(Arc::new(error))
}
