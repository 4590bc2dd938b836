//! Blank items, by which the cost of runs is measured before anything is served.

use std::time::Duration;

use tokio::time::Instant;

use super::Session;
use crate::inference::backend::{BackendError, Payload};

/// Lengths of texts that are measured: short, usual, long.
const LENGTHS: [usize; 3] = [16, 64, 192];

impl Session {
    /// Sizes worth measuring. Only texts have several.
    pub(super) fn sizes(&self) -> Vec<usize> {
        let text = self.max_tokens.map(|most| {
            let within = LENGTHS
                .into_iter()
                .filter(|length| *length <= most as usize);
            within.collect::<Vec<_>>()
        });
        match text {
            Some(lengths) if !lengths.is_empty() => lengths,
            _ => vec![self.blank.size()],
        }
    }

    /// The time of a run of so many blank items; `None` if there are none of that size.
    pub(super) fn time(
        &mut self,
        items: usize,
        size: usize,
    ) -> Result<Option<Duration>, BackendError> {
        let blank = match self.max_tokens {
            Some(most) if size <= most as usize => Payload::Tokens(vec![1; size]),
            _ if size == self.blank.size() => self.blank.clone(),
            _ => return Ok(None),
        };
        let batch = vec![&blank; items];
        let start = Instant::now();
        self.run_with(&batch, None)?;
        Ok(Some(start.elapsed()))
    }
}
