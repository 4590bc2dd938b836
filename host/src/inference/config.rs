//! The `[inference]` settings.

use std::time::Duration;

use super::device::{Device, DeviceChoice};
use super::model::RunSettings;

/// Above this the machine only switches between threads.
const MAX_THREADS: usize = 1024;

/// The most that `nice` knows.
pub const MAX_NICENESS: u8 = 19;

/// How models are run.
///
/// What a run takes follows from its items times their padded size. `batch.max_batch_tokens` bounds that for
/// a batch; a single item that is larger runs alone, and is bounded by its model: `max_tokens` of a text,
/// the size of a picture, `begin` + `end` of a file. For tensors of any shape the size of a request's body
/// is the bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InferenceConfig {
    /// Where models run. Default: `auto`.
    pub device: DeviceChoice,
    /// Sessions per model, each on its own thread with its own working memory. `None`: one for each
    /// core on a processor; one on a CUDA device, which runs one batch at a time anyway.
    pub sessions: Option<usize>,
    /// By how much the threads of sessions on a processor give way to those that serve, as `nice`
    /// counts: 0 (not at all) to 19. Default: 10. Linux only, where threads have priorities of
    /// their own. What ONNX Runtime starts itself, with more than one `intra_threads`, does not give way.
    pub niceness: u8,
    /// Threads inside one run. Default: 1, which does the most work per CPU-second; more shorten
    /// a single run at the cost of throughput.
    pub intra_threads: usize,
    /// Idle time after which a session gives the memory of its largest batch back. Default: 5 s.
    pub idle_shrink_after: Duration,
    /// Most bytes of each session's arena on a CUDA device; 0 for as much as there is. Default: 0. The
    /// weights are in it. A batch beyond it fails, and is then tried in halves.
    pub cuda_memory_bytes: u64,
    /// Whether runs on CUDA are captured and replayed, where a model has shape buckets. Default: no. The
    /// arena of such a session is never given back.
    pub cuda_graphs: bool,
    /// Most bytes of what a call gets, all results together. Default: 12 MiB. An edge holds an answer
    /// several times, as message, as results and as what it sends: of binary tensors 14 MiB went through an
    /// instance of 64 MiB (`guest.max_memory_mib`) and 16 did not. So raise both or neither.
    pub max_output_bytes: usize,
    /// Goes the way of a CUDA device on a processor: bound tensors, and a look at where nodes ran. For
    /// tests; no setting sets it.
    #[doc(hidden)]
    pub rehearsed: bool,
}

impl Default for InferenceConfig {
    fn default() -> Self {
        Self {
            device: DeviceChoice::Auto,
            sessions: None,
            niceness: 10,
            intra_threads: 1,
            idle_shrink_after: Duration::from_secs(5),
            cuda_memory_bytes: 0,
            cuda_graphs: false,
            max_output_bytes: 12 << 20,
            rehearsed: false,
        }
    }
}

/// A setting of `[inference]` that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InferenceConfigError {
    /// No session could ever run, or more than any machine has.
    #[error("inference.sessions is {0}; 1 to {MAX_THREADS} are allowed")]
    Sessions(usize),
    /// There is no such priority.
    #[error("inference.niceness is {0}; 0 to {MAX_NICENESS} are allowed")]
    Niceness(u8),
    /// As for sessions.
    #[error("inference.intra_threads is {0}; 1 to {MAX_THREADS} are allowed")]
    IntraThreads(usize),
    /// The memory would be given back between two batches of one burst.
    #[error("inference.idle_shrink_after is {0:?}; at least 100 ms are needed")]
    IdleShrinkAfter(Duration),
}

impl InferenceConfig {
    /// The settings for a model that asks for some of its own.
    pub fn for_model(&self, run: &RunSettings) -> Self {
        Self {
            device: run.device.unwrap_or(self.device),
            sessions: run.instances.or(self.sessions),
            intra_threads: run.threads.unwrap_or(self.intra_threads),
            ..self.clone()
        }
    }

    /// Whether the inputs and outputs of sessions there are bound.
    pub(super) fn binds(&self, device: Device) -> bool {
        self.rehearsed || matches!(device, Device::Cuda(_))
    }

    /// Every setting that cannot be used.
    pub fn validate(&self) -> Vec<InferenceConfigError> {
        let threads = 1..=MAX_THREADS;
        let mut errors = Vec::new();
        if let Some(sessions) = self.sessions.filter(|sessions| !threads.contains(sessions)) {
            errors.push(InferenceConfigError::Sessions(sessions));
        }
        if self.niceness > MAX_NICENESS {
            errors.push(InferenceConfigError::Niceness(self.niceness));
        }
        if !threads.contains(&self.intra_threads) {
            errors.push(InferenceConfigError::IntraThreads(self.intra_threads));
        }
        if self.idle_shrink_after < Duration::from_millis(100) {
            errors.push(InferenceConfigError::IdleShrinkAfter(
                self.idle_shrink_after,
            ));
        }
        errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_are_reported_with_setting_and_value() {
        assert_eq!(InferenceConfig::default().validate(), []);
        let wrong = InferenceConfig {
            sessions: Some(0),
            niceness: 20,
            intra_threads: 4096,
            idle_shrink_after: Duration::ZERO,
            ..InferenceConfig::default()
        };
        let messages: Vec<_> = wrong.validate().iter().map(ToString::to_string).collect();
        assert_eq!(
            messages,
            [
                "inference.sessions is 0; 1 to 1024 are allowed",
                "inference.niceness is 20; 0 to 19 are allowed",
                "inference.intra_threads is 4096; 1 to 1024 are allowed",
                "inference.idle_shrink_after is 0ns; at least 100 ms are needed",
            ]
        );
    }
}
