//! A folder that a set-up step fills, and the stamp that says with what.
//!
//! The stamp is written last and holds everything that was pinned. So an interrupted step leaves a folder
//! without a stamp, a changed pin leaves one with the wrong stamp, and both are made again; asking costs one
//! small read, and no re-hashing of large files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cache::CacheDir;
use crate::error::Error;
use crate::steps::State;

const STAMP: &str = ".brink-stamp";

/// The folder, and the pin that its content must have come from.
#[derive(Debug)]
pub(super) struct Installed {
    dir: PathBuf,
    /// Where the content is made; on the same disk, so that moving it is one rename.
    staging: PathBuf,
    pin: String,
}

impl Installed {
    /// `dir` must have a name of its own within the cache folder, because staging goes by that name.
    pub(super) fn new(cache: &CacheDir, dir: PathBuf, pin: String) -> Self {
        let name = dir.file_name().expect("a folder of the cache has a name");
        Self {
            staging: cache.staging().join(name),
            dir,
            pin,
        }
    }

    /// Whether the folder was filled to the end, from this pin, and still holds these files.
    pub(super) fn state(&self, files: &[&str]) -> State {
        let stamped = fs::read_to_string(self.dir.join(STAMP)).is_ok_and(|stamp| stamp == self.pin);
        if stamped && files.iter().all(|file| self.dir.join(file).is_file()) {
            State::AlreadyThere
        } else {
            State::Needed
        }
    }

    /// Fills a staging folder and moves it into place, so that nobody ever sees half of it.
    pub(super) fn install(
        &self,
        fill: impl FnOnce(&Path) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.fill(&self.staging, fill)?;
        remove(&self.dir)?;
        let parent = self
            .dir
            .parent()
            .expect("a folder of the cache has a parent");
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        fs::rename(&self.staging, &self.dir).map_err(Error::io("move into place", &self.dir))
    }

    /// Fills the folder where it is: for a Python environment, whose files name their own folder.
    pub(super) fn install_in_place(
        &self,
        fill: impl FnOnce(&Path) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.fill(&self.dir, fill)
    }

    fn fill(&self, dir: &Path, fill: impl FnOnce(&Path) -> Result<(), Error>) -> Result<(), Error> {
        create_empty(dir)?;
        fill(dir)?;
        let stamp = dir.join(STAMP);
        fs::write(&stamp, &self.pin).map_err(Error::io("write", &stamp))
    }
}

/// An empty folder, whatever was there before.
pub(super) fn create_empty(dir: &Path) -> Result<(), Error> {
    remove(dir)?;
    fs::create_dir_all(dir).map_err(Error::io("create", dir))
}

fn remove(dir: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove", dir)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn example(scratch: &Scratch, pin: &str) -> Installed {
        let dir = scratch.path().join("models/example");
        Installed::new(&CacheDir::at(scratch.path()), dir, pin.to_owned())
    }

    fn write_model(dir: &Path) -> Result<(), Error> {
        fs::write(dir.join("model"), "weights").map_err(Error::io("write", dir))
    }

    #[test]
    fn finished_install_is_there_until_the_pin_changes_or_a_file_goes() {
        let scratch = Scratch::new("finished");
        let dir = scratch.path().join("models/example");
        let installed = example(&scratch, "pin 1");
        assert_eq!(installed.state(&["model"]), State::Needed);

        installed.install(write_model).unwrap();
        assert_eq!(installed.state(&["model"]), State::AlreadyThere);
        let repinned = example(&scratch, "pin 2");
        assert_eq!(repinned.state(&["model"]), State::Needed);
        repinned.install(write_model).unwrap();
        assert_eq!(repinned.state(&["model"]), State::AlreadyThere);

        fs::remove_file(dir.join("model")).unwrap();
        assert_eq!(repinned.state(&["model"]), State::Needed);
    }

    #[test]
    fn interrupted_install_shows_nothing_and_is_made_again() {
        let scratch = Scratch::new("interrupted");
        let dir = scratch.path().join("models/example");
        let installed = example(&scratch, "pin");
        let interrupted = installed.install(|staging| {
            write_model(staging)?;
            Err(Error::NoHome)
        });
        assert!(interrupted.is_err());
        assert!(!dir.exists());
        assert_eq!(installed.state(&[]), State::Needed);

        installed
            .install(|staging| {
                assert!(!staging.join("model").exists(), "left-overs are cleared");
                write_model(staging)
            })
            .unwrap();
        assert_eq!(installed.state(&["model"]), State::AlreadyThere);
    }

    #[test]
    fn interrupted_install_in_place_has_no_stamp_of_an_older_one() {
        let scratch = Scratch::new("in-place");
        let installed = example(&scratch, "pin");
        installed.install_in_place(write_model).unwrap();
        assert_eq!(installed.state(&["model"]), State::AlreadyThere);

        let interrupted = installed.install_in_place(|dir| {
            write_model(dir)?;
            Err(Error::NoHome)
        });
        assert!(interrupted.is_err());
        assert_eq!(installed.state(&["model"]), State::Needed);
    }

    #[test]
    fn failed_replacement_keeps_what_was_installed() {
        let scratch = Scratch::new("replacement");
        let dir = scratch.path().join("models/example");
        example(&scratch, "old").install(write_model).unwrap();
        let failed = example(&scratch, "new").install(|_| Err(Error::NoHome));
        assert!(failed.is_err());
        assert!(dir.join("model").is_file());
    }
}
