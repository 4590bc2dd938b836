//! Private Python environments: nothing is ever installed into the system's Python.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::disk;
use super::installed::Installed;
use super::wheel::{self, Wheel};
use crate::cache::CacheDir;
use crate::error::Error;
use crate::process;
use crate::steps::{State, Step};

/// The oldest Python that the pinned packages have wheels for.
const OLDEST: (u32, u32) = (3, 9);

/// numpy and onnx, unpacked and with their byte code.
const NEEDED_MIB: u64 = 250;

const RETRY: &str = "cargo xtask setup";

/// pip for an environment, where Python cannot put one in by itself.
const PIP: Wheel = Wheel {
    requirement: "pip==25.3",
    options: &[],
    file: "pip-25.3-py3-none-any.whl",
    sha256: "9655943313a94722b7774661c21049070f6bbb0a1516bf02f7c8d5d9201514cd",
    size_mib: 2,
};

/// Prints the version, and whether ensurepip and pip can be imported.
const PROBE: &str = "\
import sys, importlib.util as util
print(*sys.version_info[:2], *(int(util.find_spec(name) is not None) for name in ('ensurepip', 'pip')))";

/// A virtual environment with pinned packages.
pub(crate) struct Environment {
    purpose: &'static str,
    requirements: &'static str,
    installed: Installed,
    cache: CacheDir,
}

impl Environment {
    /// Runs the model converters; its pip fetches everything else.
    pub(super) fn for_converters(cache: &CacheDir) -> Self {
        let requirements = include_str!("../../python/convert.txt");
        Self::new(
            "the converters",
            requirements,
            cache.converter_python(),
            cache,
        )
    }

    /// Runs the official client in the tests.
    pub(super) fn for_tests(cache: &CacheDir) -> Self {
        let requirements = include_str!("../../python/test.txt");
        Self::new("the tests", requirements, cache.test_python(), cache)
    }

    fn new(
        purpose: &'static str,
        requirements: &'static str,
        dir: PathBuf,
        cache: &CacheDir,
    ) -> Self {
        Self {
            purpose,
            requirements,
            installed: Installed::new(cache, dir, requirements.to_owned()),
            cache: cache.clone(),
        }
    }

    fn fill(&self, dir: &Path) -> Result<(), Error> {
        disk::require_mib(dir, NEEDED_MIB)?;
        create(dir, &self.cache)?;
        let requirements = dir.join("requirements.txt");
        fs::write(&requirements, self.requirements).map_err(Error::io("write", &requirements))?;
        let mut pip = Command::new(interpreter(dir));
        pip.args(["-m", "pip", "install", "--disable-pip-version-check"])
            .args(["--no-input", "--only-binary", ":all:", "--requirement"])
            .arg(&requirements);
        wheel::run_pip(
            &mut pip,
            &format!("the packages for {}", self.purpose),
            RETRY,
        )
    }
}

impl Step for Environment {
    fn title(&self) -> String {
        format!("Python environment of {}", self.purpose)
    }

    /// The interpreter is a link to the system's Python, and dangles when that has gone.
    fn state(&self) -> Result<State, Error> {
        Ok(self.installed.state(&["bin/python"]))
    }

    fn run(&self) -> Result<(), Error> {
        self.installed.install_in_place(|dir| self.fill(dir))
    }
}

/// The Python of an environment.
pub(crate) fn interpreter(environment: &Path) -> PathBuf {
    environment.join("bin/python")
}

fn create(dir: &Path, cache: &CacheDir) -> Result<(), Error> {
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]);
    if SystemPython::find()?.has_ensurepip {
        return process::run(venv.arg(dir));
    }
    process::run(venv.arg("--without-pip").arg(dir))?;
    install_pip(dir, cache)
}

/// Debian's python3 comes without ensurepip. There, the system's pip fetches a pip, and that installs itself:
/// a wheel of pip can be run as a program.
fn install_pip(dir: &Path, cache: &CacheDir) -> Result<(), Error> {
    let wheel = PIP.fetch(Path::new("python3"), cache, RETRY)?;
    let mut pip = Command::new(interpreter(dir));
    pip.arg(wheel.join("pip"))
        .args(["install", "--disable-pip-version-check", "--no-index"])
        .arg(&wheel);
    process::run(&mut pip)
}

/// What the `python3` on the PATH can do.
#[derive(Debug, PartialEq, Eq)]
struct SystemPython {
    has_ensurepip: bool,
}

impl SystemPython {
    fn find() -> Result<Self, Error> {
        let mut command = Command::new("python3");
        let output = process::read(command.args(["-c", PROBE]))?;
        Self::parse(&output).unwrap_or_else(|| {
            Err(Error::ChildOutput {
                command: "python3".to_owned(),
                output: output.clone(),
            })
        })
    }

    /// Reads what [`PROBE`] prints: `None` for anything else.
    fn parse(output: &str) -> Option<Result<Self, Error>> {
        let mut words = output.split_whitespace().map(str::parse::<u32>);
        let mut next = || words.next()?.ok();
        let (major, minor) = (next()?, next()?);
        let (has_ensurepip, has_pip) = (next()? == 1, next()? == 1);
        Some(if (major, minor) < OLDEST {
            Err(Error::PythonTooOld { major, minor })
        } else if !has_ensurepip && !has_pip {
            Err(Error::PythonWithoutPip)
        } else {
            Ok(Self { has_ensurepip })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_that_cannot_fetch_is_refused() {
        let parse = |output| SystemPython::parse(output).unwrap();
        assert!(parse("3 11 1 1").unwrap().has_ensurepip);
        assert!(!parse("3 9 0 1").unwrap().has_ensurepip);
        assert!(matches!(parse("3 11 0 0"), Err(Error::PythonWithoutPip)));
        assert!(matches!(
            parse("3 8 1 1"),
            Err(Error::PythonTooOld { major: 3, minor: 8 })
        ));
        assert!(SystemPython::parse("Python 2.7").is_none());
    }
}
