//! Keeps compiled components, because compiling one takes most of a second.
//!
//! A file is named by the BLAKE3 of the component and of everything that the
//! compiled form depends on (compiler version, settings, target), so a new compiler
//! never finds an old file. It holds the BLAKE3 of its payload in front: a torn or
//! damaged file is compiled again and replaced.

use std::{
    fs,
    hash::{Hash, Hasher},
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use wasmtime::{Engine, Module, component::Component};

/// Length of the checksum in front of the payload, in bytes.
const CHECKSUM_BYTES: usize = blake3::OUT_LEN;

/// Keeps two writers of one process apart; the process id does that for processes.
static NEXT_TEMPORARY: AtomicU64 = AtomicU64::new(0);

/// A folder of compiled components. It must be writable by this user only: what
/// lies there is run as native code.
#[derive(Clone, Debug)]
pub(super) struct CompileCache(Option<PathBuf>);

impl CompileCache {
    /// Keeps files in `folder`; `None` keeps nothing.
    pub(super) fn new(folder: Option<PathBuf>) -> Self {
        Self(folder)
    }

    /// The compiled form of the component `wasm`. A cache that fails costs time and is logged; it
    /// is never an error.
    pub(super) fn load(&self, engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Component> {
        self.compiled(engine, wasm)
    }

    /// The compiled form of the core module `wasm`; otherwise as [`load`](Self::load).
    pub(super) fn load_module(&self, engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Module> {
        self.compiled(engine, wasm)
    }

    fn compiled<C: Compiled>(&self, engine: &Engine, wasm: &[u8]) -> wasmtime::Result<C> {
        let Some(folder) = &self.0 else {
            return C::compile(engine, wasm);
        };
        let path = folder.join(file_name(engine, wasm));
        if let Some(compiled) = read(engine, &path) {
            return Ok(compiled);
        }
        let payload = C::precompile(engine, wasm)?;
        if let Err(error) = write(folder, &path, &payload) {
            tracing::warn!(%error, path = %path.display(), "cannot keep a compiled component");
        }
        C::deserialize(engine, &payload)
    }
}

/// Components, and core modules. Their bytes differ from the header on, so their names do too.
trait Compiled: Sized {
    fn compile(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Self>;
    fn precompile(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Vec<u8>>;
    /// `payload` must come from [`precompile`](Self::precompile); see there for why it does.
    fn deserialize(engine: &Engine, payload: &[u8]) -> wasmtime::Result<Self>;
}

impl Compiled for Component {
    fn compile(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Self> {
        Self::new(engine, wasm)
    }

    fn precompile(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Vec<u8>> {
        engine.precompile_component(wasm)
    }

    #[expect(
        unsafe_code,
        reason = "loading compiled code is unsafe by nature; see the safety comment"
    )]
    fn deserialize(engine: &Engine, payload: &[u8]) -> wasmtime::Result<Self> {
        // SAFETY: `payload` has to be what `precompile` returned. It comes either straight
        // from there, or from a file in a folder that only this user can write (the contract
        // of `CompileCache`), with a matching checksum. Wasmtime itself refuses payloads of
        // another version, of another kind, or with other settings.
        unsafe { Self::deserialize(engine, payload) }
    }
}

impl Compiled for Module {
    fn compile(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Self> {
        Self::new(engine, wasm)
    }

    fn precompile(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Vec<u8>> {
        engine.precompile_module(wasm)
    }

    #[expect(
        unsafe_code,
        reason = "loading compiled code is unsafe by nature; see the safety comment"
    )]
    fn deserialize(engine: &Engine, payload: &[u8]) -> wasmtime::Result<Self> {
        // SAFETY: as for components.
        unsafe { Self::deserialize(engine, payload) }
    }
}

fn file_name(engine: &Engine, wasm: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new();
    engine
        .precompile_compatibility_hash()
        .hash(&mut HashInto(&mut hasher));
    hasher.update(wasm);
    format!("{}.cwasm", hasher.finalize().to_hex())
}

/// `None` if the file is not there, damaged, or not ours.
fn read<C: Compiled>(engine: &Engine, path: &Path) -> Option<C> {
    let bytes = fs::read(path).ok()?;
    let (checksum, payload) = bytes.split_at_checked(CHECKSUM_BYTES)?;
    if blake3::hash(payload).as_bytes() != checksum {
        tracing::warn!(path = %path.display(), "a compiled component is damaged; compiling again");
        return None;
    }
    C::deserialize(engine, payload)
        .inspect_err(|error| {
            tracing::warn!(%error, path = %path.display(), "a compiled component is unusable; compiling again");
        })
        .ok()
}

/// Written beside its place and renamed, so that no reader ever sees half a file.
fn write(folder: &Path, path: &Path, payload: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let number = NEXT_TEMPORARY.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_extension(format!("{}-{number}.tmp", std::process::id()));
    let mut bytes = Vec::with_capacity(CHECKSUM_BYTES + payload.len());
    bytes.extend_from_slice(blake3::hash(payload).as_bytes());
    bytes.extend_from_slice(payload);
    fs::write(&temporary, bytes)
        .and_then(|()| fs::rename(&temporary, path))
        .inspect_err(|_| {
            // Best effort: the file may not even exist.
            let _ = fs::remove_file(&temporary);
        })
}

/// Feeds a `Hash` into BLAKE3: the 64 bits of a `Hasher` are too few for a name.
struct HashInto<'a>(&'a mut blake3::Hasher);

impl Hasher for HashInto<'_> {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Never asked for: the digest is taken from BLAKE3 itself.
    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// The empty component: magic number, version, layer.
    const WASM: &[u8] = b"\0asm\x0d\0\x01\0";

    fn only_file(folder: &Path) -> PathBuf {
        let mut files = fs::read_dir(folder).unwrap();
        let file = files.next().unwrap().unwrap().path();
        assert!(files.next().is_none(), "one file, and no temporary one");
        file
    }

    #[test]
    fn a_compiled_component_is_kept_and_reused() {
        let folder = TempDir::new().unwrap();
        let engine = Engine::default();
        let cache = CompileCache::new(Some(folder.path().to_owned()));
        cache.load(&engine, WASM).unwrap();
        let file = only_file(folder.path());
        assert!(read::<Component>(&engine, &file).is_some());
        let written = fs::metadata(&file).unwrap().modified().unwrap();
        cache.load(&engine, WASM).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), written);
    }

    #[test]
    fn damaged_and_foreign_files_are_compiled_again() {
        let folder = TempDir::new().unwrap();
        let engine = Engine::default();
        let cache = CompileCache::new(Some(folder.path().to_owned()));
        cache.load(&engine, WASM).unwrap();
        let file = only_file(folder.path());
        let good = fs::read(&file).unwrap();
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let foreign = [blake3::hash(b"foreign").as_bytes(), b"foreign".as_slice()].concat();
        for damaged in [&good[..good.len() / 2], &[], &flipped, &foreign] {
            fs::write(&file, damaged).unwrap();
            cache.load(&engine, WASM).unwrap();
            assert_eq!(fs::read(&file).unwrap(), good);
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_only_costs_time() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let cache = CompileCache::new(Some(file.path().join("below-a-file")));
        cache.load(&Engine::default(), WASM).unwrap();
    }
}
