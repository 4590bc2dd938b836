//! A repository of folders whose models are fakes: what comes and goes is tested, not what they compute.

mod loading;
mod memory;
mod ready;

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use brink_protocol::FaultCode;
use prometheus_client::registry::Registry;

use super::*;
use crate::batch::BatchMetrics;
use crate::inference::{Device, ModelFiles};
use crate::service::model::OpenError;
use crate::testing;

const MINUTE: Duration = Duration::from_secs(60);

/// Folders that tests change, and what becomes of them.
#[derive(Clone, Debug)]
struct Fakes(Arc<Folders>);

#[derive(Debug)]
struct Folders {
    folder: tempfile::TempDir,
    /// How often each was opened.
    opened: Mutex<HashMap<PathBuf, usize>>,
    /// Folders whose next opening waits until the sender is dropped.
    gates: Mutex<HashMap<PathBuf, mpsc::Receiver<()>>>,
    /// What the process takes at each look; zero when there is nothing left.
    resident: Mutex<VecDeque<u64>>,
    registry: Registry,
    metrics: BatchMetrics,
}

impl Fakes {
    fn new(models: &[(&str, &str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut registry = Registry::default();
        let fakes = Self(Arc::new(Folders {
            folder,
            opened: Mutex::default(),
            gates: Mutex::default(),
            resident: Mutex::default(),
            metrics: BatchMetrics::register(&mut registry),
            registry,
        }));
        for (folder, name, version) in models {
            fakes.write(folder, name, version, "weights");
        }
        fakes
    }

    fn path(&self, folder: &str) -> PathBuf {
        self.0.folder.path().join(folder)
    }

    /// Weights "bad" cannot be loaded, and "fickle" ones change while they are.
    fn write(&self, folder: &str, name: &str, version: &str, weights: &str) {
        let folder = self.path(folder);
        std::fs::create_dir_all(&folder).expect("a writable folder");
        let manifest = format!(
            "name = {name:?}\nversion = {version:?}\ntask = \"generic\"\nmodel_file = \"m.onnx\"\ncreated = 1\nowned_by = \"us\""
        );
        std::fs::write(folder.join("model.toml"), manifest).expect("a writable folder");
        std::fs::write(folder.join("m.onnx"), weights).expect("a writable folder");
    }

    fn opened(&self, folder: &str) -> usize {
        let opened = self.0.opened.lock().expect("no panic");
        opened.get(&self.path(folder)).copied().unwrap_or(0)
    }

    /// Returns when a folder has been opened so often.
    async fn until_opened(&self, folder: &str, times: usize) {
        while self.opened(folder) < times {
            tokio::task::yield_now().await;
        }
    }

    /// Lets the next opening of a folder wait until what this gives is dropped.
    fn hold(&self, folder: &str) -> mpsc::Sender<()> {
        let (gate, receiver) = mpsc::channel();
        let mut gates = self.0.gates.lock().expect("no panic");
        gates.insert(self.path(folder), receiver);
        gate
    }

    /// What the process will take before and after the next openings.
    fn resident_will_be(&self, bytes: impl IntoIterator<Item = u64>) {
        self.0.resident.lock().expect("no panic").extend(bytes);
    }

    /// What is counted of models.
    fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.0.registry)
            .expect("a string takes all");
        text
    }

    async fn start(&self, config: RepositoryConfig) -> Result<Repository, ChangeError> {
        Repository::start(Box::new(self.clone()), config, RepositoryMetrics::default()).await
    }
}

impl Loader for Fakes {
    fn models(&self) -> &Path {
        self.0.folder.path()
    }

    fn open(&self, files: &ModelFiles) -> Result<Model, OpenError> {
        let mut opened = self.0.opened.lock().expect("no panic");
        *opened.entry(files.folder.clone()).or_default() += 1;
        drop(opened);
        let gate = self.0.gates.lock().expect("no panic").remove(&files.folder);
        // It is an error when the sender is dropped, which is what is waited for.
        let _ = gate.map(|gate| gate.recv());
        self.0.metrics.for_model(&files.manifest.name, Device::Cpu);
        match std::fs::read_to_string(files.model()).as_deref() {
            Ok("bad") => return Err(OpenError::Panicked),
            Ok("fickle") => std::fs::write(files.model(), "settled").expect("a writable folder"),
            _ => {}
        }
        Ok(testing::model_of(files))
    }

    fn forget_all_but(&self, is_served: &dyn Fn(&str) -> bool) {
        self.0.metrics.forget_all_but(is_served);
    }

    /// Other tests of this process take memory at the same time.
    fn resident_bytes(&self) -> u64 {
        let mut resident = self.0.resident.lock().expect("no panic");
        resident.pop_front().unwrap_or(0)
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
    // A folder that is no model is no obstacle to another one, and one to what it may hold.
    fakes.write("b", "b", "1", "weights");
    std::fs::write(fakes.path("a/2/model.toml"), "no").expect("writable");
    assert!(repository.load("b", None, false).await.is_ok());
    let error = repository.load("a", None, false).await.expect_err("which?");
    let message = error.to_string();
    let part = "a/2 may hold a later version of model a than 1; mend it, or load 1 by its version";
    assert!(message.contains(part), "{message}");
    assert!(repository.load("a", Some("1"), false).await.is_ok());
}

/// Of many gigabytes, a host that serves one looks at that one.
#[tokio::test]
async fn files_of_versions_that_are_not_loaded_are_not_looked_at() {
    let fakes = Fakes::new(&[("a/1", "a", "1"), ("a/2", "a", "2")]);
    std::fs::remove_file(fakes.path("a/1/m.onnx")).expect("a file");
    let started = fakes.start(RepositoryConfig::default()).await;
    assert_eq!(served(&started.expect("models")), pairs(&[("a", "2")]));
}

#[tokio::test]
async fn unloaded_model_is_unknown_until_it_is_loaded() {
    let fakes = Fakes::new(&[("a", "a", "1"), ("b", "b", "1")]);
    let repository = fakes
        .start(RepositoryConfig::default())
        .await
        .expect("models");
    assert_eq!(repository.unload("a", None).expect("served"), ["1"]);
    let fault = ask(&repository, "a").await.expect_err("it is gone");
    assert_eq!(fault.code, FaultCode::UnknownModel);
    assert!(fault.message.contains("there is b"), "{}", fault.message);
    assert!(repository.unload("a", None).is_err());
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
    repository.unload_idle(MINUTE);
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
    repository.unload_idle(Duration::ZERO);
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
