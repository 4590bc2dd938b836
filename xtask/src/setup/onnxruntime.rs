//! ONNX Runtime's shared library, taken out of its Python wheel.

use std::path::{Path, PathBuf};

use super::installed::Installed;
use super::wheel::{self, Wheel};
use super::{disk, python};
use crate::cache::CacheDir;
use crate::error::Error;
use crate::steps::{State, Step};

const VERSION: &str = "1.31.1";
const LIBRARY: &str = "libonnxruntime.so";
const MEMBER: &str = "onnxruntime/capi/libonnxruntime.so.1.31.1";
const UNPACKED_MIB: u64 = 30;

const X86_64: Wheel = Wheel {
    requirement: "onnxruntime==1.31.1",
    options: &[
        "--python-version=3.11",
        "--implementation=cp",
        "--abi=cp311",
        "--platform=manylinux_2_28_x86_64",
    ],
    file: "onnxruntime-1.31.1-cp311-cp311-manylinux_2_28_x86_64.whl",
    sha256: "5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f",
    size_mib: 23,
};

const AARCH64: Wheel = Wheel {
    options: &[
        "--python-version=3.11",
        "--implementation=cp",
        "--abi=cp311",
        "--platform=manylinux_2_28_aarch64",
    ],
    file: "onnxruntime-1.31.1-cp311-cp311-manylinux_2_28_aarch64.whl",
    sha256: "da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3",
    size_mib: 21,
    ..X86_64
};

/// The library to load: the one that `BRINK_ONNXRUNTIME` names, else the one that set-up puts there.
pub(crate) fn library(cache: &CacheDir) -> PathBuf {
    named_by_environment().unwrap_or_else(|| cache.onnxruntime(VERSION).join(LIBRARY))
}

fn named_by_environment() -> Option<PathBuf> {
    let name = std::env::var_os("BRINK_ONNXRUNTIME").filter(|value| !value.is_empty())?;
    // Absolute, because tests do not run in the caller's folder.
    std::path::absolute(name).ok()
}

/// Puts the library into the cache folder.
pub(super) enum OnnxRuntime {
    /// The operator brings a library, perhaps one for a platform that no wheel is pinned for.
    Given(PathBuf),
    Pinned {
        wheel: &'static Wheel,
        installed: Installed,
        cache: CacheDir,
    },
}

impl OnnxRuntime {
    pub(super) fn new(cache: &CacheDir) -> Result<Self, Error> {
        if let Some(library) = named_by_environment() {
            return Ok(Self::Given(library));
        }
        let wheel = wheel_for(std::env::consts::OS, std::env::consts::ARCH)?;
        Ok(Self::Pinned {
            wheel,
            installed: Installed::new(cache, cache.onnxruntime(VERSION), wheel.sha256.to_owned()),
            cache: cache.clone(),
        })
    }
}

impl Step for OnnxRuntime {
    fn title(&self) -> String {
        match self {
            Self::Given(library) => format!("ONNX Runtime {}", library.display()),
            Self::Pinned { .. } => format!("ONNX Runtime {VERSION}"),
        }
    }

    fn state(&self) -> Result<State, Error> {
        match self {
            Self::Given(library) if library.is_file() => Ok(State::AlreadyThere),
            Self::Given(library) => Err(Error::NoSuchLibrary(library.clone())),
            Self::Pinned { installed, .. } => Ok(installed.state(&[LIBRARY])),
        }
    }

    fn run(&self) -> Result<(), Error> {
        let Self::Pinned {
            wheel,
            installed,
            cache,
        } = self
        else {
            return Ok(());
        };
        let python = python::interpreter(&cache.converter_python());
        let fetched = wheel.fetch(&python, cache, "cargo xtask setup")?;
        installed.install(|dir| unpack(&fetched, dir))
    }
}

fn unpack(wheel: &Path, dir: &Path) -> Result<(), Error> {
    disk::require_mib(dir, UNPACKED_MIB)?;
    wheel::extract(wheel, MEMBER, &dir.join(LIBRARY))
}

fn wheel_for(os: &'static str, arch: &'static str) -> Result<&'static Wheel, Error> {
    match (os, arch) {
        ("linux", "x86_64") => Ok(&X86_64),
        ("linux", "aarch64") => Ok(&AARCH64),
        _ => Err(Error::UnsupportedPlatform { os, arch }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pinned_platform_has_its_own_wheel() {
        for arch in ["x86_64", "aarch64"] {
            let wheel = wheel_for("linux", arch).unwrap();
            assert!(wheel.file.contains(arch) && wheel.file.contains(VERSION));
            assert!(wheel.options.iter().any(|option| option.ends_with(arch)));
        }
        assert!(MEMBER.ends_with(VERSION));
    }

    #[test]
    fn other_platforms_are_told_what_to_do() {
        let error = wheel_for("macos", "aarch64").unwrap_err();
        assert!(error.to_string().contains("macos on aarch64"), "{error}");
        assert!(error.remedy().contains("BRINK_ONNXRUNTIME"));
    }
}
