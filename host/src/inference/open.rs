//! Opens a model's sessions, on the device that is asked for and there.

use std::path::PathBuf;

use super::backend::BackendError;
use super::config::InferenceConfig;
use super::device::{Device, DeviceChoice};
use super::memory;
use super::model::ModelFiles;
use super::runtime::Runtime;
use super::session::{Interface, LoadError, Placement, Probe, Session};

/// Sessions of one model, all on one device.
pub struct Sessions {
    /// Where they run.
    pub device: Device,
    /// Of a model of any tensors, what it reads and gives.
    pub interface: Interface,
    /// One for each thread.
    pub sessions: Vec<Session>,
    /// Where the nodes of the first run were, if that was looked at: on a CUDA device.
    pub placement: Option<Placement>,
}

/// Why a model has no session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The device was asked for by name, and this library cannot use it.
    #[error(
        "inference.device is {0}, and this ONNX Runtime has no CUDA: `cargo xtask setup --gpu` fetches a build that has, or set the device to auto"
    )]
    NoCuda(Device),
    /// Models that write run on the processor so far.
    #[error(
        "inference.device is {0}, and a model that writes runs on the processor only: set device = \"cpu\" in [run] of its model.toml"
    )]
    CpuOnly(Device),
    /// The runtime refuses the model or the device.
    #[error("{} cannot be run on {device}{}", model.display(), remedy(*device))]
    Open {
        /// The ONNX file.
        model: PathBuf,
        /// Where it was to run.
        device: Device,
        /// What the runtime says.
        #[source]
        source: Box<LoadError>,
    },
    /// It was loaded for the device, and all of it ran on the processor.
    #[error("none of the {nodes} nodes of {} runs on {device}; set inference.device to cpu", model.display())]
    NotThere {
        /// The ONNX file.
        model: PathBuf,
        /// Where it was to run.
        device: Device,
        /// All nodes that ran.
        nodes: usize,
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

/// What is missing is told best by the command that looks for it.
fn remedy(device: Device) -> &'static str {
    match device {
        Device::Cpu => "",
        Device::Cuda(_) => {
            "; `cargo xtask setup --gpu` tells which CUDA libraries are missing, and with the device set to auto the \
             processor is used"
        }
    }
}

/// What a model is opened with.
#[derive(Clone, Copy)]
struct Opening<'a> {
    runtime: &'a Runtime,
    files: &'a ModelFiles,
    config: &'a InferenceConfig,
}

/// Opens and warms the sessions of a model, one after another: CUDA sessions opened at once fail.
pub fn open_sessions(
    runtime: &Runtime,
    files: &ModelFiles,
    config: &InferenceConfig,
) -> Result<Sessions, SessionError> {
    let config = &config.for_model(&files.manifest.run);
    let opening = Opening {
        runtime,
        files,
        config,
    };
    let (device, first, placement) = opening.first()?;
    let interface = first.interface();
    let sessions = opening.more(first, device)?;
    // Reading and optimising a model leaves much behind.
    memory::give_back();
    Ok(Sessions {
        device,
        interface,
        sessions,
        placement,
    })
}

impl Opening<'_> {
    fn first(self) -> Result<(Device, Session, Option<Placement>), SessionError> {
        let open = |device| {
            let (session, placement) = self.probed(device)?;
            Ok((device, session, placement))
        };
        match self.config.device {
            DeviceChoice::Cpu => open(Device::Cpu),
            DeviceChoice::Cuda(number) if !self.runtime.has_cuda() => {
                Err(SessionError::NoCuda(Device::Cuda(number)))
            }
            DeviceChoice::Cuda(number) => open(Device::Cuda(number)),
            DeviceChoice::Auto if !self.runtime.has_cuda() => {
                tracing::info!("this ONNX Runtime has no CUDA; running on the processor");
                open(Device::Cpu)
            }
            DeviceChoice::Auto => open(Device::Cuda(0)).or_else(|error| {
                let reason = &error as &(dyn std::error::Error + 'static);
                tracing::warn!(reason, "CUDA cannot be used; running on the processor");
                open(Device::Cpu)
            }),
        }
    }

    /// The first session on a device, after a look at where its nodes ran.
    fn probed(self, device: Device) -> Result<(Session, Option<Placement>), SessionError> {
        if !self.config.binds(device) {
            return Ok((self.one(device, None)?, None));
        }
        let probe = Probe::new().inspect_err(|error| {
            let reason = error as &(dyn std::error::Error + 'static);
            tracing::warn!(
                reason,
                "no temporary folder: where nodes run is not looked at"
            );
        });
        let probe = probe.ok();
        let mut session = self.one(device, probe.as_ref())?;
        let placement = probe.and_then(|probe| {
            let read = session.placement(&probe).inspect_err(|error| {
                let reason = error as &(dyn std::error::Error + 'static);
                tracing::warn!(reason, "where nodes run cannot be found out");
            });
            read.ok()
        });
        if let Some(placement) = &placement {
            self.check(device, placement)?;
        }
        Ok((session, placement))
    }

    fn check(self, device: Device, placement: &Placement) -> Result<(), SessionError> {
        let (there, nodes) = (placement.on(device), placement.nodes());
        let model = self.files.model_on(device);
        if there == 0 {
            return Err(SessionError::NotThere {
                model,
                device,
                nodes,
            });
        }
        let name = &self.files.manifest.name;
        if there * 2 < nodes {
            tracing::warn!(model = name, %device, there, nodes, "most nodes run on the processor");
        } else {
            tracing::info!(model = name, %device, there, nodes, "nodes that run on the device");
        }
        Ok(())
    }

    /// The first session and as many more as are wanted. On a CUDA device, as many as there is memory for.
    fn more(self, first: Session, device: Device) -> Result<Vec<Session>, SessionError> {
        let wanted = session_count(self.config, device);
        let mut sessions = vec![first];
        while sessions.len() < wanted {
            match self.one(device, None) {
                Ok(session) => sessions.push(session),
                Err(error) if device == Device::Cpu => return Err(error),
                Err(error) => {
                    let reason = &error as &(dyn std::error::Error + 'static);
                    let opened = sessions.len();
                    tracing::warn!(reason, opened, wanted, "fewer sessions than asked for");
                    break;
                }
            }
        }
        Ok(sessions)
    }

    fn one(self, device: Device, probe: Option<&Probe>) -> Result<Session, SessionError> {
        let model = self.files.model_on(device);
        let loaded = Session::load(self.runtime, self.files, self.config, device, probe);
        let mut session = loaded.map_err(|source| SessionError::Open {
            model: model.clone(),
            device,
            source: Box::new(source),
        })?;
        session.warm_up().map_err(|source| SessionError::WarmUp {
            model,
            device,
            source,
        })?;
        Ok(session)
    }
}

fn session_count(config: &InferenceConfig, device: Device) -> usize {
    config.sessions.unwrap_or_else(|| match device {
        Device::Cuda(_) => 1,
        // They give way to the threads that serve (`niceness`), so that no core has to be kept for those.
        Device::Cpu => std::thread::available_parallelism().map_or(1, usize::from),
    })
}
