//! `wasi:keyvalue/store@0.2.0-draft2`, the synchronous draft that Spin serves.

use wasmtime::component::Resource;

use super::{
    OpenError, View,
    bindings::wasi::keyvalue::store::{Error, Host, HostBucket, KeyResponse},
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
            OpenError::TableFull => Self::Other("too many stores are open".to_owned()),
        }
    }
}

type Answer<T> = wasmtime::Result<Result<T, Error>>;

impl Host for View<'_> {
    fn open(&mut self, label: String) -> Answer<Resource<Bucket>> {
        match self.open_store(&label) {
            Ok(bucket) => Ok(Ok(self.table.push(bucket)?)),
            Err(error) => Ok(Err(error.into())),
        }
    }
}

impl View<'_> {
    fn on_bucket<R>(
        &mut self,
        bucket: &Resource<Bucket>,
        access: Access,
        operation: impl FnOnce(&Bucket) -> Result<R, KeyValueError>,
    ) -> Answer<R> {
        let done = self.on_store(bucket, access, operation)?;
        Ok(done.map_err(Error::from))
    }
}

impl HostBucket for View<'_> {
    fn get(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<Option<Vec<u8>>> {
        self.on_bucket(&bucket, Access::Read, |bucket| {
            Ok(bucket.get(&key)?.map(|value| value.to_vec()))
        })
    }

    fn set(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>) -> Answer<()> {
        self.on_bucket(&bucket, Access::Write, |bucket| {
            bucket.set(&key, value.into())
        })
    }

    fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<()> {
        self.on_bucket(&bucket, Access::Write, |bucket| bucket.delete(&key))
    }

    fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<bool> {
        self.on_bucket(&bucket, Access::Read, |bucket| bucket.exists(&key))
    }

    /// All keys in one page: the stores here are bounded, so there is no cursor.
    fn list_keys(
        &mut self,
        bucket: Resource<Bucket>,
        _cursor: Option<String>,
    ) -> Answer<KeyResponse> {
        self.on_bucket(&bucket, Access::Read, |bucket| {
            let keys = bucket.keys()?;
            Ok(KeyResponse { keys, cursor: None })
        })
    }

    fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.close_store(bucket)
    }
}
