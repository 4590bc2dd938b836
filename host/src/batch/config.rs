//! The `[batch]` settings.

use std::time::Duration;

use brink_protocol::limits::MAX_INPUTS;

use super::breaker::BreakerConfig;
use super::queue::Load;
use super::shape::Shape;
use crate::inference::Device;

mod overrides;

pub use overrides::{BatchOverrides, Buckets};

/// Above this, waiting costs more than batching can win back on any model served here.
const MAX_QUEUE_DELAY: Duration = Duration::from_millis(500);

/// What a run costs beside its padded tokens, in tokens, as measured with all-MiniLM-L6-v2 on one
/// thread: 1.7 ms where a token takes 0.25 ms.
const CPU_RUN_COST: usize = 7;

/// How batches are formed. `None` means: what was measured to be best on the device.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchConfig {
    /// Most items of one run. Default: 16 on a processor, 256 on CUDA.
    pub max_batch_items: Option<usize>,
    /// Most padded tokens of one run (items times the longest), which bounds its memory and its
    /// time. A single longer item still runs, alone. Default: 256 on a processor, 16,384 on CUDA.
    pub max_batch_tokens: Option<usize>,
    /// Most padded tokens per real token. 1 forbids padding. Default: 1.1 on a processor, 2 on
    /// CUDA, which gains more from batching than it loses to padding.
    pub max_padding_ratio: Option<f64>,
    /// Longest time that the oldest item waits for company while a session is idle. Default: 0,
    /// a batch is whatever came while the model was busy.
    pub max_queue_delay: Duration,
    /// Most items waiting; beyond it callers are refused at once. Default: 8,192. One item takes
    /// some hundred bytes and its tokens.
    pub max_queue_items: usize,
    /// Most tokens waiting. Default: 1,048,576, which is 4 MiB.
    pub max_queue_tokens: usize,
    /// Most bytes of payloads waiting. Default: 256 MiB, some 1,800 pictures of 224 x 224.
    pub max_queue_bytes: usize,
    /// Most that one tenant may have waiting, as a share of the three bounds above, whoever else
    /// waits: room for others must be there before they come. Default: 0.5.
    pub max_tenant_share: f64,
    /// When a model that only fails is left alone. Default: three failed batches in a row, five
    /// seconds.
    pub breaker: BreakerConfig,
    /// Sizes that runs are filled up to, see [`Buckets`]. Default: none. A model sets them.
    pub shape_buckets: Vec<usize>,
    /// Items of each run, if there are buckets. Default: 1.
    pub bucket_items: usize,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            max_batch_items: None,
            max_batch_tokens: None,
            max_padding_ratio: None,
            max_queue_delay: Duration::ZERO,
            max_queue_items: 8_192,
            max_queue_tokens: 1 << 20,
            max_queue_bytes: 256 << 20,
            max_tenant_share: 0.5,
            breaker: BreakerConfig {
                failures: 3,
                open_for: Duration::from_secs(5),
            },
            shape_buckets: Vec::new(),
            bucket_items: 1,
        }
    }
}

/// A setting of `[batch]` that cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BatchConfigError {
    /// Nothing could ever run.
    #[error("batch.max_batch_items is 0; at least 1 is needed")]
    BatchItems,
    /// Nothing could ever run.
    #[error("batch.max_batch_tokens is 0; at least 1 is needed")]
    BatchTokens,
    /// Less than no padding, or no number.
    #[error("batch.max_padding_ratio is {0}; at least 1 is needed")]
    PaddingRatio(f64),
    /// Longer than it could pay off.
    #[error("batch.max_queue_delay is {0:?}; at most {MAX_QUEUE_DELAY:?} is allowed")]
    QueueDelay(Duration),
    /// The largest call would be refused whenever anything else waits.
    #[error(
        "batch.max_queue_items is {0}; at least {MAX_INPUTS} are needed, the inputs of one call"
    )]
    QueueItems(usize),
    /// The queue could not hold one batch.
    #[error("batch.max_queue_tokens is {0}; at least batch.max_batch_tokens ({1}) are needed")]
    QueueTokens(usize, usize),
    /// Nothing may ever wait, or more than there is room for.
    #[error("batch.max_tenant_share is {0}; above 0 and up to 1 is needed")]
    TenantShare(f64),
    /// The largest call of a tenant would be refused whenever anything else of it waits.
    #[error(
        "batch.max_tenant_share ({0}) of batch.max_queue_items ({1}) is below {MAX_INPUTS}, the inputs of one call"
    )]
    TenantItems(f64, usize),
    /// No order, or a run of nothing.
    #[error("batch.shape_buckets is {0:?}; sizes above 0 in rising order are needed")]
    Buckets(Vec<usize>),
    /// Nothing could ever run.
    #[error("batch.bucket_items is 0; at least 1 is needed")]
    BucketItems,
}

/// [`BatchConfig`] on one device: nothing left to default.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchLimits {
    /// Most items of a batch.
    pub max_batch_items: usize,
    /// Most padded tokens of a batch.
    pub max_batch_tokens: usize,
    /// Most padded tokens per real token of a batch.
    pub max_padding_ratio: f64,
    /// What a run costs by itself, in tokens: so much padding is worth one run less.
    pub run_cost: usize,
    /// Longest wait for company.
    pub max_queue_delay: Duration,
    /// Most items waiting.
    pub max_queue_items: usize,
    /// Most tokens waiting.
    pub max_queue_tokens: usize,
    /// Most bytes of payloads waiting.
    pub max_queue_bytes: usize,
    /// Share of what may wait that one tenant may have.
    pub max_tenant_share: f64,
    /// When a model that only fails is left alone.
    pub breaker: BreakerConfig,
    /// The shapes of runs, if they are fixed.
    pub buckets: Option<Buckets>,
}

