//! Runs with bound inputs and outputs: how a CUDA device is fed.
//!
//! ```text
//!  feed --write--> pinned tensors --copy by the runtime--> device --run--> pinned output --read--> results
//! ```
//!
//! Memory that is pinned can be read by the device while the processor does something else, and needs no
//! second copy on the way. The tensors of the last shapes are kept, because pinning is slow; what lies on
//! the device is freed at the end of each run. Where shapes are fixed, runs can be captured besides
//! (see [`super::graphs`]).
//!
//! The same way can be gone on a processor, with plain memory in place of pinned: so it is tested.
//! Not here: models of any tensors, which are run unbound.

use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, NoSelectedOutputs, RunOptions};
use ort::value::{DynTensor, TensorElementType};

use super::graphs::Graphs;
use super::inputs::{Feed, cells_of};
use super::outputs::Numbers;
use super::{Call, runtime_error};
use crate::inference::backend::{BackendError, Output};
use crate::inference::device::Device;

/// Most shapes whose tensors are kept; a queue that sorts by length has some tens.
const MAX_KEPT: usize = 32;
/// Most bytes of kept tensors, one batch aside: pinned memory cannot be swapped out.
const MAX_KEPT_BYTES: usize = 256 << 20;
/// The run option that names a captured graph.
const GRAPH: &str = "gpu_graph_id";
/// Its value for a run that is neither captured nor replayed.
const NO_GRAPH: &str = "-1";

/// Where inputs are written and outputs are read.
pub(super) struct Place {
    /// Memory that this thread writes and reads.
    pub(super) host: Allocator,
    /// The memory in which a session computes.
    pub(super) device: Allocator,
    /// Where outputs of any shape are put.
    output: MemoryInfo<'static>,
}

impl Place {
    fn new(session: &ort::session::Session, device: Device) -> ort::Result<Self> {
        let Device::Cuda(number) = device else {
            return Ok(Self {
                host: Allocator::default(),
                device: Allocator::default(),
                output: MemoryInfo::default(),
            });
        };
        let number = i32::try_from(number).unwrap_or(i32::MAX);
        let info = |place, memory| MemoryInfo::new(place, number, AllocatorType::Device, memory);
        let pinned = |memory| info(AllocationDevice::CUDA_PINNED, memory);
        let device = info(AllocationDevice::CUDA, MemoryType::Default)?;
        Ok(Self {
            host: Allocator::new(session, pinned(MemoryType::CPUInput)?)?,
            device: Allocator::new(session, device)?,
            output: pinned(MemoryType::CPUOutput)?,
        })
    }
}

/// A session's binding, and the tensors that are bound.
pub(super) struct Binding {
    io: IoBinding,
    /// The inputs' names, in the model's order.
    names: Vec<String>,
    kept: Kept,
    /// Options of a run that is not captured.
    plain: RunOptions<NoSelectedOutputs>,
    graphs: Option<Graphs>,
    /// After the tensors that it gave.
    place: Place,
}

/// What an output looks like.
pub(super) struct OutputShape {
    pub(super) elements: TensorElementType,
    pub(super) shape: Vec<i64>,
}

impl Binding {
    /// A binding without tensors. `captured`: runs of fixed shapes become graphs.
    pub(super) fn new(
        session: &ort::session::Session,
        device: Device,
        captured: bool,
    ) -> ort::Result<Self> {
        let inputs = session.inputs().iter();
        Ok(Self {
            io: session.create_binding()?,
            names: inputs.map(|input| input.name().to_owned()).collect(),
            kept: Kept::default(),
            plain: options(captured.then_some(NO_GRAPH))?,
            graphs: captured.then(Graphs::default),
            place: Place::new(session, device)?,
        })
    }

    /// Runs a batch.
    pub(super) fn run(
        &mut self,
        session: &mut ort::session::Session,
        call: &Call<'_>,
        numbers: &Numbers,
    ) -> Result<Vec<Output>, BackendError> {
        let shape = call.feed.shape(call.batch, call.at_least)?;
        let wanted = call.fixed && call.options.is_none();
        let Some(graphs) = self.graphs.as_mut().filter(|_| wanted) else {
            return self.run_once(session, call, &shape, numbers).map(|it| it.0);
        };
        if let Some(graph) = graphs.find(&shape) {
            return graph.run(session, call, numbers);
        }
        // The first run of a shape shows what its output looks like.
        let (results, output) = self.run_once(session, call, &shape, numbers)?;
        if let Some(graphs) = &mut self.graphs {
            let (names, place) = (&self.names, &self.place);
            let inputs = tensors(&place.host, call.feed, &shape).map_err(runtime_error)?;
            let io = session.create_binding().map_err(runtime_error)?;
            graphs
                .add((io, inputs, output), names, place, &numbers.output)
                .map_err(runtime_error)?;
        }
        Ok(results)
    }

