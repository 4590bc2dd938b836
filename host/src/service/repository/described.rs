//! What the folder of models holds, by what each `model.toml` says.
//!
//! Nothing is hashed here: the folder may hold gigabytes, of which a load wants one model.

use std::io;
use std::path::{Path, PathBuf};

use super::change::ChangeError;
use super::folders::{compare_versions, model_folders};
use crate::inference::{ModelError, ModelFolder};

/// Every folder that holds a `model.toml`.
#[derive(Debug)]
pub(super) struct Described {
    /// The folder that holds them.
    root: PathBuf,
    /// By name, and then from the latest version down.
    pub(super) models: Vec<ModelFolder>,
    /// Those whose `model.toml` is wrong.
    pub(super) unreadable: Vec<Unreadable>,
}

/// A folder that is some model, and does not say properly which.
#[derive(Debug)]
pub(super) struct Unreadable {
    folder: PathBuf,
    /// The name and the version that its `model.toml` has, as far as that can be made out.
    name: Option<String>,
    version: Option<String>,
    error: ModelError,
}

impl Described {
    /// Reads every `model.toml` of a folder of models.
    pub(super) fn read(root: &Path) -> io::Result<Self> {
        let (mut models, mut unreadable) = (Vec::new(), Vec::new());
        for folder in model_folders(root)? {
            match ModelFolder::read(&folder) {
                Ok(model) => models.push(model),
                Err(error) => unreadable.push(Unreadable::new(folder, error)),
            }
        }
        models.sort_by(|a, b| {
            let by_name = a.manifest.name.cmp(&b.manifest.name);
            by_name.then_with(|| compare_versions(&b.manifest.version, &a.manifest.version))
        });
        Ok(Self {
            root: root.to_owned(),
            models,
            unreadable,
        })
    }

    /// All of them, to be served.
    ///
    /// # Errors
    /// When there is none, one is wrong, or two are the same.
    pub(super) fn all(mut self) -> Result<Vec<ModelFolder>, ChangeError> {
        if !self.unreadable.is_empty() {
            return Err(self.unreadable.swap_remove(0).into());
        }
        if self.models.is_empty() {
            return Err(ChangeError::NoModels);
        }
        check_distinct(&self.models.iter().collect::<Vec<_>>())?;
        Ok(self.models)
    }

    /// The model of that name, in that version or in the latest.
    ///
    /// Another model's mistake is no obstacle. A folder that cannot be read and may hold what is wanted is
    /// one: to load an older version in its place would look like success.
    pub(super) fn find(
        self,
        name: &str,
        version: Option<&str>,
    ) -> Result<ModelFolder, ChangeError> {
        if self.models.is_empty() && self.unreadable.is_empty() {
            return Err(ChangeError::NoModels);
        }
        let is_wanted = |model: &ModelFolder| {
            model.manifest.name == name
                && version.is_none_or(|version| model.manifest.version == version)
        };
        let wanted: Vec<_> = self
            .models
            .iter()
            .filter(|model| is_wanted(model))
            .collect();
        let newest = wanted.first().map(|model| model.manifest.version.as_str());
        let homes = self.homes(name);
        let may_be_wanted = |it: &Unreadable| {
            it.may_be(name, &homes)
                && match (version, newest) {
                    // What was asked for is there.
                    (Some(_), Some(_)) => false,
                    (Some(version), None) => it.version.as_ref().is_none_or(|its| its == version),
                    (None, Some(newest)) => it.may_be_later_than(newest),
                    (None, None) => true,
                }
        };
        if let Some(place) = self.unreadable.iter().position(may_be_wanted) {
            let newest = newest.map(str::to_owned);
            return Err(self.in_the_way(place, name, newest));
        }
        // The first two are of one version if any are that matter.
        check_distinct(&wanted[..wanted.len().min(2)])?;
        match wanted.first() {
            Some(model) => Ok((*model).clone()),
            None => Err(self.unknown(name, version)),
        }
    }

