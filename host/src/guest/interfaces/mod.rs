//! The Spin interfaces that the host serves to components, besides WASI.
//!
//! Guest-visible errors are the `Err` inside; the outer `wasmtime::Result` is for
//! traps, and only a broken resource table traps.

mod key_value;
mod variables;
mod wasi_atomics;
mod wasi_key_value;

use tokio::time::Instant;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

use super::{
    keyvalue::{Bucket, KeyValueError},
    state::{ComponentContext, GuestState},
};
use crate::telemetry::{Access, KeyValueCalls};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../protocol/wit",
        world: "brink:edge/imports",
        imports: { default: trappable },
        with: {
            "spin:key-value/key-value.store": crate::guest::keyvalue::Bucket,
            "wasi:keyvalue/store.bucket": crate::guest::keyvalue::Bucket,
            "wasi:keyvalue/atomics.cas": crate::guest::keyvalue::Swap,
        },
    });
}

/// Most stores that one instance may hold open. Guests open one and keep it.
const MAX_OPEN_STORES: usize = 256;

/// What the interfaces need of an instance's state.
pub(super) struct View<'a> {
    pub(super) table: &'a mut ResourceTable,
    pub(super) open_stores: &'a mut usize,
    pub(super) component: &'a ComponentContext,
    /// Of the request being answered, if it is recorded.
    pub(super) calls: &'a mut Option<KeyValueCalls>,
}

/// Ties [`View`] to the linker.
pub(super) struct Interfaces;

impl HasData for Interfaces {
    type Data<'a> = View<'a>;
}

/// Adds all interfaces of this module.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    bindings::Imports::add_to_linker::<_, Interfaces>(linker, GuestState::interfaces)
}

/// Why a store was not opened; both key-value interfaces have these errors.
enum OpenError {
    AccessDenied,
    TableFull,
}

impl View<'_> {
    /// Runs `operation` on an open store, and counts it.
    fn on_store<R>(
        &mut self,
        store: &Resource<Bucket>,
        access: Access,
        operation: impl FnOnce(&Bucket) -> Result<R, KeyValueError>,
    ) -> wasmtime::Result<Result<R, KeyValueError>> {
        let bucket = self.table.get(store)?;
        let Some(calls) = self.calls else {
            return Ok(operation(bucket));
        };
        let began = Instant::now();
        let done = operation(bucket);
        calls.count(access, began, done.is_ok());
        Ok(done)
    }

    /// The store that the manifest grants under `label`. As under Spin, a label that
    /// is not granted is denied whether or not such a store exists.
    fn open_store(&mut self, label: &str) -> Result<Bucket, OpenError> {
        let bucket = self.component.stores.get(label);
        let bucket = bucket.cloned().ok_or(OpenError::AccessDenied)?;
        if *self.open_stores >= MAX_OPEN_STORES {
            return Err(OpenError::TableFull);
        }
        *self.open_stores += 1;
        Ok(bucket)
    }

    fn close_store(&mut self, store: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(store)?;
        *self.open_stores = self.open_stores.saturating_sub(1);
        Ok(())
    }
}