    /// Runs a batch that is not captured, and frees what it took on the device.
    fn run_once(
        &mut self,
        session: &mut ort::session::Session,
        call: &Call<'_>,
        shape: &[usize],
        numbers: &Numbers,
    ) -> Result<(Vec<Output>, OutputShape), BackendError> {
        let run = self.run_bound(session, call, shape, numbers);
        self.io.clear();
        self.kept.bound();
        run
    }

    fn run_bound(
        &mut self,
        session: &mut ort::session::Session,
        call: &Call<'_>,
        shape: &[usize],
        numbers: &Numbers,
    ) -> Result<(Vec<Output>, OutputShape), BackendError> {
        let host = &self.place.host;
        let inputs = self
            .kept
            .take(shape, || tensors(host, call.feed, shape))
            .map_err(runtime_error)?;
        write(inputs, call, shape)?;
        for (name, tensor) in self.names.iter().zip(inputs.iter()) {
            // Copies to the device, if that is another.
            self.io.bind_input(name, tensor).map_err(runtime_error)?;
        }
        self.io
            .bind_output_to_device(&numbers.output, &self.place.output)
            .map_err(runtime_error)?;
        self.io.synchronize_inputs().map_err(runtime_error)?;
        let options = call.options.unwrap_or(&self.plain);
        let given = session
            .run_binding_with_options(&self.io, options)
            .map_err(runtime_error)?;
        self.io.synchronize_outputs().map_err(runtime_error)?;
        let value = &given[&numbers.output[..]];
        let results = numbers.results(value, &call.sizes())?;
        let (shape, elements) = (value.dtype().tensor_shape(), value.dtype().tensor_type());
        let output = OutputShape {
            elements: elements.unwrap_or(TensorElementType::Float32),
            shape: shape.map(|shape| shape.to_vec()).unwrap_or_default(),
        };
        Ok((results, output))
    }

    /// Lets the tensors of past runs go; captured ones stay, their addresses are in the graphs.
    pub(super) fn forget(&mut self) {
        self.kept = Kept::default();
    }
}

/// Options of a run, of that graph if there are any.
pub(super) fn options(graph: Option<&str>) -> ort::Result<RunOptions<NoSelectedOutputs>> {
    let mut options = RunOptions::new()?;
    if let Some(graph) = graph {
        options.set(GRAPH, graph)?;
    }
    Ok(options)
}

/// Keeps a run out of the captured ones of its session.
pub(super) fn not_captured(options: &mut RunOptions<NoSelectedOutputs>) -> ort::Result<()> {
    options.set(GRAPH, NO_GRAPH)
}

/// Tensors for the inputs of a feed.
pub(super) fn tensors(
    allocator: &Allocator,
    feed: &dyn Feed,
    shape: &[usize],
) -> ort::Result<Vec<DynTensor>> {
    let elements = feed.elements().into_iter();
    elements
        .map(|elements| DynTensor::new(allocator, elements, shape))
        .collect()
}

/// Writes a batch into its inputs.
pub(super) fn write(
    inputs: &mut [DynTensor],
    call: &Call<'_>,
    shape: &[usize],
) -> Result<(), BackendError> {
    for (index, tensor) in inputs.iter_mut().enumerate() {
        call.feed
            .write(index, call.batch, shape, cells_of(tensor)?)?;
    }
    Ok(())
}

/// Inputs of the last shapes, the one used last at the end.
#[derive(Default)]
struct Kept {
    shapes: Vec<(Vec<usize>, Vec<DynTensor>)>,
}

impl Kept {
    fn take(
        &mut self,
        shape: &[usize],
        make: impl FnOnce() -> ort::Result<Vec<DynTensor>>,
    ) -> ort::Result<&mut [DynTensor]> {
        let found = self.shapes.iter().position(|(kept, _)| kept == shape);
        let entry = match found {
            Some(place) => self.shapes.remove(place),
            None => (shape.to_vec(), make()?),
        };
        self.shapes.push(entry);
        let last = self.shapes.last_mut().expect("it was pushed above");
        Ok(&mut last.1)
    }

    /// Lets the shapes go that were used longest ago, until what is left is within the bounds; the one used
    /// last stays, whatever its size.
    fn bound(&mut self) {
        let mut bytes = 0;
        let mut fits = 0;
        for (_, tensors) in self.shapes.iter().rev() {
            bytes += tensors.iter().map(bytes_of).sum::<usize>();
            if fits > 0 && (fits == MAX_KEPT || bytes > MAX_KEPT_BYTES) {
                break;
            }
            fits += 1;
        }
        self.shapes.drain(..self.shapes.len() - fits);
    }
}

fn bytes_of(tensor: &DynTensor) -> usize {
    let elements = tensor.shape().num_elements();
    tensor.data_type().byte_size(elements).unwrap_or(0)
}
