//! The WebAssembly engine: compiler, instance allocator and the clock that lets
//! guests be interrupted.

use std::{
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread,
    time::Duration,
};

use wasmtime::{
    Config, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig,
    component::{Component, Linker},
};

use super::{
    body::BoxError, compile::CompileCache, config::GuestConfig, interfaces, state::GuestState,
};

/// How often running guests yield to the runtime. A guest in an endless loop
/// delays others on its thread by this long, and no longer.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// Parts of one component. A component built by rustc has three core instances (its
/// module and two shims), one memory and two tables; composed ones have more.
const CORE_INSTANCES_PER_COMPONENT: u32 = 8;
const MEMORIES_PER_COMPONENT: u32 = 2;
const TABLES_PER_COMPONENT: u32 = 4;

/// Memory that a freed slot keeps, so that reuse needs no page faults. Small: it is
/// paid for every slot that was ever used.
const KEEP_RESIDENT_BYTES: usize = 64 << 10;

/// The engine of an application. Its ticker thread ends with it.
pub(super) struct Engine {
    raw: wasmtime::Engine,
    _ticker: Ticker,
}

impl Engine {
    /// An engine with room for `instances` of components and `doors` of core modules at a time.
    pub(super) fn new(
        config: &GuestConfig,
        instances: usize,
        doors: usize,
    ) -> wasmtime::Result<Self> {
        let raw = wasmtime::Engine::new(&engine_config(config, instances, doors))?;
        let ticker = Ticker::start(raw.weak())?;
        Ok(Self {
            raw,
            _ticker: ticker,
        })
    }

    /// Wasmtime's engine.
    pub(super) fn raw(&self) -> &wasmtime::Engine {
        &self.raw
    }

    /// Compiles a component, or takes its compiled form from `cache`.
    pub(super) fn load(&self, wasm: &[u8], cache: &CompileCache) -> wasmtime::Result<Component> {
        cache.load(&self.raw, wasm)
    }

    /// Everything that a component may import.
    pub(super) fn linker(&self) -> wasmtime::Result<Linker<GuestState>> {
        let mut linker = Linker::new(&self.raw);
        // Rust's standard library uses WASI 0.2, components built with spin-sdk 7 use 0.3.
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
        interfaces::add_to_linker(&mut linker)?;
        Ok(linker)
    }
}

/// The names of everything that the component `wasm` imports, such as
/// `spin:key-value/key-value@3.0.0`: whether another host can run it depends on them.
pub fn component_imports(wasm: &[u8]) -> Result<Vec<String>, BoxError> {
    let mut config = Config::new();
    config.wasm_component_model_async(true);
    let engine = wasmtime::Engine::new(&config)?;
    let component = Component::new(&engine, wasm)?;
    let ty = component.component_type();
    let names = ty.imports(&engine).map(|(name, _)| name.to_owned());
    Ok(names.collect())
}

fn engine_config(limits: &GuestConfig, instances: usize, doors: usize) -> Config {
    let instances = u32::try_from(instances).unwrap_or(u32::MAX);
    let doors = u32::try_from(doors).unwrap_or(u32::MAX);
    let with_doors = |per_component: u32, per_door: u32| {
        let components = instances.saturating_mul(per_component);
        components.saturating_add(doors.saturating_mul(per_door))
    };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(with_doors(CORE_INSTANCES_PER_COMPONENT, 1))
        .total_memories(with_doors(MEMORIES_PER_COMPONENT, 1))
        .total_tables(with_doors(TABLES_PER_COMPONENT, 2))
        .total_stacks(instances.saturating_mul(MEMORIES_PER_COMPONENT))
        .max_memory_size(limits.max_memory_bytes)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(KEEP_RESIDENT_BYTES);
    let mut config = Config::new();
    config
        .wasm_component_model_async(true)
        .memory_init_cow(true)
        // Address space, not memory. With all that 32 bits can reach reserved for each instance, the guest's
        // loads and stores need no bounds checks.
        .memory_reservation(4 << 30)
        .epoch_interruption(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// Advances the engine's epoch every [`TICK`]. A thread, not a task: the runtime's
/// workers may all be inside guests, and then only this lets them out again.
struct Ticker {
    /// Dropping it ends the thread at once.
    _stop: Sender<()>,
}

impl Ticker {
    fn start(engine: EngineWeak) -> std::io::Result<Self> {
        let (stop, stopped) = channel::<()>();
        thread::Builder::new()
            .name("guest-ticker".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                    let Some(engine) = engine.upgrade() else {
                        return;
                    };
                    engine.increment_epoch();
                }
            })?;
        Ok(Self { _stop: stop })
    }
}
