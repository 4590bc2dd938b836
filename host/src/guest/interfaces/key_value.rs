//! `spin:key-value@3.0.0`.

use wasmtime::component::{Accessor, FutureReader, Resource, StreamReader};

use super::{
    Interfaces, OpenError, View,
    bindings::spin::key_value::key_value::{Error, Host, HostStore, HostStoreWithStore},
};
use crate::guest::keyvalue::{Bucket, KeyValueError};
use crate::telemetry::Access;

impl From<KeyValueError> for Error {
    fn from(error: KeyValueError) -> Self {
        Self::Other(error.to_string())
    }
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::AccessDenied => Self::AccessDenied,
            OpenError::TableFull => Self::StoreTableFull,
        }
    }
}

type Answer<T> = wasmtime::Result<Result<T, Error>>;

/// The outcome of listing comes in a future beside the keys.
type Keys = (StreamReader<String>, FutureReader<Result<(), Error>>);

impl Host for View<'_> {}

impl HostStore for View<'_> {
    fn drop(&mut self, store: Resource<Bucket>) -> wasmtime::Result<()> {
        self.close_store(store)
    }
}

/// Runs `operation` on an open store.
fn on_store<T, R>(
    accessor: &Accessor<T, Interfaces>,
    store: &Resource<Bucket>,
    kind: Access,
    operation: impl FnOnce(&Bucket) -> Result<R, KeyValueError>,
) -> Answer<R> {
    accessor.with(|mut access| {
        let done = access.get().on_store(store, kind, operation)?;
        Ok(done.map_err(Error::from))
    })
}

impl<T: 'static> HostStoreWithStore<T> for Interfaces {
    async fn open(accessor: &Accessor<T, Self>, label: String) -> Answer<Resource<Bucket>> {
        accessor.with(|mut access| {
            let mut view = access.get();
            match view.open_store(&label) {
                Ok(bucket) => Ok(Ok(view.table.push(bucket)?)),
                Err(error) => Ok(Err(error.into())),
            }
        })
    }

    async fn get(
        accessor: &Accessor<T, Self>,
        store: Resource<Bucket>,
        key: String,
    ) -> Answer<Option<Vec<u8>>> {
        on_store(accessor, &store, Access::Read, |bucket| {
            Ok(bucket.get(&key)?.map(|value| value.to_vec()))
        })
    }

    async fn set(
        accessor: &Accessor<T, Self>,
        store: Resource<Bucket>,
        key: String,
        value: Vec<u8>,
    ) -> Answer<()> {
        on_store(accessor, &store, Access::Write, |bucket| {
            bucket.set(&key, value.into())
        })
    }

    async fn delete(
        accessor: &Accessor<T, Self>,
        store: Resource<Bucket>,
        key: String,
    ) -> Answer<()> {
        on_store(accessor, &store, Access::Write, |bucket| {
            bucket.delete(&key)
        })
    }

    async fn exists(
        accessor: &Accessor<T, Self>,
        store: Resource<Bucket>,
        key: String,
    ) -> Answer<bool> {
        on_store(accessor, &store, Access::Read, |bucket| bucket.exists(&key))
    }

    async fn get_keys(
        accessor: &Accessor<T, Self>,
        store: Resource<Bucket>,
    ) -> wasmtime::Result<Keys> {
        accessor.with(|mut access| {
            let listed = access.get().on_store(&store, Access::Read, Bucket::keys)?;
            let (keys, outcome) = match listed {
                Ok(keys) => (keys, Ok(())),
                Err(error) => (Vec::new(), Err(error.into())),
            };
            let keys = StreamReader::new(&mut access, keys)?;
            let outcome = FutureReader::new(&mut access, async { wasmtime::error::Ok(outcome) })?;
            Ok((keys, outcome))
        })
    }
}
