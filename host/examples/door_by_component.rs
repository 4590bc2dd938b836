//! What the fast door would cost through the component model.
//!
//! Question: how long does one call of `brink:edge/fast` take with wasmtime's typed component
//! API (`call_async`, polled in place), for the hit that `guest_hit` measures through the core
//! module, host included? Read both; the difference is what the direct call saves
//! (`docs/decisions/0012`). Run it in release mode:
//!
//! ```text
//! cargo run --release --example door_by_component -p brink-host -- target/components/gateway.wasm
//! ```

#![expect(clippy::print_stdout, reason = "a measurement prints its result")]

use std::collections::HashMap;
use std::error::Error;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use brink_cache::entry::Content;
use brink_cache::key::{ItemBytes, PrefixParts, Task, embed_parameters};
use brink_cache::{Entry, EntryMeta, KeyPrefix, Lifetimes, ModelDigest, Scope, UnixSeconds};
use brink_protocol::{Catalog, ModelInfo, message};
use tokio::time::Instant;
use wasmtime::component::{Component, HasSelf, Linker, Resource, ResourceTable, TypedFunc};
use wasmtime::{Config, Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../protocol/wit",
        world: "brink:edge/gateway",
        imports: { default: trappable },
    });
}
use bindings::exports::brink::edge::fast::Reply;
use bindings::wasi::{config::store as config, keyvalue::store as keyvalue};

type Call = TypedFunc<(Vec<u8>, Vec<u8>), (Option<Reply>,)>;
type Result<T> = std::result::Result<T, Box<dyn Error>>;

const MODEL: &str = "m";
const TEXT: &str = "the quick brown fox jumps over the lazy dog 0";
const CALLS: u32 = 20_000;
const ROUNDS: usize = 7;

struct State {
    table: ResourceTable,
    wasi: WasiCtx,
    values: HashMap<String, Vec<u8>>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let path = std::env::args().nth(1).ok_or("the component is missing")?;
    let mut config = Config::new();
    config
        .wasm_component_model_async(true)
        .epoch_interruption(true);
    let engine = Engine::new(&config)?;
    let component = Component::from_file(&engine, path)?;
    let mut linker = Linker::<State>::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    keyvalue::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
    config::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
    linker.define_unknown_imports_as_traps(&component)?;
    let state = State {
        table: ResourceTable::new(),
        wasi: WasiCtx::builder().build(),
        values: values(),
    };
    let mut store = Store::new(&engine, state);
    store.set_epoch_deadline(1);
    let instance = linker.instantiate_async(&mut store, &component).await?;
    let interface = instance.get_export_index(&mut store, None, "brink:edge/fast@0.1.0");
    let function = instance.get_export_index(&mut store, interface.as_ref(), "answer");
    let function = function.ok_or("the component has no fast door")?;
    let call: Call = instance.get_typed_func(&mut store, function)?;

    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..CALLS {
            let reply = ask(&mut store, &call)?.ok_or("no hit")?;
            assert!(reply.head.starts_with(b"200"));
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS));
    }
    println!("1 input, base64: {best:.2} us a call through the component model");
    Ok(())
}

/// A guest that makes only synchronous calls never suspends.
fn ask(store: &mut Store<State>, call: &Call) -> Result<Option<Reply>> {
    let head = b"POST /v1/embeddings\nhost: 127.0.0.1:3000\ncontent-type: application/json\ncontent-length: 115\naccept: */*\nuser-agent: guest_hit\nx-request-id: req-0123456789abcdef-1";
    let body = format!(r#"{{"model":"{MODEL}","input":["{TEXT}"],"encoding_format":"base64"}}"#);
    let mut running = pin!(call.call_async(store, (head.to_vec(), body.into())));
    match running
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(reply) => Ok(reply?.0),
        Poll::Pending => Err("the guest suspended".into()),
    }
}

/// What the gateway finds in its store: the catalogue, and one result.
fn values() -> HashMap<String, Vec<u8>> {
    let digest = ModelDigest([1; 32]);
    let catalog = Catalog {
        models: vec![ModelInfo {
            name: MODEL.to_owned(),
            digest,
            task: Task::Embed,
            dimensions: 384,
            max_tokens: 256,
            vocabulary: 30_522,
            created: 0,
            owned_by: "example".to_owned(),
        }],
    };
    let prefix = KeyPrefix::new(PrefixParts {
        scope: &Scope::Tenant("default".to_owned()),
        model: MODEL,
        digest: &digest,
        task: Task::Embed,
        parameters: embed_parameters(false),
    });
    let entry = Entry {
        meta: EntryMeta {
            created: UnixSeconds(1_700_000_000),
            lifetimes: Lifetimes::IMMUTABLE,
            model_digest: digest,
            cost_us: 1,
            tokens: 8,
            content: Content::EmbeddingF32,
            surrogate_keys: Vec::new(),
        },
        body: 0.05f32.to_le_bytes().repeat(384).into(),
    };
    // Never too old: the example ends before.
    let fetched = UnixSeconds(u64::from(u32::MAX));
    HashMap::from([
        (
            "brink/catalog/1".to_owned(),
            message::encode(&(fetched, catalog)),
        ),
        (prefix.key(ItemBytes::Text(TEXT)).to_hex(), entry.encode()),
    ])
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

type Stored<T> = wasmtime::Result<std::result::Result<T, keyvalue::Error>>;

impl keyvalue::Host for State {
    fn open(&mut self, _label: String) -> Stored<Resource<keyvalue::Bucket>> {
        Ok(Ok(Resource::new_own(1)))
    }
}

impl keyvalue::HostBucket for State {
    fn get(&mut self, _bucket: Resource<keyvalue::Bucket>, key: String) -> Stored<Option<Vec<u8>>> {
        Ok(Ok(self.values.get(&key).cloned()))
    }

    fn set(&mut self, _: Resource<keyvalue::Bucket>, _: String, _: Vec<u8>) -> Stored<()> {
        wasmtime::bail!("the door only reads")
    }

    fn delete(&mut self, _: Resource<keyvalue::Bucket>, _: String) -> Stored<()> {
        wasmtime::bail!("the door only reads")
    }

    fn exists(&mut self, _: Resource<keyvalue::Bucket>, _: String) -> Stored<bool> {
        wasmtime::bail!("the door only gets")
    }

    fn list_keys(
        &mut self,
        _: Resource<keyvalue::Bucket>,
        _: Option<String>,
    ) -> Stored<keyvalue::KeyResponse> {
        wasmtime::bail!("the door only gets")
    }

    fn drop(&mut self, _: Resource<keyvalue::Bucket>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl config::Host for State {
    fn get(
        &mut self,
        name: String,
    ) -> wasmtime::Result<std::result::Result<Option<String>, config::Error>> {
        Ok(Ok(Some(match name.as_str() {
            "upstream" => "http://127.0.0.1:3002".to_owned(),
            "cors_allow_origin" => "*".to_owned(),
            // All others are sizes and times.
            _ => "1000000".to_owned(),
        })))
    }

    fn get_all(
        &mut self,
    ) -> wasmtime::Result<std::result::Result<Vec<(String, String)>, config::Error>> {
        wasmtime::bail!("the door asks for single variables")
    }
}
