//! The CUDA libraries that the GPU build of ONNX Runtime loads: looked for, and not fetched.
//!
//! They come with the system, or from NVIDIA's packages for Python, which are large. Those may be
//! put into a folder of the cache, where every command of ours finds them. The driver comes with the system only.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use super::python;
use crate::cache::CacheDir;
use crate::error::Error;
use crate::process;
use crate::steps::{State, Step};

/// Each library, and the package that has it. The last two are loaded when a model first needs them.
const LIBRARIES: [(&str, &str); 7] = [
    ("libcudart.so.13", "nvidia-cuda-runtime~=13.0"),
    ("libcublasLt.so.13", "nvidia-cublas~=13.0"),
    ("libcublas.so.13", "nvidia-cublas~=13.0"),
    ("libcurand.so.10", "nvidia-curand~=10.0"),
    ("libnvrtc.so.13", "nvidia-cuda-nvrtc~=13.0"),
    ("libcufft.so.12", "nvidia-cufft~=12.0"),
    ("libcudnn.so.9", "nvidia-cudnn-cu13~=9.0"),
];
/// Part of the driver.
const DRIVER: &str = "libcuda.so.1";
/// Where the packages put their libraries.
const FOLDERS: [&str; 2] = ["nvidia/cu13/lib", "nvidia/cudnn/lib"];

/// Prints those of its arguments that cannot be loaded.
const PROBE: &str = "\
import ctypes, sys
for name in sys.argv[1:]:
    try:
        ctypes.CDLL(name)
    except OSError:
        print(name)";

/// Checks that everything can be loaded.
pub(super) struct CudaLibraries {
    cache: CacheDir,
}

impl CudaLibraries {
    pub(super) fn new(cache: &CacheDir) -> Self {
        Self {
            cache: cache.clone(),
        }
    }
}

impl Step for CudaLibraries {
    fn title(&self) -> String {
        "CUDA 13 libraries".to_owned()
    }

    fn state(&self) -> Result<State, Error> {
        Ok(State::Needed)
    }

    fn run(&self) -> Result<(), Error> {
        let mut probe = Command::new(python::interpreter(&self.cache.converter_python()));
        probe
            .env("LD_LIBRARY_PATH", library_path(&self.cache))
            .args(["-c", PROBE, DRIVER])
            .args(LIBRARIES.map(|(library, _)| library));
        let missing = missing(&process::read(&mut probe)?);
        if missing.is_empty() {
            return Ok(());
        }
        Err(Error::CudaMissing {
            missing,
            folder: self.cache.cuda(),
        })
    }
}

fn missing(printed: &str) -> Vec<&'static str> {
    let known = LIBRARIES.iter().map(|(library, _)| *library);
    let known = std::iter::once(DRIVER).chain(known);
    known
        .filter(|library| printed.lines().any(|line| line == *library))
        .collect()
}

/// What to type to have the libraries, and what to set where `brink` is started by hand.
pub(crate) fn remedy(missing: &[&str], folder: &std::path::Path) -> String {
    let mut packages: Vec<&str> = LIBRARIES
        .iter()
        .filter(|(library, _)| missing.contains(library))
        .map(|(_, package)| *package)
        .collect();
    packages.dedup();
    let mut steps = Vec::new();
    if missing.contains(&DRIVER) {
        steps.push(format!(
            "install NVIDIA's driver for CUDA 13, which has {DRIVER}"
        ));
    }
    if !packages.is_empty() {
        let quoted: Vec<String> = packages.iter().map(|name| format!("'{name}'")).collect();
        let folder = folder.display();
        let path = FOLDERS.map(|inside| format!("{folder}/{inside}")).join(":");
        steps.push(format!(
            "`python3 -m pip install --only-binary :all: --upgrade --target {folder} {}` (1.3 GB to fetch); to start `brink` \
             by hand then, `export LD_LIBRARY_PATH={path}`",
            quoted.join(" ")
        ));
    }
    format!("{}; or leave out --gpu", steps.join("; "))
}

/// Where the loader looks: where it is told to already, then the packages in the cache folder.
pub(crate) fn library_path(cache: &CacheDir) -> OsString {
    let told = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let told: Vec<PathBuf> = env::split_paths(&told).collect();
    let ours = FOLDERS.map(|inside| cache.cuda().join(inside));
    let paths = told.iter().filter(|path| !path.as_os_str().is_empty());
    let paths = paths.chain(ours.iter().filter(|path| path.is_dir()));
    // A colon in a folder's name cannot be written; the loader could not read it either.
    env::join_paths(paths).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_packages_and_the_path() {
        let printed = "libcuda.so.1\nlibcublasLt.so.13\nlibcublas.so.13\nlibcudnn.so.9\nanother\n";
        let missing = missing(printed);
        assert_eq!(
            missing,
            [
                "libcuda.so.1",
                "libcublasLt.so.13",
                "libcublas.so.13",
                "libcudnn.so.9"
            ]
        );
        let remedy = remedy(&missing, Path::new("/cache/cuda"));
        for expected in [
            "driver",
            "--target /cache/cuda 'nvidia-cublas~=13.0' 'nvidia-cudnn-cu13~=9.0'`",
            "LD_LIBRARY_PATH=/cache/cuda/nvidia/cu13/lib:/cache/cuda/nvidia/cudnn/lib",
        ] {
            assert!(
                remedy.contains(expected),
                "{expected} is missing in {remedy}"
            );
        }
        assert!(super::missing("").is_empty());
    }
}
