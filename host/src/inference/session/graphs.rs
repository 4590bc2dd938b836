//! Captured runs: CUDA graphs, one for each fixed shape.
//!
//! A captured run is replayed as a whole, at the addresses that it was captured with. So its inputs and its
//! output lie on the device for good, and are copied to and from there outside of the run. The runtime
//! captures by itself, at the first run of an id.
//!
//! As many graphs as the model has shape buckets; each holds its inputs and its output twice.

use ort::session::{IoBinding, NoSelectedOutputs, RunOptions};
use ort::value::DynTensor;

use super::binding::{OutputShape, Place, options, write};
use super::outputs::Numbers;
use super::{Call, runtime_error};
use crate::inference::backend::{BackendError, Output};

/// The graphs of a session.
#[derive(Default)]
pub(super) struct Graphs(Vec<Graph>);

/// The run of one shape.
pub(super) struct Graph {
    shape: Vec<usize>,
    /// Keeps what is bound alive.
    io: IoBinding,
    options: RunOptions<NoSelectedOutputs>,
    /// Where we write them.
    inputs: Vec<DynTensor>,
    device_inputs: Vec<DynTensor>,
    /// Where we read it.
    output: DynTensor,
    device_output: DynTensor,
}

impl Graphs {
    /// The graph of a shape.
    pub(super) fn find(&mut self, shape: &[usize]) -> Option<&mut Graph> {
        self.0.iter_mut().find(|graph| graph.shape == shape)
    }

    /// Prepares a graph for the shape of these inputs, which are where we write them; the next run of that
    /// shape is captured.
    pub(super) fn add(
        &mut self,
        (mut io, inputs, output): (IoBinding, Vec<DynTensor>, OutputShape),
        names: &[String],
        place: &Place,
        output_name: &str,
    ) -> ort::Result<()> {
        let size = |size: &i64| usize::try_from(*size).unwrap_or(0);
        let first = inputs.first().map(|input| input.shape());
        let shape: Vec<usize> = first.map_or(Vec::new(), |it| it.iter().map(size).collect());
        let mut device_inputs = Vec::with_capacity(inputs.len());
        for (input, name) in inputs.iter().zip(names) {
            let device = DynTensor::new(&place.device, *input.data_type(), &shape[..])?;
            io.bind_input(name, &device)?;
            device_inputs.push(device);
        }
        let tensor = |allocator| DynTensor::new(allocator, output.elements, &output.shape[..]);
        let mut device_output = tensor(&place.device)?;
        io.bind_output(output_name, &mut device_output)?;
        // Zero is what runs without an id have.
        let id = self.0.len() + 1;
        self.0.push(Graph {
            shape,
            io,
            options: options(Some(&id.to_string()))?,
            inputs,
            device_inputs,
            output: tensor(&place.host)?,
            device_output,
        });
        Ok(())
    }
}

impl Graph {
    /// Captures or replays the run for this batch.
    pub(super) fn run(
        &mut self,
        session: &mut ort::session::Session,
        call: &Call<'_>,
        numbers: &Numbers,
    ) -> Result<Vec<Output>, BackendError> {
        write(&mut self.inputs, call, &self.shape)?;
        for (host, device) in self.inputs.iter().zip(&mut self.device_inputs) {
            host.copy_into(device).map_err(runtime_error)?;
        }
        session
            .run_binding_with_options(&self.io, &self.options)
            .map_err(runtime_error)?;
        self.io.synchronize_outputs().map_err(runtime_error)?;
        self.device_output
            .copy_into(&mut self.output)
            .map_err(runtime_error)?;
        numbers.results(&self.output, &call.sizes())
    }
}
