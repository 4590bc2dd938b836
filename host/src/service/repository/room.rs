//! Bringing a cold model back, within the memory budget.

use std::sync::Arc;

use brink_protocol::{Fault, FaultCode};
use tokio::time::Instant;

use super::Repository;
use super::slot::{Failure, Slot, Use};
use crate::inference::ModelFiles;
use crate::service::call_fault;
use crate::service::error::InferError;
use crate::service::model::{Model, OpenError};

/// When to come back if all the memory is in use.
const SOON_MS: u32 = 1_000;

impl Repository {
    /// Loads a cold model, unless somebody else just did.
    pub(super) async fn bring_back(&self, slot: &Arc<Slot>) -> Result<Arc<Model>, Fault> {
        let _loading = self.0.loading.lock().await;
        if !slot.is_awaited() {
            // Whoever asked is gone; to load it would only push out what others use.
            return Err(InferError::Lost.into_fault(None));
        }
        if let Some(model) = slot.take() {
            return Ok(model);
        }
        if !self.serves(slot) {
            return Err(gone(slot));
        }
        if let Some(failure) = slot.failed(Instant::now()) {
            return Err(failure.into_fault(slot));
        }
        match self.reload(slot).await {
            Ok(loaded) => loaded,
            Err(error) => {
                tracing::error!(
                    model = slot.info.name,
                    error = &error as &dyn std::error::Error,
                    "a model cannot be loaded"
                );
                self.0.metrics.failed(&slot.info);
                let failure = Failure::of(&error, Instant::now() + self.0.config.retry_load_after);
                slot.fail(failure.clone());
                Err(failure.into_fault(slot))
            }
        }
    }

    fn serves(&self, slot: &Arc<Slot>) -> bool {
        self.0.slots.load().iter().any(|one| Arc::ptr_eq(one, slot))
    }

    /// The files may have changed meanwhile; then they are another model, which no edge knows.
    /// Nothing leaves memory for a model that cannot be loaded.
    async fn reload(&self, slot: &Arc<Slot>) -> Result<Result<Arc<Model>, Fault>, OpenError> {
        let deadline = self.load_deadline();
        let known = slot.files.as_ref().ok_or(OpenError::NoLoader)?;
        let folder = known.folder.clone();
        let read = self.wait_for(&known.folder, deadline, move |_| {
            Ok(ModelFiles::read(&folder)?)
        });
        let files = read.await?;
        if files.digest != slot.info.digest {
            return Err(OpenError::Changed);
        }
        self.check_fits(slot.expected_memory())?;
        {
            let _changing = self.0.change();
            if let Err(fault) = self.make_room(slot) {
                return Ok(Err(fault));
            }
        }
        let started = Instant::now();
        let opened = self.open_files(files, slot.memory(), deadline).await;
        let (model, memory) = opened?;
        let _changing = self.0.change();
        if !self.serves(slot) {
            return Ok(Err(gone(slot)));
        }
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

impl Failure {
    /// The cause of most names files of this machine: it is for the log.
    fn of(error: &OpenError, retry_at: Instant) -> Self {
        let is_final = matches!(error, OpenError::TooLarge { .. });
        let reason = match error {
            OpenError::Changed => "its files have changed: the operator has to load it".to_owned(),
            OpenError::TooLarge { .. } | OpenError::ChangedMeanwhile | OpenError::TooSlow(_) => {
                error.to_string()
            }
            _ => "it cannot be loaded".to_owned(),
        };
        Self {
            reason,
            is_final,
            retry_at,
        }
    }

    fn into_fault(self, slot: &Slot) -> Fault {
        if self.is_final {
            let message = format!("model {} is not loaded: {}", slot.info.name, self.reason);
            return call_fault(FaultCode::ModelFailed, message);
        }
        let left = self.retry_at.saturating_duration_since(Instant::now());
        let left = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
        unavailable(slot, &self.reason, left.max(1))
    }
}

/// Another one has its place, or none.
fn gone(slot: &Slot) -> Fault {
    let message = format!("model {} was replaced or unloaded", slot.info.name);
    call_fault(FaultCode::ModelChanged, message)
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
