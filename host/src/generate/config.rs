//! The `[generate]` settings.

use std::time::Duration;

use crate::batch::{BatchConfig, BatchLimits, BatchOverrides};
use crate::inference::Device;

/// How texts are written. What depends on the model is in its `model.toml`.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateConfig {
    /// Longest time from a request to its last token, whatever it asks for. Default: 10 minutes.
    pub max_timeout: Duration,
    /// Most requests that wait for a slot of a model; beyond it callers are refused at once. Default: 256.
    pub max_waiting: usize,
    /// Most that one tenant may have waiting, as a share of that. Default: 0.5.
    pub max_tenant_share: f64,
    /// By how much a prompt that is read may lengthen the time between two tokens of other texts. Default: 2.
    /// Less makes prompts slower to read while others write.
    pub max_gap_ratio: f64,
    /// Most tokens of a prompt that are read at once while nobody writes: a request that is given up is noticed
    /// after so much. Default: 512, some 1.5 s of the slowest model here.
    pub max_prefill_tokens: usize,
    /// Least time between two pieces of a text that a reader gets: what is written meanwhile is one piece, and a lone
    /// token is never delayed. Default: 40 ms, as sockets have it (`live.min_gap_ms`).
    pub min_gap: Duration,
    /// Most texts that are kept for readers who come back. Default: 1,024.
    pub max_kept: usize,
    /// How long a text is kept after its last reader has left. Default: one minute.
    pub keep: Duration,
    /// Idle time after which a model gives memory of its runs back. Default: 5 s, as `[inference]` has it.
    pub idle_shrink_after: Duration,
}

impl Default for GenerateConfig {
    fn default() -> Self {
        Self {
            max_timeout: Duration::from_secs(600),
            max_waiting: 256,
            max_tenant_share: 0.5,
            max_gap_ratio: 2.0,
            max_prefill_tokens: 512,
            min_gap: Duration::from_millis(40),
            max_kept: 1024,
            keep: Duration::from_secs(60),
            idle_shrink_after: Duration::from_secs(5),
        }
    }
}

impl GenerateConfig {
    /// The limits of what waits for a model of this context. One request leaves the queue at a time, so there
    /// are no batches in it: what is used of it is its fairness and its bounds.
    pub(super) fn queue_limits(&self, context: usize) -> BatchLimits {
        let config = BatchConfig::default().overridden(&BatchOverrides {
            max_batch_items: Some(1),
            max_batch_tokens: Some(context),
            max_queue_items: Some(self.max_waiting),
            // A request waits with its prompt and the tokens it may write: no more than a context.
            max_queue_tokens: Some(self.max_waiting.saturating_mul(context)),
            ..BatchOverrides::default()
        });
        BatchLimits {
            max_tenant_share: self.max_tenant_share,
            ..config.limits(Device::Cpu)
        }
    }
}