    /// Folders right below that of all models which hold the model by their name, or by what a folder in
    /// them says.
    fn homes(&self, name: &str) -> Vec<PathBuf> {
        let named = self
            .models
            .iter()
            .filter(|model| model.manifest.name == name);
        let home = |folder: &Path| {
            let first = folder.strip_prefix(&self.root).ok()?.components().next()?;
            Some(self.root.join(first))
        };
        let mut homes: Vec<_> = named.filter_map(|model| home(&model.folder)).collect();
        homes.push(self.root.join(name));
        homes
    }

    fn in_the_way(mut self, place: usize, name: &str, newest: Option<String>) -> ChangeError {
        let unreadable = self.unreadable.swap_remove(place);
        match newest {
            None => unreadable.into(),
            Some(newest) => ChangeError::MayBeLater {
                name: name.to_owned(),
                newest,
                folder: unreadable.folder,
                source: Box::new(unreadable.error.into()),
            },
        }
    }

    fn unknown(&self, name: &str, version: Option<&str>) -> ChangeError {
        let described =
            |model: &ModelFolder| format!("{} ({})", model.manifest.name, model.manifest.version);
        ChangeError::Unknown {
            name: name.to_owned(),
            version: version.map(str::to_owned),
            known: self.models.iter().map(described).collect(),
            unreadable: self.unreadable.iter().map(|it| it.folder.clone()).collect(),
        }
    }
}

impl Unreadable {
    fn new(folder: PathBuf, error: ModelError) -> Self {
        let claim = ModelFolder::claim(&folder);
        let (name, version) = match claim {
            None => (None, None),
            Some(claim) => (claim.name, claim.version),
        };
        Self {
            folder,
            name,
            version,
            error,
        }
    }

    /// Whether it may be a version of that model: it says so, or lies there and says nothing.
    fn may_be(&self, name: &str, homes: &[PathBuf]) -> bool {
        match &self.name {
            Some(its) => its == name,
            None => homes.iter().any(|home| self.folder.starts_with(home)),
        }
    }

    fn may_be_later_than(&self, version: &str) -> bool {
        let its = self.version.as_ref();
        its.is_none_or(|its| compare_versions(its, version).is_gt())
    }
}

impl From<Unreadable> for ChangeError {
    fn from(unreadable: Unreadable) -> Self {
        Self::Open {
            folder: unreadable.folder,
            source: Box::new(unreadable.error.into()),
        }
    }
}

