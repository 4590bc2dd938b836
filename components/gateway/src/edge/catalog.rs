//! Which models the host serves, kept for some seconds, and for as long as the host is away.
//!
//! The catalogue is looked for in this instance, then in the key-value store (where another
//! instance may have left a newer one), then at the host. Without the copy in the store a
//! new instance could not serve a single hit while the host is down.

use std::rc::Rc;
use std::sync::Arc;

use brink_cache::UnixSeconds;
use brink_protocol::{Catalog, message};
use spin_sdk::wasip3;

use super::settings::Settings;
use super::{Edge, SystemClock};
use crate::error::ApiError;
use crate::hit::Clock;
use crate::items::Fetched;

pub(super) use brink_protocol::catalog::STORE_KEY;

/// After a failed call the host is left alone for this long, in seconds.
const PAUSE_AFTER_FAILURE: u64 = 1;

/// This instance's copy.
#[derive(Default)]
pub(super) struct Kept {
    catalog: Option<(Arc<Catalog>, UnixSeconds)>,
    ask_again: UnixSeconds,
}

impl Kept {
    /// The copy, unless it is too old.
    pub(super) fn fresh(&self, now: UnixSeconds, settings: &Settings) -> Option<Arc<Catalog>> {
        let (catalog, fetched) = self.catalog.as_ref()?;
        (now.since(*fetched) < settings.catalog_lifetime).then(|| catalog.clone())
    }

    /// Takes over what the store has, if it is newer.
    pub(super) fn take_over(&mut self, stored: &Fetched) {
        let Fetched::Bytes(bytes) = stored else {
            return;
        };
        let Ok((fetched, catalog)) = message::decode::<(UnixSeconds, Catalog)>(bytes) else {
            return;
        };
        let known = self.catalog.as_ref().map(|(_, fetched)| *fetched);
        if known.is_none_or(|known| known < fetched) {
            self.catalog = Some((Arc::new(catalog), fetched));
        }
    }
}

impl Edge {
    /// The models, from the nearest place that knows them.
    pub(super) async fn catalog(self: &Rc<Self>) -> Result<Arc<Catalog>, ApiError> {
        let now = SystemClock.now();
        if let Some(catalog) = self.catalog.borrow().fresh(now, &self.settings) {
            return Ok(catalog);
        }
        let stored = self.store.get(STORE_KEY.to_owned()).await;
        self.catalog.borrow_mut().take_over(&stored);
        if let Some(catalog) = self.catalog.borrow().fresh(now, &self.settings) {
            return Ok(catalog);
        }
        self.refreshed_catalog(now).await
    }

    /// The models as the host serves them now; used when it says that a model changed.
    pub(super) async fn newest_catalog(self: &Rc<Self>) -> Result<Arc<Catalog>, ApiError> {
        let catalog = Arc::new(self.fetch_catalog().await?);
        self.keep(catalog.clone(), SystemClock.now());
        Ok(catalog)
    }

    async fn refreshed_catalog(
        self: &Rc<Self>,
        now: UnixSeconds,
    ) -> Result<Arc<Catalog>, ApiError> {
        let (old, paused) = {
            let kept = self.catalog.borrow();
            (kept.catalog.clone(), now < kept.ask_again)
        };
        match old {
            Some((catalog, _)) if paused => Ok(catalog),
            Some((catalog, _)) => match self.newest_catalog().await {
                Ok(newest) => Ok(newest),
                Err(_) => {
                    self.catalog.borrow_mut().ask_again = UnixSeconds(now.0 + PAUSE_AFTER_FAILURE);
                    Ok(catalog)
                }
            },
            None => self.newest_catalog().await,
        }
    }

    /// Keeps a copy here, and one in the store once the answer is on its way.
    fn keep(self: &Rc<Self>, catalog: Arc<Catalog>, fetched: UnixSeconds) {
        self.catalog.borrow_mut().catalog = Some((catalog.clone(), fetched));
        let edge = self.clone();
        wasip3::spawn(async move {
            let bytes = message::encode(&(fetched, &*catalog));
            edge.store.set(STORE_KEY.to_owned(), bytes).await;
        });
    }
}
