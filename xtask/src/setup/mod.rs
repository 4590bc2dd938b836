//! What a fresh machine lacks: the Wasm target, a Python environment, ONNX Runtime, the models.

mod checksum;
pub(crate) mod cuda;
mod disk;
mod installed;
pub(crate) mod model;
pub(crate) mod onnxruntime;
pub(crate) mod python;
mod wasm_target;
mod wheel;

use std::fs::{self, File, TryLockError};

use self::onnxruntime::Build;
use crate::cache::CacheDir;
use crate::error::Error;
use crate::steps::{Progress, Step};
use crate::workspace::Workspace;

pub(crate) type Steps = Vec<Box<dyn Step>>;

/// Everything that serving needs.
pub(crate) fn for_serving(
    cache: &CacheDir,
    workspace: &Workspace,
    build: Build,
) -> Result<Steps, Error> {
    let mut steps: Steps = vec![Box::new(wasm_target::WasmTarget)];
    let mut models = for_models(None, None, cache, workspace)?;
    // After Python, which fetches it, and before the models, which take longest.
    models.insert(1, Box::new(onnxruntime::OnnxRuntime::new(cache, build)?));
    steps.append(&mut models);
    if build == Build::Gpu {
        // Last: what was fetched is there even where a library is missing.
        steps.push(Box::new(cuda::CudaLibraries::new(cache)));
    }
    Ok(steps)
}

/// What serving needs, the environment of the tests' client, and the models that are no part of the default set-up.
pub(crate) fn for_tests(cache: &CacheDir, workspace: &Workspace) -> Result<Steps, Error> {
    let mut steps = for_serving(cache, workspace, Build::Cpu)?;
    for model in model::on_demand() {
        steps.push(Box::new(model::ModelStep::for_tests(
            model, cache, workspace,
        )?));
    }
    steps.push(Box::new(python::Environment::for_tests(cache)));
    Ok(steps)
}

/// One model, or those that everybody gets, and the Python environment that builds them.
pub(crate) fn for_models(
    name: Option<&str>,
    variant: Option<&str>,
    cache: &CacheDir,
    workspace: &Workspace,
) -> Result<Steps, Error> {
    let mut steps: Steps = vec![Box::new(python::Environment::for_converters(cache))];
    for model in model::named(name) {
        steps.push(Box::new(model::ModelStep::new(
            model, variant, cache, workspace,
        )?));
    }
    Ok(steps)
}

/// Runs set-up steps; a second set-up of the same cache folder waits until this one is done.
pub(crate) fn run(steps: &Steps, cache: &CacheDir, progress: &mut Progress) -> Result<(), Error> {
    let _held_until_the_last_step = lock(cache)?;
    steps
        .iter()
        .try_for_each(|step| progress.run(step.as_ref()))
}

/// The operating system gives the lock back when this process ends, however it ends.
fn lock(cache: &CacheDir) -> Result<File, Error> {
    fs::create_dir_all(cache.root()).map_err(Error::io("create", cache.root()))?;
    let path = cache.root().join("setup.lock");
    let file = File::create(&path).map_err(Error::io("create", &path))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => {
            eprintln!(
                "waiting for another `cargo xtask`, which sets up {}",
                cache.root().display()
            );
        }
        Err(TryLockError::Error(source)) => return Err(Error::io("lock", &path)(source)),
    }
    file.lock().map_err(Error::io("lock", &path))?;
    Ok(file)
}
