//! What an instance owns on the host's side, and what all instances of a component share.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use wasmtime::{
    Store, StoreLimits, StoreLimitsBuilder, UpdateDeadline, component::ResourceTable, format_err,
};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::{
    drive,
    files::Mounts,
    interfaces::View,
    keyvalue::Bucket,
    logs::LineLog,
    outbound::{Network, Outbound, allow::AllowList},
};
use crate::telemetry::{KeyValueCalls, Trace};

/// What all instances of a component share; fixed once the manifest is loaded.
pub(super) struct ComponentContext {
    pub(super) id: Arc<str>,
    pub(super) variables: BTreeMap<String, String>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) allowed_outbound_hosts: AllowList,
    /// The stores that the manifest grants, by label.
    pub(super) stores: BTreeMap<String, Bucket>,
    pub(super) mounts: Mounts,
    pub(super) max_memory_bytes: usize,
    pub(super) max_run: Duration,
}

/// The state behind one instance, alive as long as the instance.
pub(super) struct GuestState {
    pub(super) table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outbound: Outbound,
    limits: StoreLimits,
    open_stores: usize,
    /// How long it has computed for the request being answered, as far as that was noticed.
    ran: Duration,
    /// Of the request being answered, if it is recorded.
    calls: Option<KeyValueCalls>,
    component: Arc<ComponentContext>,
}

impl GuestState {
    fn new(component: Arc<ComponentContext>, network: Arc<Network>) -> wasmtime::Result<Self> {
        let mut wasi = WasiCtx::builder();
        wasi.stdout(LineLog::new(component.id.clone(), "stdout"))
            .stderr(LineLog::new(component.id.clone(), "stderr"));
        for (name, value) in &component.environment {
            wasi.env(name, value);
        }
        for (folder, destination) in component.mounts.iter() {
            wasi.preopened_dir(folder, destination, FsPerms::ReadOnly)?;
        }
        let limits = StoreLimitsBuilder::new()
            .memory_size(component.max_memory_bytes)
            .trap_on_grow_failure(true)
            .build();
        Ok(Self {
            table: ResourceTable::new(),
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            outbound: Outbound::new(component.clone(), network),
            limits,
            open_stores: 0,
            ran: Duration::ZERO,
            calls: None,
            component,
        })
    }

    /// A store for one instance, with its memory limit, which yields to the runtime
    /// at every tick of the engine: that is what lets a time-out stop an endless loop. A loop is also stopped when it
    /// has computed for longer than a request may, for time-outs have to be long where models are slow.
    pub(super) fn store(
        engine: &wasmtime::Engine,
        component: Arc<ComponentContext>,
        network: Arc<Network>,
    ) -> wasmtime::Result<Store<Self>> {
        let mut store = Store::new(engine, Self::new(component, network)?);
        store.limiter(|state| &mut state.limits);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut store| {
            let state = store.data_mut();
            state.ran += drive::stretch();
            let limit = state.component.max_run;
            if state.ran > limit {
                return Err(format_err!(
                    "it computed for longer than {limit:?} (guest.max_run_ms)"
                ));
            }
            Ok(UpdateDeadline::Yield(1))
        });
        Ok(store)
    }

    /// What the instance does from now on belongs there: an instance answers one request at a time.
    pub(super) fn work_under(&mut self, trace: Option<Trace>) {
        self.ran = Duration::ZERO;
        self.calls = trace.as_ref().and_then(KeyValueCalls::under);
        self.outbound.work_under(trace);
    }

    pub(super) fn interfaces(&mut self) -> View<'_> {
        View {
            table: &mut self.table,
            open_stores: &mut self.open_stores,
            component: &self.component,
            calls: &mut self.calls,
        }
    }
}

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for GuestState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.outbound,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}
