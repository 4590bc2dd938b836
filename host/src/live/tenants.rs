//! Whose socket is it? Asked of the edge's own table, for counting; whether the caller may ask at all was decided by
//! the edge before.

use std::sync::{Arc, Mutex, PoisonError};

use brink_cache::Tenants;
use brink_cache::tenant::STORE_KEY;
use bytes::Bytes;

use crate::guest::keyvalue::KeyValue;

/// The tenants in a store.
pub struct StoredTenants {
    store: Arc<dyn KeyValue>,
    /// The newest table, and the bytes that it was read from. Held for comparing and reading them.
    newest: Mutex<Option<(Bytes, Arc<Tenants>)>>,
}

impl StoredTenants {
    /// Those of the edge that has this store.
    pub fn new(store: Arc<dyn KeyValue>) -> Self {
        Self {
            store,
            newest: Mutex::new(None),
        }
    }

    /// The tenant that `Authorization` stands for; `None` for everybody else, and while there is no table.
    pub(super) fn name(&self, authorization: Option<&str>) -> Option<Arc<str>> {
        let authorization = authorization?;
        let tenants = self.tenants()?;
        let tenant = tenants.authenticate(Some(authorization)).ok()?;
        Some(Arc::from(tenant.name.as_str()))
    }

    fn tenants(&self) -> Option<Arc<Tenants>> {
        let bytes = self.store.get(STORE_KEY).ok()??;
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((read, tenants)) = &*newest
            && *read == bytes
        {
            return Some(tenants.clone());
        }
        let tenants = Arc::new(Tenants::decode(&bytes).ok()?);
        *newest = Some((bytes, tenants.clone()));
        Some(tenants)
    }
}
