//! What a component may call while it answers at its door: look-ups, storing, variables, clocks, and the
//! seed of a hash map. All of it returns at once.
//!
//! Functions follow the canonical ABI of the component model: text and lists are a pointer and a
//! length; a result that does not fit into one value is written to where the last parameter
//! points. A pointer that leads nowhere is a trap.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use tokio::time::Instant;
use wasmtime::{Caller, Linker, Module, format_err};

use super::instance::{Abi, DoorState};
use crate::guest::keyvalue::{Bucket, KeyValueError};
use crate::telemetry::Access;

const KEY_VALUE: &str = "wasi:keyvalue/store@0.2.0-draft2";
const CONFIG: &str = "wasi:config/store@0.2.0-draft-2024-09-27";
/// Rust's standard library imports these in whatever patch release it was built with.
const WALL_CLOCK: &str = "wasi:clocks/wall-clock@0.2.";
const MONOTONIC_CLOCK: &str = "wasi:clocks/monotonic-clock@0.2.";
const SEED: &str = "wasi:random/insecure-seed@0.2.";

/// Most stores that an instance may hold open. The gateway opens one.
const MAX_OPEN_STORES: usize = 16;

type Context<'a> = Caller<'a, DoorState>;

/// Binds everything that `module` imports and the door offers.
pub(super) fn add_to_linker(
    linker: &mut Linker<DoorState>,
    module: &Module,
) -> wasmtime::Result<()> {
    linker.func_wrap(KEY_VALUE, "open", open)?;
    linker.func_wrap(KEY_VALUE, "[method]bucket.get", get)?;
    linker.func_wrap(KEY_VALUE, "[method]bucket.set", set)?;
    linker.func_wrap(KEY_VALUE, "[resource-drop]bucket", close)?;
    linker.func_wrap(CONFIG, "get", variable)?;
    for import in module.imports() {
        let (interface, name) = (import.module(), import.name());
        match name {
            "now" if interface.starts_with(WALL_CLOCK) => {
                linker.func_wrap(interface, name, wall_clock)?;
            }
            "now" if interface.starts_with(MONOTONIC_CLOCK) => {
                linker.func_wrap(interface, name, monotonic_clock)?;
            }
            "insecure-seed" if interface.starts_with(SEED) => {
                linker.func_wrap(interface, name, seed)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// `open: func(identifier: string) -> result<bucket, error>`
fn open(mut caller: Context<'_>, label: u32, length: u32, result: u32) -> wasmtime::Result<()> {
    const NO_SUCH_STORE: u32 = 0;
    const ACCESS_DENIED: u32 = 1;
    let abi = abi(&caller)?;
    let label = text(&caller, &abi, label, length)?;
    let granted = caller.data().component.stores.get(label).cloned();
    let stores = &mut caller.data_mut().stores;
    let written = match granted {
        None => words([1, ACCESS_DENIED, 0, 0]),
        Some(_) if stores.len() >= MAX_OPEN_STORES => words([1, NO_SUCH_STORE, 0, 0]),
        Some(store) => {
            // Handles are never used again, so a stale one is always noticed.
            stores.push(Some(store));
            words([0, stores.len() as u32, 0, 0])
        }
    };
    write(&mut caller, &abi, result, &written)
}

/// `bucket.get: func(key: string) -> result<option<list<u8>>, error>`
fn get(
    mut caller: Context<'_>,
    bucket: u32,
    key: u32,
    length: u32,
    result: u32,
) -> wasmtime::Result<()> {
    let abi = abi(&caller)?;
    let key = text(&caller, &abi, key, length)?;
    let began = began(&caller);
    let found = store(&caller, bucket)?.get(key);
    count(&mut caller, Access::Read, began, found.is_ok());
    let written = match found {
        Ok(None) => words([0, 0, 0, 0]),
        Ok(Some(value)) => {
            let (pointer, length) = abi.put(&mut caller, &value)?;
            words([0, 1, pointer, length])
        }
        Err(error) => other(&mut caller, &abi, &error)?,
    };
    write(&mut caller, &abi, result, &written)
}

#[expect(
    clippy::too_many_arguments,
    reason = "the canonical ABI makes two of each list"
)]
/// `bucket.set: func(key: string, value: list<u8>) -> result<_, error>`
fn set(
    mut caller: Context<'_>,
    bucket: u32,
    key: u32,
    key_length: u32,
    value: u32,
    value_length: u32,
    result: u32,
) -> wasmtime::Result<()> {
    let abi = abi(&caller)?;
    let key = text(&caller, &abi, key, key_length)?;
    let value = Bytes::copy_from_slice(abi.bytes(&caller, value, value_length)?);
    let began = began(&caller);
    let stored = store(&caller, bucket)?.set(key, value);
    count(&mut caller, Access::Write, began, stored.is_ok());
    let written = match stored {
        Ok(()) => words([0, 0, 0, 0]),
        Err(error) => other(&mut caller, &abi, &error)?,
    };
    write(&mut caller, &abi, result, &written)
}

/// When a key-value call begins, if they are counted.
fn began(caller: &Context<'_>) -> Option<Instant> {
    caller.data().calls.as_ref().map(|_| Instant::now())
}

fn count(caller: &mut Context<'_>, access: Access, began: Option<Instant>, succeeded: bool) {
    if let (Some(began), Some(calls)) = (began, &mut caller.data_mut().calls) {
        calls.count(access, began, succeeded);
    }
}

fn store<'a>(caller: &'a Context<'_>, handle: u32) -> wasmtime::Result<&'a Bucket> {
    let index = (handle as usize).checked_sub(1);
    let store = index.and_then(|index| caller.data().stores.get(index)?.as_ref());
    store.ok_or_else(|| format_err!("{handle} is no open store"))
}

/// `error.other(string)`
fn other(caller: &mut Context<'_>, abi: &Abi, error: &KeyValueError) -> wasmtime::Result<[u8; 16]> {
    const OTHER: u32 = 2;
    let (pointer, length) = abi.put(caller, error.to_string().as_bytes())?;
    Ok(words([1, OTHER, pointer, length]))
}

fn close(mut caller: Context<'_>, bucket: u32) {
    let index = (bucket as usize).wrapping_sub(1);
    if let Some(store) = caller.data_mut().stores.get_mut(index) {
        *store = None;
    }
}

/// `get: func(key: string) -> result<option<string>, error>`
fn variable(mut caller: Context<'_>, name: u32, length: u32, result: u32) -> wasmtime::Result<()> {
    let abi = abi(&caller)?;
    let name = text(&caller, &abi, name, length)?;
    let value = caller.data().component.variables.get(name).cloned();
    let written = match value {
        None => words([0, 0, 0, 0]),
        Some(value) => {
            let (pointer, length) = abi.put(&mut caller, value.as_bytes())?;
            words([0, 1, pointer, length])
        }
    };
    write(&mut caller, &abi, result, &written)
}

/// `now: func() -> datetime { seconds: u64, nanoseconds: u32 }`
#[expect(
    clippy::disallowed_methods,
    reason = "a guest's clock is the wall clock; it cannot be an argument"
)]
fn wall_clock(mut caller: Context<'_>, result: u32) -> wasmtime::Result<()> {
    let abi = abi(&caller)?;
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut written = [0; 16];
    written[..8].copy_from_slice(&since_epoch.as_secs().to_le_bytes());
    written[8..12].copy_from_slice(&since_epoch.subsec_nanos().to_le_bytes());
    write(&mut caller, &abi, result, &written)
}