impl BatchLimits {
    /// The size in which an item of this size runs, if it is alone.
    pub fn size(&self, size: usize) -> usize {
        let buckets = self.buckets.as_ref();
        buckets.map_or(size, |buckets| buckets.size(size))
    }

    /// A batch as it runs: rows without an item are computed too where shapes are fixed.
    pub fn run(&self, batch: Shape) -> Shape {
        let items = self
            .buckets
            .as_ref()
            .map_or(batch.items, |buckets| buckets.items);
        Shape { items, ..batch }
    }

    /// The most that may wait.
    pub fn max_queue(&self) -> Load {
        Load {
            items: self.max_queue_items,
            tokens: self.max_queue_tokens,
            bytes: self.max_queue_bytes,
        }
    }
}

impl BatchConfig {
    /// The limits on a device.
    pub fn limits(&self, device: Device) -> BatchLimits {
        let (items, tokens, ratio, run_cost) = match device {
            Device::Cpu => (16, 256, 1.1, CPU_RUN_COST),
            // As much as the largest run: batches are as large as the limits allow.
            Device::Cuda(_) => (256, 16_384, 2.0, 16_384),
        };
        let limits = BatchLimits {
            max_batch_items: self.max_batch_items.unwrap_or(items),
            max_batch_tokens: self.max_batch_tokens.unwrap_or(tokens),
            max_padding_ratio: self.max_padding_ratio.unwrap_or(ratio),
            run_cost,
            max_queue_delay: self.max_queue_delay,
            max_queue_items: self.max_queue_items,
            max_queue_tokens: self.max_queue_tokens,
            max_queue_bytes: self.max_queue_bytes,
            max_tenant_share: self.max_tenant_share,
            breaker: self.breaker,
            buckets: None,
        };
        let Some(largest) = self.shape_buckets.last() else {
            return limits;
        };
        // The shapes are given, so nothing is left to be weighed. Sizes are those of buckets, and
        // no padding between them leaves one bucket to a batch.
        BatchLimits {
            max_batch_items: self.bucket_items,
            max_batch_tokens: self.bucket_items * largest,
            max_padding_ratio: 1.0,
            buckets: Some(Buckets {
                sizes: self.shape_buckets.as_slice().into(),
                items: self.bucket_items,
            }),
            ..limits
        }
    }

    /// Whether a tenant's share of the queue holds the inputs of one call.
    pub fn tenant_has_room_for_a_call(&self) -> bool {
        self.max_queue_items as f64 * self.max_tenant_share >= MAX_INPUTS as f64
    }

    /// Every setting that cannot be used.
    pub fn validate(&self) -> Vec<BatchConfigError> {
        let batch_tokens = self.limits(Device::Cpu).max_batch_tokens;
        let ratio = self.max_padding_ratio.unwrap_or(1.0);
        let share = self.max_tenant_share;
        let checks = [
            (
                self.max_batch_items == Some(0),
                BatchConfigError::BatchItems,
            ),
            (
                self.max_batch_tokens == Some(0),
                BatchConfigError::BatchTokens,
            ),
            (
                ratio.is_nan() || ratio < 1.0,
                BatchConfigError::PaddingRatio(ratio),
            ),
            (
                self.max_queue_delay > MAX_QUEUE_DELAY,
                BatchConfigError::QueueDelay(self.max_queue_delay),
            ),
            (
                self.max_queue_items < MAX_INPUTS,
                BatchConfigError::QueueItems(self.max_queue_items),
            ),
            (
                self.max_queue_tokens < batch_tokens,
                BatchConfigError::QueueTokens(self.max_queue_tokens, batch_tokens),
            ),
            (
                !(share > 0.0 && share <= 1.0),
                BatchConfigError::TenantShare(share),
            ),
            (
                !self.tenant_has_room_for_a_call(),
                BatchConfigError::TenantItems(share, self.max_queue_items),
            ),
            (
                !are_buckets(&self.shape_buckets),
                BatchConfigError::Buckets(self.shape_buckets.clone()),
            ),
            (self.bucket_items == 0, BatchConfigError::BucketItems),
        ];
        let wrong = checks.into_iter().filter(|(wrong, _)| *wrong);
        wrong.map(|(_, error)| error).collect()
    }
}

fn are_buckets(sizes: &[usize]) -> bool {
    sizes.first() != Some(&0) && sizes.is_sorted_by(|one, next| one < next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_are_reported_with_setting_and_value() {
        assert_eq!(BatchConfig::default().validate(), []);
        let wrong = BatchConfig {
            max_batch_items: Some(0),
            max_batch_tokens: Some(0),
            max_padding_ratio: Some(0.5),
            max_queue_delay: Duration::from_secs(60),
            max_queue_items: 100,
            max_queue_tokens: 0,
            max_queue_bytes: 0,
            max_tenant_share: 1.5,
            ..BatchConfig::default()
        };
        let messages: Vec<_> = wrong.validate().iter().map(ToString::to_string).collect();
        assert_eq!(
            messages,
            [
                "batch.max_batch_items is 0; at least 1 is needed",
                "batch.max_batch_tokens is 0; at least 1 is needed",
                "batch.max_padding_ratio is 0.5; at least 1 is needed",
                "batch.max_queue_delay is 60s; at most 500ms is allowed",
                "batch.max_queue_items is 100; at least 2048 are needed, the inputs of one call",
                "batch.max_tenant_share is 1.5; above 0 and up to 1 is needed",
                "batch.max_tenant_share (1.5) of batch.max_queue_items (100) is below 2048, the inputs of one call",
            ]
        );
    }
}
