//! Changes of the list: at start, and by an operator.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::config::{RepositoryConfig, Versions};
use super::folders::compare_versions;
use super::loader::Loader;
use super::metrics::RepositoryMetrics;
use super::slot::Slot;
use super::{Inner, Repository, open};
use crate::inference::ModelFiles;
use crate::service::model::OpenError;

/// Why the models stay as they are.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The folder of models cannot be read.
    #[error("the folder of models cannot be read")]
    Folder(#[source] std::io::Error),
    /// There is nothing to serve.
    #[error("there is no model: run `cargo xtask setup`, or name the folder with --models")]
    NoModels,
    /// No folder says that it is that model.
    #[error("no folder of models says that it is model {name}{}; there is {}", of_version(version.as_deref()), known.join(", "))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The version asked for.
        version: Option<String>,
        /// What is there.
        known: Vec<String>,
    },
    /// It is not served.
    #[error("model {name}{} is not served", of_version(version.as_deref()))]
    NotServed {
        /// The name asked for.
        name: String,
        /// The version asked for.
        version: Option<String>,
    },
    /// Two folders say that they are the same version of the same model.
    #[error("both {} and {} say that they are model {name} in version {version}", folders[0].display(), folders[1].display())]
    Twice {
        /// The model.
        name: String,
        /// The version.
        version: String,
        /// Where they are.
        folders: Box<[PathBuf; 2]>,
    },
    /// The model is wrong; the one that was served goes on.
    #[error("the model in {} cannot be used", folder.display())]
    Open {
        /// Where it is.
        folder: PathBuf,
        /// What is wrong.
        #[source]
        source: Box<OpenError>,
    },
    /// Models were given, not loaded.
    #[error("the models of this host cannot be changed")]
    Fixed,
}

fn of_version(version: Option<&str>) -> String {
    version.map_or_else(String::new, |version| format!(" in version {version}"))
}

/// A model that was put in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Versions that are served no more.
    pub replaced: Vec<String>,
}

impl Repository {
    /// Loads every model, in the versions that the settings name.
    ///
    /// # Errors
    /// When one of them cannot be used: a host that starts without it would answer 404 for it.
    pub async fn start(
        loader: Box<dyn Loader>,
        config: RepositoryConfig,
        metrics: RepositoryMetrics,
    ) -> Result<Self, ChangeError> {
        let repository = Self(Arc::new(Inner {
            slots: ArcSwap::default(),
            loader: Some(loader),
            config,
            metrics,
            changing: Mutex::default(),
        }));
        let changing = repository.0.changing.lock().await;
        let (mut found, mut mistakes) = repository.read_all().await?;
        if let Some(mistake) = mistakes.pop() {
            return Err(mistake);
        }
        if repository.0.config.versions == Versions::Latest {
            // They are ordered by name, and then from the latest version down.
            found.dedup_by(|later, first| later.manifest.name == first.manifest.name);
        }
        for files in found {
            let slot = repository.open(files).await?;
            repository.make_room_after(&slot);
            let mut slots = repository.0.slots.load().to_vec();
            slots.push(Arc::new(slot));
            repository.0.slots.store(Arc::new(slots));
        }
        drop(changing);
        Ok(repository)
    }

    /// Puts a model in place: reads, loads and warms it first, and serves it from then on where a request
    /// names no version. Other versions of it are served no more, unless `keep` says so.
    ///
    /// # Errors
    /// When it cannot be used; what was served goes on.
    pub async fn load(
        &self,
        name: &str,
        version: Option<&str>,
        keep: bool,
    ) -> Result<Loaded, ChangeError> {
        let _changing = self.0.changing.lock().await;
        let (found, mut mistakes) = self.read_all().await?;
        let wanted = |files: &&ModelFiles| {
            files.manifest.name == name
                && version.is_none_or(|version| files.manifest.version == version)
        };
        // Another model's mistake is no obstacle; what cannot be read may be the one that is wanted.
        let unknown = || ChangeError::Unknown {
            name: name.to_owned(),
            version: version.map(str::to_owned),
            known: found.iter().map(described).collect(),
        };
        let files = found.iter().find(wanted);
        let files = files.ok_or_else(|| mistakes.pop().unwrap_or_else(unknown))?;
        let slot = Arc::new(self.open(files.clone()).await?);
        let (version, slots) = (slot.info.version.clone(), self.0.slots.load());
        let leaves = |other: &&Arc<Slot>| {
            other.info.name == name && (!keep || other.info.version == version)
        };
        let leaving: Vec<_> = slots.iter().filter(leaves).cloned().collect();
        let mut serving: Vec<_> = slots.iter().filter(|slot| !leaves(slot)).cloned().collect();
        // Where the model was, so that the list keeps its order.
        let place = serving.iter().position(|other| *other.info.name >= *name);
        serving.insert(place.unwrap_or(serving.len()), slot);
        self.0.slots.store(Arc::new(serving));
        for old in &leaving {
            self.forget(old, &version);
        }
        // Those that leave do not count any more.
        self.make_room_within();
        let replaced = leaving.iter().map(|old| old.info.version.clone());
        let loaded = Loaded {
            name: name.to_owned(),
            version,
            replaced: replaced.collect(),
        };
        tracing::info!(model = loaded.name, version = loaded.version, replaced = ?loaded.replaced, "a model was put in place");
        Ok(loaded)
    }

