//! From a component of the manifest to a pool that can run it.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use wasmtime::component::{Component, Linker};
use wasmtime_wasi_http::p3::bindings::ServicePre;

use super::{
    compile::CompileCache,
    door::DoorCode,
    engine::Engine,
    error::BuildError,
    files::Mounts,
    keyvalue::{Bucket, Stores},
    manifest::ComponentSpec,
    pool::{Pool, Shared},
    state::{ComponentContext, GuestState},
    stats::PoolStats,
};

/// What all components of an application are built with.
pub(super) struct Builder<'a> {
    pub(super) engine: &'a Engine,
    pub(super) linker: Linker<GuestState>,
    pub(super) cache: CompileCache,
    /// The manifest's.
    pub(super) folder: &'a Path,
    pub(super) stores: &'a Stores,
    pub(super) shared: Arc<Shared>,
}

impl Builder<'_> {
    /// Compiles and links `spec`, and prepares what its instances share.
    pub(super) fn pool(
        &self,
        spec: ComponentSpec,
        stats: Arc<PoolStats>,
    ) -> Result<Pool, BuildError> {
        let wasm = std::fs::read(&spec.source).map_err(|source| BuildError::Source {
            component: spec.id.clone(),
            path: spec.source.clone(),
            source,
        })?;
        let component = self.compile(&spec, &wasm)?;
        let service = self.link(&spec, &component)?;
        let door = self.door(&spec, &wasm, &component);
        let stores = self.granted_stores(&spec)?;
        let mounts = Mounts::prepare(&spec, self.folder).map_err(|source| BuildError::Files {
            component: spec.id.clone(),
            source,
        })?;
        let context = ComponentContext {
            id: spec.id.into(),
            mounts,
            variables: spec.variables,
            environment: spec.environment,
            allowed_outbound_hosts: spec.allowed_outbound_hosts,
            stores,
            max_memory_bytes: self.shared.config.max_memory_bytes,
            max_run: self.shared.config.max_run,
        };
        Ok(Pool::new(
            Arc::new(context),
            self.shared.clone(),
            service,
            door,
            stats,
        ))
    }

    fn granted_stores(&self, spec: &ComponentSpec) -> Result<BTreeMap<String, Bucket>, BuildError> {
        let labels = spec.key_value_stores.iter();
        labels
            .map(|label| match self.stores.get(label) {
                Some(bucket) => Ok((label.clone(), bucket.clone())),
                None => Err(BuildError::NoStore {
                    component: spec.id.clone(),
                    label: label.clone(),
                }),
            })
            .collect()
    }

    fn compile(&self, spec: &ComponentSpec, wasm: &[u8]) -> Result<Component, BuildError> {
        let compiled = self.engine.load(wasm, &self.cache);
        compiled.map_err(|source| BuildError::Compile {
            component: spec.id.clone(),
            source: source.into(),
        })
    }

    fn link(
        &self,
        spec: &ComponentSpec,
        component: &Component,
    ) -> Result<ServicePre<GuestState>, BuildError> {
        self.linker
            .instantiate_pre(component)
            .and_then(ServicePre::new)
            .map_err(|source| BuildError::Interfaces {
                component: spec.id.clone(),
                source: source.into(),
            })
    }

    /// A door that cannot be used is logged and left out: all requests have another way.
    fn door(&self, spec: &ComponentSpec, wasm: &[u8], component: &Component) -> Option<DoorCode> {
        if !self.shared.config.fast_door.enabled {
            return None;
        }
        DoorCode::load(self.engine.raw(), &self.cache, wasm, component)
            .inspect_err(|error| {
                tracing::warn!(component = spec.id, %error, "the fast door is not used");
            })
            .ok()?
    }
}
