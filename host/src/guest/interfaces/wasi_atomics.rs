//! `wasi:keyvalue/atomics@0.2.0-draft2`: counters that several instances share.

use wasmtime::component::Resource;

use super::{
    View,
    bindings::wasi::keyvalue::{
        atomics::{CasError, Host, HostCas},
        store::Error,
    },
};
use crate::guest::keyvalue::{Bucket, Swap};
use crate::telemetry::Access;

const NO_SWAP: &str = "compare-and-swap is not served here; use increment";

impl Host for View<'_> {
    fn increment(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        delta: i64,
    ) -> wasmtime::Result<Result<i64, Error>> {
        let counted = self.on_store(&bucket, Access::Write, |bucket| {
            bucket.increment(&key, delta)
        })?;
        Ok(counted.map_err(Error::from))
    }

    fn swap(
        &mut self,
        cas: Resource<Swap>,
        _value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), CasError>> {
        match *self.table.get(&cas)? {}
    }
}

impl HostCas for View<'_> {
    fn new(
        &mut self,
        _bucket: Resource<Bucket>,
        _key: String,
    ) -> wasmtime::Result<Result<Resource<Swap>, Error>> {
        Ok(Err(Error::Other(NO_SWAP.to_owned())))
    }

    fn current(&mut self, cas: Resource<Swap>) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
        match *self.table.get(&cas)? {}
    }

    fn drop(&mut self, cas: Resource<Swap>) -> wasmtime::Result<()> {
        match self.table.delete(cas)? {}
    }
}