/// Of models that are ordered by name and version.
fn check_distinct(models: &[&ModelFolder]) -> Result<(), ChangeError> {
    let same = |a: &ModelFolder, b: &ModelFolder| {
        a.manifest.name == b.manifest.name && a.manifest.version == b.manifest.version
    };
    match models.windows(2).find(|pair| same(pair[0], pair[1])) {
        None => Ok(()),
        Some(pair) => Err(ChangeError::Twice {
            name: pair[0].manifest.name.clone(),
            version: pair[0].manifest.version.clone(),
            folders: Box::new([pair[0].folder.clone(), pair[1].folder.clone()]),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Folders with a `model.toml`.
    fn models(folders: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a temporary folder");
        for (folder, text) in folders {
            let folder = root.path().join(folder);
            std::fs::create_dir_all(&folder).expect("a writable folder");
            std::fs::write(folder.join("model.toml"), text).expect("a writable folder");
        }
        root
    }

    fn model(name: &str, version: &str) -> String {
        format!(
            "name = {name:?}\nversion = {version:?}\ntask = \"generic\"\nmodel_file = \"m\"\ncreated = 1\nowned_by = \"us\""
        )
    }

    /// The folder that is found, or what is said instead.
    fn found(
        root: &tempfile::TempDir,
        name: &str,
        version: Option<&str>,
    ) -> Result<String, String> {
        let described = Described::read(root.path()).expect("a folder");
        let found = described.find(name, version).map_err(|it| it.to_string())?;
        let folder = found.folder.strip_prefix(root.path()).expect("inside");
        Ok(folder.display().to_string())
    }

    #[test]
    fn latest_version_is_found_or_the_one_that_is_named() {
        let root = models(&[
            ("a/1", &model("a", "9")),
            ("a/2", &model("a", "10")),
            ("b", &model("b", "1")),
        ]);
        assert_eq!(found(&root, "a", None), Ok("a/2".to_owned()));
        assert_eq!(found(&root, "a", Some("9")), Ok("a/1".to_owned()));
        let message = found(&root, "a", Some("1")).expect_err("no such version");
        assert_eq!(
            message,
            "no model a in version 1; there is a (10), a (9), b (1)"
        );
    }

    #[test]
    fn name_that_is_none_is_told_as_such_whatever_else_is_wrong() {
        let root = models(&[
            ("a", &model("a", "1")),
            ("b", "name = "),
            ("c", "name = \"c\""),
        ]);
        let message = found(&root, "aa", None).expect_err("no such name");
        assert!(
            message.starts_with("no model aa; there is a (1)"),
            "{message}"
        );
        let folders = root.path().display();
        let unreadable = format!("what cannot be read: {folders}/b, {folders}/c");
        assert!(message.ends_with(&unreadable), "{message}");
        // What may be the one that is wanted is no mistyped name.
        for name in ["b", "c"] {
            let message = found(&root, name, None).expect_err("it is wrong");
            assert!(
                message.contains(&format!("{name} cannot be used")),
                "{message}"
            );
        }
    }

    #[test]
    fn folder_that_cannot_be_read_is_in_the_way_of_what_it_may_hold() {
        let later = |unreadable: &str| {
            let texts = [
                ("home/1", model("a", "2")),
                ("home/2", unreadable.to_owned()),
            ];
            let mut folders: Vec<_> = texts.iter().map(|(at, text)| (*at, &text[..])).collect();
            let other = model("b", "1");
            folders.push(("b", &other));
            let root = models(&folders);
            assert!(found(&root, "b", None).is_ok(), "{unreadable}");
            assert!(found(&root, "a", Some("2")).is_ok(), "{unreadable}");
            found(&root, "a", None)
        };
        // Beside the model, and nobody knows what it is; or it says so, wherever it lies.
        for may_be in [
            "name = ",
            "version = \"3\"",
            "name = \"a\"\nversion = 3",
            "name = \"a\"\nversion = \"3\"",
        ] {
            let message = later(may_be).expect_err(may_be);
            assert!(
                message.contains("home/2 may hold a later version of model a than 2"),
                "{message}"
            );
        }
        // It says that it is another one, or an older one.
        for is_not in [
            "name = \"b\"",
            "name = \"a\"",
            "name = \"a\"\nversion = \"1\"",
        ] {
            assert!(later(is_not).is_ok(), "{is_not}");
        }
    }

    #[test]
    fn folder_that_claims_the_name_is_told_where_the_named_version_is_not_there() {
        let root = models(&[
            ("a", &model("a", "1")),
            ("x", "name = \"a\"\nversion = \"2\""),
        ]);
        let message = found(&root, "a", Some("2")).expect_err("it is wrong");
        assert!(message.contains("x cannot be used"), "{message}");
        let message = found(&root, "a", Some("3")).expect_err("absent");
        assert!(message.starts_with("no model a in version 3"), "{message}");
    }

    #[test]
    fn two_folders_of_one_version_are_told_only_to_those_who_want_it() {
        let root = models(&[
            ("x", &model("a", "1")),
            ("y", &model("a", "1")),
            ("b", &model("b", "1")),
        ]);
        let message = found(&root, "a", None).expect_err("which?");
        assert!(
            message.contains("say that they are model a in version 1"),
            "{message}"
        );
        assert!(found(&root, "b", None).is_ok());
        assert!(
            Described::read(root.path())
                .expect("a folder")
                .all()
                .is_err()
        );
    }
}
