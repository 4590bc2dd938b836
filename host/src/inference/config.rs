//! The `[inference]` settings.

use std::time::Duration;

use super::device::DeviceChoice;
use super::model::RunSettings;

/// Above this the machine only switches between threads.
const MAX_THREADS: usize = 1024;

/// How models are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InferenceConfig {
    /// Where models run. Default: `auto`.
    pub device: DeviceChoice,
    /// Sessions per model, each on its own thread with its own working memory. `None`: half the
    /// cores on a processor, because the other half tokenises and serves; one on a CUDA device,
    /// which runs one batch at a time anyway.
    pub sessions: Option<usize>,
    /// Threads inside one run. Default: 1, which does the most work per CPU-second; more shorten
    /// a single run at the cost of throughput.
    pub intra_threads: usize,
    /// Idle time after which a session gives the memory of its largest batch back. Default: 5 s.
    pub idle_shrink_after: Duration,
}

impl Default for InferenceConfig {
    fn default() -> Self {
        Self {
            device: DeviceChoice::Auto,
            sessions: None,
            intra_threads: 1,
            idle_shrink_after: Duration::from_secs(5),
        }
    }
}

/// A setting of `[inference]` that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InferenceConfigError {
    /// No session could ever run, or more than any machine has.
    #[error("inference.sessions is {0}; 1 to {MAX_THREADS} are allowed")]
    Sessions(usize),
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

    /// Every setting that cannot be used.
    pub fn validate(&self) -> Vec<InferenceConfigError> {
        let threads = 1..=MAX_THREADS;
        let mut errors = Vec::new();
        if let Some(sessions) = self.sessions.filter(|sessions| !threads.contains(sessions)) {
            errors.push(InferenceConfigError::Sessions(sessions));
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
            intra_threads: 4096,
            idle_shrink_after: Duration::ZERO,
            ..InferenceConfig::default()
        };
        let messages: Vec<_> = wrong.validate().iter().map(ToString::to_string).collect();
        assert_eq!(
            messages,
            [
                "inference.sessions is 0; 1 to 1024 are allowed",
                "inference.intra_threads is 4096; 1 to 1024 are allowed",
                "inference.idle_shrink_after is 0ns; at least 100 ms are needed",
            ]
        );
    }
}
