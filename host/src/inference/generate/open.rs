//! Opens a decoder.

use ort::session::RunOptions;

use super::Decoder;
use super::decoder::{Element, Half, OnnxDecoder, Single};
use super::layout::Layout;
use crate::inference::backend::BackendError;
use crate::inference::config::InferenceConfig;
use crate::inference::device::{Device, DeviceChoice};
use crate::inference::memory;
use crate::inference::model::{Generation, ModelFiles};
use crate::inference::open::SessionError;
use crate::inference::runtime::Runtime;
use crate::inference::session::{LoadError, WiringError, builder};

/// Ids of a warm-up prompt. Any do.
const WARM_UP: [u32; 4] = [1; 4];

/// A decoder, warm.
pub struct OpenedDecoder {
    /// It.
    pub decoder: Box<dyn Decoder>,
    /// Where it runs.
    pub device: Device,
}

/// Opens a model that writes, and lets it write a token.
///
/// # Errors
/// When the runtime refuses the file, or the file is not what its folder says.
pub fn open_decoder(
    runtime: &Runtime,
    files: &ModelFiles,
    generation: &Generation,
    config: &InferenceConfig,
) -> Result<OpenedDecoder, SessionError> {
    let config = &config.for_model(&files.manifest.run);
    if let DeviceChoice::Cuda(number) = config.device {
        return Err(SessionError::CpuOnly(Device::Cuda(number)));
    }
    let device = Device::Cpu;
    let mut decoder =
        load(runtime, files, generation, config).map_err(|source| SessionError::Open {
            model: files.model(),
            device,
            source: Box::new(source),
        })?;
    warm_up(&mut *decoder).map_err(|source| SessionError::WarmUp {
        model: files.model(),
        device,
        source,
    })?;
    // Reading and optimising a model leaves much behind.
    memory::give_back();
    Ok(OpenedDecoder { decoder, device })
}

fn load(
    runtime: &Runtime,
    files: &ModelFiles,
    generation: &Generation,
    config: &InferenceConfig,
) -> Result<Box<dyn Decoder>, LoadError> {
    let session = builder(runtime, config, Device::Cpu, false)?.commit_from_file(files.model())?;
    let layout = Layout::of(&session)?;
    if layout.vocabulary != generation.text.vocabulary as usize {
        let problem = format!("its logits are for {} tokens", layout.vocabulary);
        return Err(WiringError::NoDecoder(problem).into());
    }
    Ok(if layout.half {
        Box::new(decoder::<Half>(session, layout, generation)?)
    } else {
        Box::new(decoder::<Single>(session, layout, generation)?)
    })
}

fn decoder<E: Element>(
    session: ort::session::Session,
    layout: Layout,
    generation: &Generation,
) -> Result<OnnxDecoder<E>, LoadError> {
    let mut shrinking = RunOptions::new()?;
    shrinking.set("memory.enable_memory_arena_shrinkage", "cpu:0")?;
    let sizes = (generation.decode.slots, generation.text.max_tokens as usize);
    Ok(OnnxDecoder::new(session, layout, sizes, shrinking))
}

fn warm_up(decoder: &mut dyn Decoder) -> Result<(), BackendError> {
    decoder.prefill(0, &WARM_UP, true)?;
    decoder.step(&[(0, WARM_UP[0])])?;
    decoder.truncate(0, 0);
    Ok(())
}
