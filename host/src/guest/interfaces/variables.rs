//! `spin:variables@3.0.0` and `wasi:config/store@0.2.0-draft-2024-09-27`: both read
//! the component's variables, which are fixed once the manifest is loaded.

use wasmtime::component::Accessor;

use super::{
    Interfaces, View,
    bindings::{spin::variables::variables, wasi::config::store},
};

impl variables::Host for View<'_> {}

impl<T: 'static> variables::HostWithStore<T> for Interfaces {
    async fn get(
        accessor: &Accessor<T, Self>,
        name: String,
    ) -> wasmtime::Result<Result<String, variables::Error>> {
        let value =
            accessor.with(|mut access| access.get().component.variables.get(&name).cloned());
        Ok(value.ok_or(variables::Error::Undefined(name)))
    }
}

impl store::Host for View<'_> {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, store::Error>> {
        Ok(Ok(self.component.variables.get(&key).cloned()))
    }

    fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, store::Error>> {
        let pairs = self.component.variables.iter();
        Ok(Ok(pairs
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()))
    }
}