    /// Serves a model no more, in one version or in all. Calls that were accepted are answered.
    ///
    /// # Errors
    /// When it is not served.
    pub async fn unload(
        &self,
        name: &str,
        version: Option<&str>,
    ) -> Result<Vec<String>, ChangeError> {
        let _changing = self.0.changing.lock().await;
        if self.0.loader.is_none() {
            return Err(ChangeError::Fixed);
        }
        let slots = self.0.slots.load();
        let leaves = |slot: &&Arc<Slot>| {
            slot.info.name == name && version.is_none_or(|version| slot.info.version == version)
        };
        let leaving: Vec<_> = slots.iter().filter(leaves).cloned().collect();
        if leaving.is_empty() {
            return Err(ChangeError::NotServed {
                name: name.to_owned(),
                version: version.map(str::to_owned),
            });
        }
        let serving = slots.iter().filter(|slot| !leaves(slot)).cloned();
        self.0.slots.store(Arc::new(serving.collect()));
        for slot in &leaving {
            self.let_go(slot);
        }
        Ok(leaving
            .iter()
            .map(|slot| slot.info.version.clone())
            .collect())
    }

    /// A replaced model leaves memory. Its metrics are those of its successor if that is of the same
    /// version.
    fn forget(&self, old: &Slot, successor: &str) {
        old.unload();
        if old.info.version != successor {
            self.0.metrics.unloaded(&old.info);
        }
    }

    async fn open(&self, files: ModelFiles) -> Result<Slot, ChangeError> {
        let folder = files.folder.clone();
        tracing::info!(folder = %folder.display(), "loading a model");
        let started = Instant::now();
        let opened = open(Arc::clone(&self.0), files.clone()).await;
        let (model, memory) = opened.map_err(|source| ChangeError::Open {
            folder,
            source: Box::new(source),
        })?;
        self.0
            .metrics
            .loaded(&model.info, memory, started.elapsed());
        Ok(Slot::new(model, Some(files), memory))
    }

    /// Every model of the folder, by name and from the latest version down.
    /// Also what is wrong with those that cannot be read.
    async fn read_all(&self) -> Result<(Vec<ModelFiles>, Vec<ChangeError>), ChangeError> {
        let inner = Arc::clone(&self.0);
        let read = move || {
            let loader = inner.loader.as_ref().ok_or(ChangeError::Fixed)?;
            let folders = loader.folders().map_err(ChangeError::Folder)?;
            let (mut found, mut mistakes) = (Vec::new(), Vec::new());
            for folder in folders {
                match loader.read(&folder) {
                    Ok(files) => found.push(files),
                    Err(source) => mistakes.push(ChangeError::Open {
                        folder,
                        source: Box::new(source),
                    }),
                }
            }
            Ok((found, mistakes))
        };
        let read = tokio::task::spawn_blocking(read).await;
        let (mut found, mistakes) = read.unwrap_or(Err(ChangeError::NoModels))?;
        found.sort_by(|a, b| {
            let by_name = a.manifest.name.cmp(&b.manifest.name);
            by_name.then_with(|| compare_versions(&b.manifest.version, &a.manifest.version))
        });
        check_distinct(&found)?;
        if found.is_empty() && mistakes.is_empty() {
            return Err(ChangeError::NoModels);
        }
        Ok((found, mistakes))
    }
}

fn check_distinct(found: &[ModelFiles]) -> Result<(), ChangeError> {
    let same = |a: &ModelFiles, b: &ModelFiles| {
        a.manifest.name == b.manifest.name && a.manifest.version == b.manifest.version
    };
    match found.windows(2).find(|pair| same(&pair[0], &pair[1])) {
        None => Ok(()),
        Some(pair) => Err(ChangeError::Twice {
            name: pair[0].manifest.name.clone(),
            version: pair[0].manifest.version.clone(),
            folders: Box::new([pair[0].folder.clone(), pair[1].folder.clone()]),
        }),
    }
}

fn described(files: &ModelFiles) -> String {
    format!("{} ({})", files.manifest.name, files.manifest.version)
}
