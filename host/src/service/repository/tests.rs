//! A repository of folders whose models are fakes: what comes and goes is tested, not what they compute.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use brink_protocol::FaultCode;

use super::*;
use crate::inference::ModelFiles;
use crate::testing;

const MINUTE: Duration = Duration::from_secs(60);

/// Folders that tests change, and how often each was opened.
#[derive(Clone, Debug)]
struct Fakes(Arc<Folders>);

#[derive(Debug)]
struct Folders {
    folder: tempfile::TempDir,
    opened: std::sync::Mutex<HashMap<PathBuf, usize>>,
}

impl Fakes {
    fn new(models: &[(&str, &str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let fakes = Self(Arc::new(Folders {
            folder,
            opened: std::sync::Mutex::default(),
        }));
        for (folder, name, version) in models {
            fakes.write(folder, name, version, "weights");
        }
        fakes
    }

    /// Weights "bad" cannot be loaded.
    fn write(&self, folder: &str, name: &str, version: &str, weights: &str) {
        let folder = self.0.folder.path().join(folder);
        std::fs::create_dir_all(&folder).expect("a writable folder");
        let manifest = format!(
            "name = {name:?}\nversion = {version:?}\ntask = \"generic\"\nmodel_file = \"m.onnx\"\ncreated = 1\nowned_by = \"us\""
        );
        std::fs::write(folder.join("model.toml"), manifest).expect("a writable folder");
        std::fs::write(folder.join("m.onnx"), weights).expect("a writable folder");
    }

    fn opened(&self, folder: &str) -> usize {
        let opened = self.0.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = self.0.folder.path().join(folder);
        opened.get(&folder).copied().unwrap_or(0)
    }

    async fn start(&self, config: RepositoryConfig) -> Result<Repository, ChangeError> {
        Repository::start(Box::new(self.clone()), config, RepositoryMetrics::default()).await
    }
}

impl Loader for Fakes {
    fn folders(&self) -> io::Result<Vec<PathBuf>> {
        folders::model_folders(self.0.folder.path())
    }

    fn read(&self, folder: &Path) -> Result<ModelFiles, OpenError> {
        Ok(ModelFiles::read(folder)?)
    }

    fn open(&self, files: &ModelFiles) -> Result<Model, OpenError> {
        let mut opened = self.0.opened.lock().unwrap_or_else(PoisonError::into_inner);
        *opened.entry(files.folder.clone()).or_default() += 1;
        match std::fs::read_to_string(files.model()).as_deref() {
            Ok("bad") => Err(OpenError::Panicked),
            _ => Ok(testing::model_of(files)),
        }
    }

    /// Other tests of this process take memory at the same time.
    fn resident_bytes(&self) -> u64 {
        0
    }
}

fn served(repository: &Repository) -> Vec<(String, String)> {
    let models = repository.catalog().models.into_iter();
    models.map(|it| (it.name, it.version)).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
    pairs.iter().map(own).collect()
}

async fn ask(repository: &Repository, name: &str) -> Result<Arc<Model>, Fault> {
    let digest = repository.catalog().find(name).map(|info| info.digest);
    let digest = digest.unwrap_or(ModelDigest([0; 32]));
    let deadline = Instant::now() + MINUTE;
    repository.acquire(name, &digest, deadline).await
}

fn states(repository: &Repository) -> Vec<ModelState> {
    repository.status().iter().map(|it| it.state).collect()
}

#[tokio::test]
async fn latest_version_is_served_or_all_of_them() {
    let fakes = Fakes::new(&[("a/2", "a", "2"), ("a/10", "a", "10"), ("b", "b", "1")]);
    let latest = fakes
        .start(RepositoryConfig::default())
        .await
        .expect("models");
    assert_eq!(served(&latest), pairs(&[("a", "10"), ("b", "1")]));

    let config = RepositoryConfig {
        versions: Versions::All,
        ..RepositoryConfig::default()
    };
    let all = fakes.start(config).await.expect("models");
    assert_eq!(served(&all), pairs(&[("a", "10"), ("a", "2"), ("b", "1")]));
    assert_eq!(all.catalog().find("a").map(|it| &*it.version), Some("10"));
}

#[tokio::test]
async fn start_names_the_model_that_cannot_be_used() {
    let fakes = Fakes::new(&[("a", "a", "1")]);
    fakes.write("b", "b", "1", "bad");
    let error = fakes
        .start(RepositoryConfig::default())
        .await
        .expect_err("b");
    assert!(error.to_string().contains("/b cannot be used"), "{error}");

    let fakes = Fakes::new(&[("a", "same", "1"), ("b", "same", "1")]);
    let error = fakes
        .start(RepositoryConfig::default())
        .await
        .expect_err("twice");
    assert!(error.to_string().contains("same in version 1"), "{error}");
    let none = Fakes::new(&[]).start(RepositoryConfig::default()).await;
    assert!(matches!(none, Err(ChangeError::NoModels)));
}

#[tokio::test]
async fn new_version_takes_the_place_of_the_old_one_while_calls_hold_that() {
    let fakes = Fakes::new(&[("a", "a", "1"), ("b", "b", "1")]);
    let repository = fakes
        .start(RepositoryConfig::default())
        .await
        .expect("models");
    let old = ask(&repository, "a").await.expect("the model");
    fakes.write("a/2", "a", "2", "better");
    let loaded = repository.load("a", None, false).await.expect("a version");
    assert_eq!(
        (&*loaded.version, &*loaded.replaced),
        ("2", &["1".to_owned()][..])
    );
    assert_eq!(served(&repository), pairs(&[("a", "2"), ("b", "1")]));
    assert!(old.pool.is_ready(), "a call goes on with what it has");

    // An edge that still knows the old one is told so.
    let deadline = Instant::now() + MINUTE;
    let fault = repository.acquire("a", &old.info.digest, deadline).await;
    assert_eq!(fault.expect_err("it changed").code, FaultCode::ModelChanged);
    let new = ask(&repository, "a").await.expect("the model");
    assert_eq!(new.info.version, "2");
    // Back again, beside the new one.
    let back = repository
        .load("a", Some("1"), true)
        .await
        .expect("a version");
    assert!(back.replaced.is_empty());
    assert_eq!(
        served(&repository),
        pairs(&[("a", "1"), ("a", "2"), ("b", "1")])
    );
}

#[tokio::test]
async fn files_that_changed_in_place_are_put_in_place_by_a_load() {
    let fakes = Fakes::new(&[("a", "a", "1")]);
    let repository = fakes
        .start(RepositoryConfig::default())
        .await
        .expect("models");
    let before = repository.catalog().models[0].digest;
    fakes.write("a", "a", "1", "others");
    let loaded = repository.load("a", None, false).await.expect("a model");
    assert_eq!(loaded.replaced, ["1"]);
    assert_ne!(repository.catalog().models[0].digest, before);
}

#[tokio::test]
async fn bad_model_is_refused_and_the_old_one_stays() {
    let fakes = Fakes::new(&[("a", "a", "1")]);
    let repository = fakes
        .start(RepositoryConfig::default())
        .await
        .expect("models");
    fakes.write("a/2", "a", "2", "bad");
    let error = repository
        .load("a", None, false)
        .await
        .expect_err("it is bad");
    assert!(error.to_string().contains("a/2 cannot be used"), "{error}");
    assert_eq!(served(&repository), pairs(&[("a", "1")]));
    assert!(ask(&repository, "a").await.is_ok());

    let error = repository
        .load("c", Some("7"), false)
        .await
        .expect_err("absent");
    let message = error.to_string();
    assert!(
        message.contains("c in version 7; there is a (2), a (1)"),
        "{message}"
    );
    // A folder that is no model is no obstacle to another one.
    std::fs::write(fakes.0.folder.path().join("a/2/model.toml"), "no").expect("writable");
    assert!(repository.load("a", None, false).await.is_ok());
}

#[tokio::test]
async fn unloaded_model_is_unknown_until_it_is_loaded() {
    let fakes = Fakes::new(&[("a", "a", "1"), ("b", "b", "1")]);
    let repository = fakes
        .start(RepositoryConfig::default())
        .await
        .expect("models");
    assert_eq!(repository.unload("a", None).await.expect("served"), ["1"]);
    let fault = ask(&repository, "a").await.expect_err("it is gone");
    assert_eq!(fault.code, FaultCode::UnknownModel);
    assert!(fault.message.contains("there is b"), "{}", fault.message);
    assert!(repository.unload("a", None).await.is_err());
    repository.load("a", None, false).await.expect("a model");
    assert!(ask(&repository, "a").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn idle_model_leaves_memory_and_comes_back_once_for_all_who_ask() {
    let fakes = Fakes::new(&[("a", "a", "1"), ("b", "b", "1")]);
    let config = RepositoryConfig {
        idle_unload_after: Some(MINUTE),
        ..RepositoryConfig::default()
    };
    let repository = fakes.start(config).await.expect("models");
    let held = ask(&repository, "b").await.expect("the model");
    tokio::time::advance(MINUTE).await;
    repository.unload_idle(MINUTE).await;
    assert_eq!(states(&repository), [ModelState::Cold, ModelState::Ready]);
    assert!(
        repository.is_ready(),
        "a cold model is loaded when somebody asks"
    );
    assert_eq!(served(&repository), pairs(&[("a", "1"), ("b", "1")]));

    let asked = (0..8).map(|_| ask(&repository, "a"));
    for model in futures_util::future::join_all(asked).await {
        assert_eq!(model.expect("it came back").info.name, "a");
    }
    assert_eq!((fakes.opened("a"), fakes.opened("b")), (2, 1));
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn model_that_cannot_be_brought_back_is_told_with_a_time_and_tried_again() {
    let fakes = Fakes::new(&[("a", "a", "1")]);
    let repository = fakes
        .start(RepositoryConfig::default())
        .await
        .expect("models");
    repository.unload_idle(Duration::ZERO).await;
    fakes.write("a", "a", "1", "others");
    for _ in 0..2 {
        let fault = ask(&repository, "a").await.expect_err("it changed on disk");
        assert_eq!(fault.code, FaultCode::Overloaded);
        assert!(
            fault.message.contains("its files have changed"),
            "{}",
            fault.message
        );
        assert!(fault.retry_after_ms.is_some_and(|ms| ms <= 10_000));
    }
    fakes.write("a", "a", "1", "weights");
    tokio::time::advance(Duration::from_secs(10)).await;
    assert!(ask(&repository, "a").await.is_ok());
}

#[tokio::test]
async fn memory_budget_makes_the_longest_idle_leave_and_refuses_what_never_fits() {
    let fakes = Fakes::new(&[]);
    let weights = "w".repeat(600_000);
    for name in ["a", "b"] {
        fakes.write(name, name, "1", &weights);
    }
    let config = RepositoryConfig {
        max_memory_bytes: Some(1_000_000),
        ..RepositoryConfig::default()
    };
    let repository = fakes.start(config).await.expect("models");
    assert_eq!(states(&repository), [ModelState::Cold, ModelState::Ready]);
    let a = ask(&repository, "a").await.expect("b leaves");
    assert_eq!(states(&repository), [ModelState::Ready, ModelState::Cold]);
    let fault = ask(&repository, "b").await.expect_err("a is in use");
    assert_eq!(fault.code, FaultCode::Overloaded);
    assert!(
        fault.message.contains("max_memory_mib"),
        "{}",
        fault.message
    );
    drop(a);
    assert!(ask(&repository, "b").await.is_ok());
}
