//! Which models the host serves, kept for some seconds, and for as long as the host is away.
//!
//! The catalogue is looked for in this instance, then in the key-value store (where another
//! instance may have left a newer one), then at the host. Without the copy in the store a
//! new instance could not serve a single hit while the host is down.

use std::rc::Rc;

use brink_cache::UnixSeconds;
use brink_protocol::{Catalog, message};
use spin_sdk::wasip3;

use super::{Edge, now};
use crate::embeddings::Fetched;
use crate::error::ApiError;

/// Keys of results are 64 hexadecimal digits, so this one can never be one of theirs.
const STORE_KEY: &str = "brink/catalog/1";

/// After a failed call the host is left alone for this long, in seconds.
const PAUSE_AFTER_FAILURE: u64 = 1;

/// This instance's copy.
#[derive(Default)]
pub(super) struct Kept {
    catalog: Option<(Rc<Catalog>, UnixSeconds)>,
    ask_again: UnixSeconds,
}

impl Edge {
    /// The models, from the nearest place that knows them.
    pub(super) async fn catalog(self: &Rc<Self>) -> Result<Rc<Catalog>, ApiError> {
        let now = now();
        if let Some(catalog) = self.fresh_copy(now) {
            return Ok(catalog);
        }
        self.read_stored().await;
        if let Some(catalog) = self.fresh_copy(now) {
            return Ok(catalog);
        }
        self.refreshed_catalog(now).await
    }

    /// The models as the host serves them now; used when it says that a model changed.
    pub(super) async fn newest_catalog(self: &Rc<Self>) -> Result<Rc<Catalog>, ApiError> {
        let catalog = Rc::new(self.fetch_catalog().await?);
        self.keep(catalog.clone(), now());
        Ok(catalog)
    }

    async fn refreshed_catalog(self: &Rc<Self>, now: UnixSeconds) -> Result<Rc<Catalog>, ApiError> {
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

    fn fresh_copy(&self, now: UnixSeconds) -> Option<Rc<Catalog>> {
        let kept = self.catalog.borrow();
        let (catalog, fetched) = kept.catalog.as_ref()?;
        (now.since(*fetched) < self.settings.catalog_lifetime).then(|| catalog.clone())
    }

    /// Takes over a newer copy from the store, if there is one.
    async fn read_stored(&self) {
        let Fetched::Bytes(bytes) = self.store.get(STORE_KEY.to_owned()).await else {
            return;
        };
        let Ok((fetched, catalog)) = message::decode::<(UnixSeconds, Catalog)>(&bytes) else {
            return;
        };
        let mut kept = self.catalog.borrow_mut();
        if kept
            .catalog
            .as_ref()
            .is_none_or(|(_, known)| *known < fetched)
        {
            kept.catalog = Some((Rc::new(catalog), fetched));
        }
    }

    /// Keeps a copy here, and one in the store once the answer is on its way.
    fn keep(self: &Rc<Self>, catalog: Rc<Catalog>, fetched: UnixSeconds) {
        self.catalog.borrow_mut().catalog = Some((catalog.clone(), fetched));
        let edge = self.clone();
        wasip3::spawn(async move {
            let bytes = message::encode(&(fetched, &*catalog));
            edge.store.set(STORE_KEY.to_owned(), bytes).await;
        });
    }
}
