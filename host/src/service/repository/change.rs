//! Changes of the list: at start, and by an operator.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::config::{RepositoryConfig, Versions};
use super::described::Described;
use super::loader::Loader;
use super::metrics::RepositoryMetrics;
use super::slot::Slot;
use super::{Inner, Repository};
use crate::inference::ModelFolder;
use crate::service::model::OpenError;

/// Why the models stay as they are.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The folder of models cannot be read.
    #[error("the models cannot be looked for")]
    Folder(#[source] Box<OpenError>),
    /// There is nothing to serve.
    #[error("there is no model: run `cargo xtask setup`, or name the folder with --models")]
    NoModels,
    /// No folder says that it is that model.
    #[error("no model {name}{}; there is {}", of_version(version.as_deref()), listed(known, unreadable))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The version asked for.
        version: Option<String>,
        /// What is there.
        known: Vec<String>,
        /// Folders that do not say what they are.
        unreadable: Vec<PathBuf>,
    },
    /// A folder that cannot be read may hold what was asked for.
    #[error("{} may hold a later version of model {name} than {newest}; mend it, or load {newest} by its version", folder.display())]
    MayBeLater {
        /// The model.
        name: String,
        /// The latest version that can be read.
        newest: String,
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<OpenError>,
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

fn listed(known: &[String], unreadable: &[PathBuf]) -> String {
    let mut text = match known {
        [] => "none".to_owned(),
        known => known.join(", "),
    };
    if !unreadable.is_empty() {
        let folders = unreadable.iter().map(|folder| folder.display().to_string());
        let folders: Vec<_> = folders.collect();
        text.push_str(", and what cannot be read: ");
        text.push_str(&folders.join(", "));
    }
    text
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
            loading: tokio::sync::Mutex::default(),
            changing: std::sync::Mutex::default(),
            under_way: Arc::default(),
        }));
        let loading = repository.0.loading.lock().await;
        let described = repository.describe(repository.load_deadline()).await?;
        let mut found = described.all()?;
        if repository.0.config.versions == Versions::Latest {
            // They are ordered by name, and then from the latest version down.
            found.dedup_by(|later, first| later.manifest.name == first.manifest.name);
        }
        for folder in found {
            let slot = repository.open(folder, repository.load_deadline()).await?;
            let _changing = repository.0.change();
            repository.make_room_after(&slot);
            let mut slots = repository.0.slots.load().to_vec();
            slots.push(Arc::new(slot));
            repository.0.slots.store(Arc::new(slots));
        }
        drop(loading);
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
        let _loading = self.0.loading.lock().await;
        let deadline = self.load_deadline();
        let folder = self.describe(deadline).await?.find(name, version)?;
        let slot = self.open(folder, deadline).await;
        // What was counted of a model that is refused is of nobody.
        let slot = slot.inspect_err(|_| self.0.forget_unserved())?;
        Ok(self.put_in_place(slot, keep))
    }

    fn put_in_place(&self, slot: Slot, keep: bool) -> Loaded {
        let _changing = self.0.change();
        let (name, version) = (slot.info.name.clone(), slot.info.version.clone());
        let slots = self.0.slots.load();
        let leaves = |other: &&Arc<Slot>| {
            other.info.name == name && (!keep || other.info.version == version)
        };
        let leaving: Vec<_> = slots.iter().filter(leaves).cloned().collect();
        let mut serving: Vec<_> = slots.iter().filter(|slot| !leaves(slot)).cloned().collect();
        // Where the model was, so that the list keeps its order.
        let place = serving.iter().position(|other| other.info.name >= name);
        serving.insert(place.unwrap_or(serving.len()), Arc::new(slot));
        self.0.slots.store(Arc::new(serving));
        for old in &leaving {
            self.forget(old, &version);
        }
        // Those that leave do not count any more.
        self.make_room_within();
        let replaced = leaving.iter().map(|old| old.info.version.clone());
        let loaded = Loaded {
            name,
            version,
            replaced: replaced.collect(),
        };
        tracing::info!(model = loaded.name, version = loaded.version, replaced = ?loaded.replaced, "a model was put in place");
        loaded
    }

    /// Serves a model no more, in one version or in all. Calls that were accepted are answered. Waits for no
    /// load.
    ///
    /// # Errors
    /// When it is not served.
    pub fn unload(&self, name: &str, version: Option<&str>) -> Result<Vec<String>, ChangeError> {
        if self.0.loader.is_none() {
            return Err(ChangeError::Fixed);
        }
        let leaving = self.take_out(name, version)?;
        let repository = self.clone();
        let forget = async move {
            // A load that is under way may be of that model, and has begun to count.
            let _loading = repository.0.loading.lock().await;
            repository.0.forget_unserved();
        };
        match self.0.loading.try_lock() {
            Ok(_loading) => self.0.forget_unserved(),
            Err(_) => drop(tokio::spawn(forget)),
        }
        Ok(leaving)
    }

    /// Takes a model out of the list; gives the versions that were in it.
    fn take_out(&self, name: &str, version: Option<&str>) -> Result<Vec<String>, ChangeError> {
        let _changing = self.0.change();
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
        let versions = leaving.iter().map(|slot| slot.info.version.clone());
        Ok(versions.collect())
    }

    /// A replaced model leaves memory. Its metrics are those of its successor if that is of the same
    /// version.
    fn forget(&self, old: &Slot, successor: &str) {
        old.unload();
        if old.info.version != successor {
            self.0.metrics.unloaded(&old.info);
        }
    }

    /// Hashes, loads and warms the model of a folder.
    async fn open(&self, model: ModelFolder, deadline: Instant) -> Result<Slot, ChangeError> {
        let folder = model.folder.clone();
        tracing::info!(folder = %folder.display(), "loading a model");
        let opened = self.open_folder(model, &folder, deadline).await;
        opened.map_err(|source| ChangeError::Open {
            folder,
            source: Box::new(source),
        })
    }

    async fn open_folder(
        &self,
        model: ModelFolder,
        folder: &Path,
        deadline: Instant,
    ) -> Result<Slot, OpenError> {
        let hashed = self.wait_for(folder, deadline, move |_| Ok(model.hash()?));
        let files = hashed.await?;
        let slots = self.0.slots.load_full();
        let same = slots.iter().find(|slot| slot.info.digest == files.digest);
        let before = same.map_or(0, |slot| slot.memory());
        let started = Instant::now();
        let opened = self.open_files(files.clone(), before, deadline).await;
        let (model, memory) = opened?;
        let metrics = &self.0.metrics;
        metrics.loaded(&model.info, memory, started.elapsed());
        Ok(Slot::new(model, Some(files), memory))
    }

    /// What the folder of models holds.
    async fn describe(&self, deadline: Instant) -> Result<Described, ChangeError> {
        let loader = self.0.loader.as_ref().ok_or(ChangeError::Fixed)?;
        let root = loader.models().to_owned();
        let described = self.wait_for(&root, deadline, |loader| {
            Described::read(loader.models()).map_err(OpenError::Folder)
        });
        let described = described.await;
        described.map_err(|error| ChangeError::Folder(Box::new(error)))
    }
}
