//! What a model says about its own batches.

use std::sync::Arc;
use std::time::Duration;

use super::BatchConfig;

/// Settings of `[batch]` that a model sets for itself. What is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchOverrides {
    /// Most items of one run.
    pub max_batch_items: Option<usize>,
    /// Most padded tokens of one run.
    pub max_batch_tokens: Option<usize>,
    /// Most padded tokens per real token.
    pub max_padding_ratio: Option<f64>,
    /// Longest time that the oldest item waits for company.
    pub max_queue_delay: Option<Duration>,
    /// Most items waiting.
    pub max_queue_items: Option<usize>,
    /// Most tokens waiting. Models of tensors count elements, of which one item may have many.
    pub max_queue_tokens: Option<usize>,
    /// The sizes of its runs, see [`Buckets`].
    pub shape_buckets: Option<Vec<usize>>,
    /// Items of each run, if there are buckets.
    pub bucket_items: Option<usize>,
}

impl BatchConfig {
    /// The settings of a model that overrides some of them. To be [validated](Self::validate).
    #[must_use]
    pub fn overridden(&self, own: &BatchOverrides) -> Self {
        let own = own.clone();
        Self {
            max_batch_items: own.max_batch_items.or(self.max_batch_items),
            max_batch_tokens: own.max_batch_tokens.or(self.max_batch_tokens),
            max_padding_ratio: own.max_padding_ratio.or(self.max_padding_ratio),
            max_queue_delay: own.max_queue_delay.unwrap_or(self.max_queue_delay),
            max_queue_items: own.max_queue_items.unwrap_or(self.max_queue_items),
            max_queue_tokens: own.max_queue_tokens.unwrap_or(self.max_queue_tokens),
            shape_buckets: own
                .shape_buckets
                .unwrap_or_else(|| self.shape_buckets.clone()),
            bucket_items: own.bucket_items.unwrap_or(self.bucket_items),
            ..self.clone()
        }
    }
}

/// Fixed shapes of runs: with these the result of an item is the same to the last bit, whoever
/// its neighbours are, because rounding depends on the shape of a run.
///
/// The queue rounds sizes up to a bucket, and forms batches of one bucket, with so many items at
/// most. The session has to fill them up: each item to its bucket, and the batch to `items` rows.
/// An item beyond the last bucket runs in its own size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buckets {
    /// The sizes, ascending.
    pub sizes: Arc<[usize]>,
    /// Items of every run.
    pub items: usize,
}

impl Buckets {
    /// The size in which an item of this size runs.
    pub fn size(&self, size: usize) -> usize {
        let bucket = self.sizes.partition_point(|bucket| *bucket < size);
        self.sizes.get(bucket).copied().unwrap_or(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::BatchConfigError;
    use crate::inference::Device;

    #[test]
    fn model_overrides_what_it_names() {
        let base = BatchConfig {
            max_batch_items: Some(8),
            max_padding_ratio: Some(1.5),
            ..BatchConfig::default()
        };
        assert_eq!(base.overridden(&BatchOverrides::default()), base);
        let own = BatchOverrides {
            max_batch_items: Some(2),
            max_queue_delay: Some(Duration::from_millis(3)),
            max_queue_tokens: Some(1 << 26),
            ..BatchOverrides::default()
        };
        let expected = BatchConfig {
            max_batch_items: Some(2),
            max_queue_delay: Duration::from_millis(3),
            max_queue_tokens: 1 << 26,
            ..base.clone()
        };
        assert_eq!(base.overridden(&own), expected);
    }

    #[test]
    fn sizes_are_rounded_up_to_a_bucket() {
        let buckets = Buckets {
            sizes: [16, 64, 256].into(),
            items: 1,
        };
        for (size, expected) in [(1, 16), (16, 16), (17, 64), (256, 256), (300, 300)] {
            assert_eq!(buckets.size(size), expected);
        }
    }

    #[test]
    fn buckets_make_the_limits_of_a_batch() {
        let own = BatchOverrides {
            shape_buckets: Some(vec![16, 64]),
            bucket_items: Some(4),
            max_padding_ratio: Some(2.0),
            ..BatchOverrides::default()
        };
        let limits = BatchConfig::default()
            .overridden(&own)
            .limits(Device::Cuda(0));
        assert_eq!(limits.max_batch_items, 4);
        assert_eq!(limits.max_batch_tokens, 4 * 64);
        assert_eq!(limits.max_padding_ratio, 1.0);
        assert_eq!(limits.size(20), 64);
    }

    #[test]
    fn buckets_that_make_no_sense_are_refused() {
        let check = |shape_buckets: &[usize], bucket_items, expected: &[BatchConfigError]| {
            let config = BatchConfig {
                shape_buckets: shape_buckets.to_vec(),
                bucket_items,
                ..BatchConfig::default()
            };
            assert_eq!(config.validate(), expected);
        };
        check(&[16, 64], 2, &[]);
        check(&[0, 64], 1, &[BatchConfigError::Buckets(vec![0, 64])]);
        check(&[64, 64], 1, &[BatchConfigError::Buckets(vec![64, 64])]);
        check(&[16], 0, &[BatchConfigError::BucketItems]);
    }
}
