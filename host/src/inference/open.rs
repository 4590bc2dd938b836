//! Opens a model's sessions, on the device that is asked for and there.

use std::path::PathBuf;

use super::backend::BackendError;
use super::config::InferenceConfig;
use super::device::{Device, DeviceChoice};
use super::memory;
use super::model::ModelFiles;
use super::runtime::Runtime;
use super::session::{Interface, LoadError, Session};

/// Sessions on a processor never starve the threads that serve.
const CORES_PER_SESSION: usize = 2;

/// Sessions of one model, all on one device.
pub struct Sessions {
    /// Where they run.
    pub device: Device,
    /// Of a model of any tensors, what it reads and gives.
    pub interface: Interface,
    /// One for each thread.
    pub sessions: Vec<Session>,
}

/// Why a model has no session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The device was asked for by name, and this library cannot use it.
    #[error(
        "inference.device is {0}, and this ONNX Runtime has no CUDA: install its GPU build, or set the device to auto"
    )]
    NoCuda(Device),
    /// The runtime refuses the model or the device.
    #[error("{} cannot be run on {device}", model.display())]
    Open {
        /// The ONNX file.
        model: PathBuf,
        /// Where it was to run.
        device: Device,
        /// What the runtime says.
        #[source]
        source: Box<LoadError>,
    },
    /// The first run failed.
    #[error("{} does not run on {device}", model.display())]
    WarmUp {
        /// The ONNX file.
        model: PathBuf,
        /// Where it was to run.
        device: Device,
        /// What went wrong.
        #[source]
        source: BackendError,
    },
}

/// Opens and warms the sessions of a model, one after another: CUDA sessions opened at once fail.
pub fn open_sessions(
    runtime: &Runtime,
    files: &ModelFiles,
    config: &InferenceConfig,
) -> Result<Sessions, SessionError> {
    let config = config.for_model(&files.manifest.run);
    let (device, first) = open_first(runtime, files, &config)?;
    let interface = first.interface();
    let mut sessions = vec![first];
    while sessions.len() < session_count(&config, device) {
        sessions.push(open_one(runtime, files, &config, device)?);
    }
    // Reading and optimising a model leaves much behind.
    memory::give_back();
    Ok(Sessions {
        device,
        interface,
        sessions,
    })
}

fn open_first(
    runtime: &Runtime,
    files: &ModelFiles,
    config: &InferenceConfig,
) -> Result<(Device, Session), SessionError> {
    let open = |device| open_one(runtime, files, config, device).map(|first| (device, first));
    match config.device {
        DeviceChoice::Cpu => open(Device::Cpu),
        DeviceChoice::Cuda(number) if !runtime.has_cuda() => {
            Err(SessionError::NoCuda(Device::Cuda(number)))
        }
        DeviceChoice::Cuda(number) => open(Device::Cuda(number)),
        DeviceChoice::Auto if !runtime.has_cuda() => open(Device::Cpu),
        DeviceChoice::Auto => open(Device::Cuda(0)).or_else(|error| {
            let reason = &error as &(dyn std::error::Error + 'static);
            tracing::warn!(reason, "CUDA cannot be used; running on the processor");
            open(Device::Cpu)
        }),
    }
}

fn session_count(config: &InferenceConfig, device: Device) -> usize {
    config.sessions.unwrap_or_else(|| match device {
        Device::Cuda(_) => 1,
        Device::Cpu => {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            (cores / CORES_PER_SESSION).max(1)
        }
    })
}

fn open_one(
    runtime: &Runtime,
    files: &ModelFiles,
    config: &InferenceConfig,
    device: Device,
) -> Result<Session, SessionError> {
    let loaded = Session::load(runtime, files, config, device);
    let mut session = loaded.map_err(|source| SessionError::Open {
        model: files.model(),
        device,
        source: Box::new(source),
    })?;
    session.warm_up().map_err(|source| SessionError::WarmUp {
        model: files.model(),
        device,
        source,
    })?;
    Ok(session)
}