/// `now: func() -> u64`, nanoseconds since the instance was made.
fn monotonic_clock(caller: Context<'_>) -> u64 {
    let elapsed = caller.data().made.elapsed().as_nanos();
    u64::try_from(elapsed).unwrap_or(u64::MAX)
}

/// `insecure-seed: func() -> tuple<u64, u64>`
fn seed(mut caller: Context<'_>, result: u32) -> wasmtime::Result<()> {
    let abi = abi(&caller)?;
    let random = RandomState::new();
    let mut written = [0; 16];
    written[..8].copy_from_slice(&random.hash_one(0).to_le_bytes());
    written[8..].copy_from_slice(&random.hash_one(1).to_le_bytes());
    write(&mut caller, &abi, result, &written)
}

fn abi(caller: &Context<'_>) -> wasmtime::Result<Arc<Abi>> {
    let abi = caller.data().abi.clone();
    abi.ok_or_else(|| format_err!("an import was called while the instance was being made"))
}

fn text<'a>(
    caller: &'a Context<'_>,
    abi: &Abi,
    pointer: u32,
    length: u32,
) -> wasmtime::Result<&'a str> {
    Ok(std::str::from_utf8(abi.bytes(caller, pointer, length)?)?)
}

fn write(caller: &mut Context<'_>, abi: &Abi, pointer: u32, bytes: &[u8]) -> wasmtime::Result<()> {
    Ok(abi.memory.write(caller, pointer as usize, bytes)?)
}

/// Four words as they lie in memory: a discriminant takes a byte, and its padding is free.
fn words(words: [u32; 4]) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (bytes, word) in bytes.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}
