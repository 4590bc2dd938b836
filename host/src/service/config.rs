//! The `[service]` settings.

use std::time::Duration;

use super::kept::KeptLimits;

/// Limits of calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    /// Longest time that a call may take, whatever it asks for. Default: 30 s.
    pub max_timeout: Duration,
    /// Most tenants with limits whose calls and model time are counted at a time. Default: 10,000.
    pub max_tenants: usize,
    /// Most bytes that the inputs of one call may take once they are read, and those of all calls that are not in
    /// a queue yet: a picture of some kilobytes becomes as many pixels as its model reads. Default: 320 MiB, the
    /// most inputs of a call as pictures of 224 x 224.
    pub max_decoded_bytes: usize,
    /// Least time between two pieces of a text that one call reads: what is written meanwhile is one piece. A lone
    /// token is never delayed. Default: 40 ms (`generate.min_gap_ms`).
    pub text_gap: Duration,
    /// How many texts are kept for readers who come back, and for how long (`generate.max_kept`, `generate.keep_ms`).
    pub kept: KeptLimits,
    /// Whether prompts may ask for paced tokens in the place of a model's (`live.paced_source`). Default: no.
    pub paced: bool,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self {
            max_timeout: Duration::from_secs(30),
            max_tenants: 10_000,
            max_decoded_bytes: 320 << 20,
            text_gap: Duration::from_millis(40),
            kept: KeptLimits::default(),
            paced: false,
        }
    }
}

/// A setting of `[service]` that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceConfigError {
    /// No call could ever be answered.
    #[error("service.max_timeout is 0; at least 1 ms is needed")]
    MaxTimeout,
}

impl ServiceConfig {
    /// Every setting that cannot be used.
    pub fn validate(&self) -> Vec<ServiceConfigError> {
        if self.max_timeout.is_zero() {
            vec![ServiceConfigError::MaxTimeout]
        } else {
            Vec::new()
        }
    }
}
