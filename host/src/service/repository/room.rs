//! Bringing a cold model back, within the memory budget.

use std::sync::Arc;

use brink_protocol::{Fault, FaultCode};
use tokio::time::Instant;

use super::slot::{Slot, Use};
use super::{Repository, open};
use crate::service::call_fault;
use crate::service::error::InferError;
use crate::service::model::{Model, OpenError};

/// When to come back if all the memory is in use.
const SOON_MS: u32 = 1_000;

impl Repository {
    /// Loads a cold model, unless somebody else just did.
    pub(super) async fn bring_back(&self, slot: &Arc<Slot>) -> Result<Arc<Model>, Fault> {
        let _changing = self.0.changing.lock().await;
        if !slot.is_awaited() {
            // Whoever asked is gone; to load it would only push out what others use.
            return Err(InferError::Lost.into_fault(None));
        }
        if let Some(model) = slot.take() {
            return Ok(model);
        }
        let is_served = self.0.slots.load().iter().any(|one| Arc::ptr_eq(one, slot));
        if !is_served {
            let message = format!("model {} was replaced or unloaded", slot.info.name);
            return Err(call_fault(FaultCode::ModelChanged, message));
        }
        if let Some((reason, left)) = slot.failed(Instant::now()) {
            let retry_after_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1);
            return Err(unavailable(slot, &reason, retry_after_ms));
        }
        match self.reload(slot).await {
            Ok(loaded) => loaded,
            Err(error) => {
                let retry_after = self.0.config.retry_load_after;
                // The cause names files of this machine: it is for the log.
                let reason = match error {
                    OpenError::Changed => "its files have changed: the operator has to load it",
                    _ => "it cannot be loaded",
                };
                let reason = reason.to_owned();
                tracing::error!(
                    model = slot.info.name,
                    error = &error as &dyn std::error::Error,
                    "a model cannot be loaded"
                );
                self.0.metrics.failed(&slot.info);
                slot.fail(reason.clone(), Instant::now() + retry_after);
                let retry_after_ms = u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX);
                Err(unavailable(slot, &reason, retry_after_ms))
            }
        }
    }

    /// The files may have changed meanwhile; then they are another model, which no edge knows.
    /// Nothing leaves memory for a model that cannot be loaded.
    async fn reload(&self, slot: &Arc<Slot>) -> Result<Result<Arc<Model>, Fault>, OpenError> {
        let known = slot.files.as_ref().ok_or(OpenError::NoLoader)?;
        let (inner, folder) = (Arc::clone(&self.0), known.folder.clone());
        let read = move || {
            inner
                .loader
                .as_ref()
                .ok_or(OpenError::NoLoader)?
                .read(&folder)
        };
        let read = tokio::task::spawn_blocking(read).await;
        let files = read.unwrap_or(Err(OpenError::Panicked))?;
        if files.digest != slot.info.digest {
            return Err(OpenError::Changed);
        }
        if let Err(fault) = self.make_room(slot) {
            return Ok(Err(fault));
        }
        let started = Instant::now();
        let (model, memory) = open(Arc::clone(&self.0), files).await?;
        self.0.metrics.loaded(&slot.info, memory, started.elapsed());
        Ok(Ok(slot.put(model, memory)))
    }

    /// As [`make_room`](Self::make_room), for a model that is in memory already: beside the one that it
    /// replaces it may go beyond the limit for a moment.
    pub(super) fn make_room_after(&self, loaded: &Slot) {
        if let Err(fault) = self.make_room(loaded) {
            tracing::warn!(%fault, "models take more than models.max_memory_mib");
        }
    }

    /// Unloads models that nobody uses until those that stay are within the limit.
    pub(super) fn make_room_within(&self) {
        let Some(most) = self.0.config.max_memory_bytes else {
            return;
        };
        let slots = self.0.slots.load();
        match who_leaves(&self.uses(), most, 0) {
            Some(leaving) => leaving
                .into_iter()
                .for_each(|place| self.let_go(&slots[place])),
            None => tracing::warn!("the models in use take more than models.max_memory_mib"),
        }
    }

    /// How every model of the list is used. What cannot be loaded again never leaves.
    fn uses(&self) -> Vec<Option<Use>> {
        let slots = self.0.slots.load();
        let used = slots.iter().map(|slot| {
            let can_leave = slot.files.is_some();
            slot.used().map(|it| Use {
                is_held: it.is_held || !can_leave,
                ..it
            })
        });
        used.collect()
    }

    /// Unloads models that nobody uses, the one used longest ago first, until there is room.
    pub(super) fn make_room(&self, wanted: &Slot) -> Result<(), Fault> {
        let Some(most) = self.0.config.max_memory_bytes else {
            return Ok(());
        };
        let slots = self.0.slots.load();
        let leaving =
            who_leaves(&self.uses(), most, wanted.expected_memory()).ok_or_else(|| {
                let reason = format!(
                    "the models in use fill the {} MiB of models.max_memory_mib",
                    most >> 20
                );
                unavailable(wanted, &reason, SOON_MS)
            })?;
        for place in leaving {
            self.let_go(&slots[place]);
        }
        Ok(())
    }
}

/// Places of the models that leave so that `wanted` more bytes fit; `None` if they never will.
fn who_leaves(used: &[Option<Use>], most: u64, wanted: u64) -> Option<Vec<usize>> {
    let mut taken: u64 = used.iter().flatten().map(|it| it.memory).sum();
    let mut idle: Vec<(usize, Use)> = used
        .iter()
        .enumerate()
        .filter_map(|(place, it)| it.filter(|it| !it.is_held).map(|it| (place, it)))
        .collect();
    idle.sort_by_key(|(_, it)| it.last_used);
    let mut leaving = Vec::new();
    let mut idle = idle.into_iter();
    while taken.saturating_add(wanted) > most {
        let (place, it) = idle.next()?;
        taken -= it.memory;
        leaving.push(place);
    }
    Some(leaving)
}

fn unavailable(slot: &Slot, reason: &str, retry_after_ms: u32) -> Fault {
    Fault {
        code: FaultCode::Overloaded,
        message: format!("model {} is not in memory, and {reason}", slot.info.name),
        item: None,
        retry_after_ms: Some(retry_after_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(memory: u64, last_used: u64, is_held: bool) -> Option<Use> {
        Some(Use {
            memory,
            last_used,
            is_held,
        })
    }

    #[test]
    fn those_used_longest_ago_leave_first_and_no_more_than_need_be() {
        let all = [
            used(10, 3, false),
            used(10, 1, false),
            None,
            used(10, 2, false),
        ];
        assert_eq!(who_leaves(&all, 40, 10), Some(vec![]));
        assert_eq!(who_leaves(&all, 30, 10), Some(vec![1]));
        assert_eq!(who_leaves(&all, 30, 15), Some(vec![1, 3]));
        assert_eq!(who_leaves(&all, 30, 31), None);
    }

    #[test]
    fn models_in_use_stay() {
        let all = [used(10, 1, true), used(10, 2, false)];
        assert_eq!(who_leaves(&all, 20, 10), Some(vec![1]));
        assert_eq!(who_leaves(&all, 20, 11), None);
    }
}
