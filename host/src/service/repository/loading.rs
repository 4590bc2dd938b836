//! Reading and opening models, on threads that may wait, and for so long at most.
//!
//! A thread cannot be ended from outside. So a load that takes longer than `models.load_timeout_ms` is given
//! up: whoever asked is told, and the next load begins. Its thread goes on until the disk or the runtime
//! lets it go; what it brings then is dropped. While it does, its folder is not tried again, and beyond
//! [`MAX_STUCK`] of them nothing is: each holds a thread, and maybe the memory of a model.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::loader::Loader;
use super::{Inner, Repository};
use crate::inference::{ModelFiles, give_memory_back};
use crate::service::model::{Model, OpenError};

/// Most loads that were given up and go on.
const MAX_STUCK: usize = 4;

/// The folders that threads read or load from. Loads begin one after another, so what is in here when one
/// begins was given up.
#[derive(Debug, Default)]
pub(super) struct UnderWay(Mutex<Vec<PathBuf>>);

impl UnderWay {
    fn begin(self: &Arc<Self>, folder: &Path) -> Result<Part, OpenError> {
        let mut folders = self.folders();
        if folders.iter().any(|other| other == folder) {
            return Err(OpenError::StillLoading);
        }
        if folders.len() >= MAX_STUCK {
            return Err(OpenError::TooManyStuck(folders.len()));
        }
        folders.push(folder.to_owned());
        Ok(Part {
            all: Arc::clone(self),
            folder: folder.to_owned(),
        })
    }

    /// Nothing is left half done under this lock.
    fn folders(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of a load that has a thread. Dropped when the thread is done with it, however that ends.
struct Part {
    all: Arc<UnderWay>,
    folder: PathBuf,
}

impl Drop for Part {
    fn drop(&mut self) {
        let mut folders = self.all.folders();
        if let Some(place) = folders.iter().position(|folder| *folder == self.folder) {
            folders.swap_remove(place);
        }
    }
}

impl Repository {
    /// When a load that begins now is given up.
    pub(super) fn load_deadline(&self) -> Instant {
        Instant::now() + self.0.config.load_timeout
    }

    /// Does a part of a load of this folder on a thread that may wait.
    pub(super) async fn wait_for<T: Send + 'static>(
        &self,
        folder: &Path,
        deadline: Instant,
        work: impl FnOnce(&dyn Loader) -> Result<T, OpenError> + Send + 'static,
    ) -> Result<T, OpenError> {
        let part = self.0.under_way.begin(folder)?;
        let (done, waiting) = oneshot::channel();
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || {
            // Let go before the channel, also by a panic: whoever waits there may begin the next part.
            let underway = part;
            let worked = match inner.loader.as_deref() {
                Some(loader) => work(loader),
                None => Err(OpenError::NoLoader),
            };
            let folder = underway.folder.clone();
            drop(underway);
            if let Err(late) = done.send(worked) {
                inner.ended_late(&folder, late.err());
            }
        });
        match timeout_at(deadline, waiting).await {
            Ok(Ok(worked)) => worked,
            Ok(Err(_)) => Err(OpenError::Panicked),
            Err(_) => {
                tracing::error!(
                    folder = %folder.display(),
                    "a load took longer than models.load_timeout_ms and is given up; its thread goes on and cannot be ended"
                );
                Err(OpenError::TooSlow(self.0.config.load_timeout))
            }
        }
    }

    /// Opens a model, and gives what it takes: what the process grew by, and at least its weights and what
    /// the same model took before. Where memory that was freed is used again, the process grows by less.
    pub(super) async fn open_files(
        &self,
        files: ModelFiles,
        before: u64,
        deadline: Instant,
    ) -> Result<(Model, u64), OpenError> {
        let folder = files.folder.clone();
        let (least, most) = (
            files.model_bytes.max(before),
            self.0.config.max_memory_bytes,
        );
        self.check_fits(least)?;
        let open = move |loader: &dyn Loader| {
            give_memory_back();
            let before = loader.resident_bytes();
            let model = loader.open(&files)?;
            let memory = loader.resident_bytes().saturating_sub(before).max(least);
            check_fits(memory, most)?;
            // Of other bytes, the digest would be a lie, and results would be kept under it.
            if !files.are_unchanged()? {
                return Err(OpenError::ChangedMeanwhile);
            }
            Ok((model, memory))
        };
        self.wait_for(&folder, deadline, open).await
    }
}

impl Repository {
    /// Whether a model that takes so much fits at all.
    pub(super) fn check_fits(&self, memory: u64) -> Result<(), OpenError> {
        check_fits(memory, self.0.config.max_memory_bytes)
    }
}

impl Inner {
    fn ended_late(&self, folder: &Path, error: Option<OpenError>) {
        let error = error.as_ref().map(|error| error as &dyn std::error::Error);
        tracing::warn!(
            folder = %folder.display(),
            error,
            "a load that was given up has ended; what it brought was dropped"
        );
        // This thread may wait.
        let _loading = self.loading.blocking_lock();
        self.forget_unserved();
    }
}

fn check_fits(memory: u64, most: Option<u64>) -> Result<(), OpenError> {
    const MIB: u64 = 1 << 20;
    match most {
        Some(most) if memory > most => Err(OpenError::TooLarge {
            needed_mib: memory.div_ceil(MIB),
            limit_mib: most / MIB,
        }),
        _ => Ok(()),
    }
}
