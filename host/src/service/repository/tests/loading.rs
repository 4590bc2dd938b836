//! Loads that take long, hang, or find other files than were hashed.

use super::*;

/// What an operator is told, with its causes.
fn told(error: &ChangeError) -> String {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        message.push_str(&format!(": {error}"));
        cause = error.source();
    }
    message
}

/// A repository of `slow`, which is cold, and `a` and `b`, which are in memory.
async fn one_cold() -> (Fakes, Repository) {
    let fakes = Fakes::new(&[("slow", "slow", "1"), ("a", "a", "1"), ("b", "b", "1")]);
    let repository = fakes
        .start(RepositoryConfig::default())
        .await
        .expect("models");
    repository.unload_idle(Duration::ZERO);
    for name in ["a", "b"] {
        ask(&repository, name).await.expect("it comes back");
    }
    (fakes, repository)
}

/// Asks in a task of its own.
fn asking(
    repository: &Repository,
    name: &'static str,
) -> tokio::task::JoinHandle<Result<Arc<Model>, Fault>> {
    let repository = repository.clone();
    tokio::spawn(async move { ask(&repository, name).await })
}

fn loading(
    repository: &Repository,
    name: &'static str,
) -> tokio::task::JoinHandle<Result<Loaded, ChangeError>> {
    let repository = repository.clone();
    tokio::spawn(async move { repository.load(name, None, false).await })
}

#[tokio::test(start_paused = true)]
async fn while_a_model_loads_others_are_called_listed_and_unloaded() {
    let (fakes, repository) = one_cold().await;
    let gate = fakes.hold("slow");
    let waiting = asking(&repository, "slow");
    fakes.until_opened("slow", 2).await;

    assert_eq!(ask(&repository, "a").await.expect("a").info.name, "a");
    assert_eq!(
        states(&repository),
        [ModelState::Ready, ModelState::Ready, ModelState::Cold]
    );
    assert!(repository.is_ready() && repository.catalog().broken.is_empty());
    assert_eq!(repository.unload("b", None).expect("served"), ["1"]);
    assert_eq!(served(&repository), pairs(&[("a", "1"), ("slow", "1")]));

    drop(gate);
    let model = waiting.await.expect("no panic").expect("it is loaded");
    assert_eq!(model.info.name, "slow");
    // Once the load is over nothing is counted of what was unloaded beside it.
    while fakes.metrics().contains("model=\"b\"") {
        tokio::task::yield_now().await;
    }
    assert!(fakes.metrics().contains("model=\"slow\""));
}

#[tokio::test(start_paused = true)]
async fn caller_whose_deadline_passes_while_a_model_loads_is_told() {
    let (fakes, repository) = one_cold().await;
    let gate = fakes.hold("slow");
    let patient = asking(&repository, "slow");
    fakes.until_opened("slow", 2).await;
    let digest = repository.catalog().find("slow").expect("served").digest;
    let deadline = Instant::now() + Duration::from_secs(1);
    let (hurried, ()) = tokio::join!(
        repository.acquire("slow", &digest, deadline),
        tokio::time::advance(Duration::from_secs(1)),
    );
    assert_eq!(
        hurried.expect_err("a second is over").code,
        FaultCode::DeadlineExceeded
    );
    drop(gate);
    assert!(patient.await.expect("no panic").is_ok());
    assert_eq!(fakes.opened("slow"), 2, "loaded once for both");
}

#[tokio::test]
async fn model_that_is_unloaded_while_it_comes_back_is_not_served() {
    let (fakes, repository) = one_cold().await;
    let gate = fakes.hold("slow");
    let waiting = asking(&repository, "slow");
    fakes.until_opened("slow", 2).await;
    repository.unload("slow", None).expect("served");
    drop(gate);
    let fault = waiting.await.expect("no panic").expect_err("it is gone");
    assert_eq!(fault.code, FaultCode::ModelChanged);
    assert_eq!(served(&repository), pairs(&[("a", "1"), ("b", "1")]));
}

#[tokio::test(start_paused = true)]
async fn load_that_hangs_is_given_up_and_others_go_on() {
    let (fakes, repository) = one_cold().await;
    let gate = fakes.hold("a");
    let hanging = loading(&repository, "a");
    fakes.until_opened("a", 3).await;
    let next = loading(&repository, "b");
    tokio::task::yield_now().await;
    tokio::time::advance(RepositoryConfig::default().load_timeout).await;

    let error = hanging.await.expect("no panic").expect_err("it hangs");
    let message = told(&error);
    assert!(
        message.contains("within 300000 ms (models.load_timeout_ms)"),
        "{message}"
    );
    assert!(next.await.expect("no panic").is_ok());
    assert!(ask(&repository, "a").await.is_ok(), "the old one goes on");

    // As long as its thread hangs, no other is lost to it.
    let again = repository.load("a", None, false).await;
    let message = told(&again.expect_err("it hangs"));
    assert!(
        message.contains("was given up and has not ended"),
        "{message}"
    );
    assert_eq!(fakes.opened("a"), 3);
    drop(gate);
    while repository.load("a", None, false).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn loads_that_hang_do_not_take_one_thread_after_another() {
    let models = ["a", "b", "c", "d", "e"].map(|name| (name, name, "1"));
    let fakes = Fakes::new(&models);
    let repository = fakes
        .start(RepositoryConfig::default())
        .await
        .expect("models");
    let mut gates = Vec::new();
    for name in ["a", "b", "c", "d"] {
        gates.push(fakes.hold(name));
        let hanging = loading(&repository, name);
        fakes.until_opened(name, 2).await;
        tokio::time::advance(RepositoryConfig::default().load_timeout).await;
        assert!(hanging.await.expect("no panic").is_err());
    }
    let error = repository.load("e", None, false).await;
    let message = told(&error.expect_err("four hang"));
    assert!(
        message.contains("4 loads that were given up have not ended"),
        "{message}"
    );
    assert!(
        ask(&repository, "e").await.is_ok(),
        "what is served goes on"
    );
    gates.clear();
    while repository.load("e", None, false).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn model_whose_files_change_while_it_is_loaded_is_refused() {
    let fakes = Fakes::new(&[("a", "a", "1")]);
    let repository = fakes
        .start(RepositoryConfig::default())
        .await
        .expect("a model");
    let before = repository.catalog();
    fakes.write("a", "a", "1", "fickle");
    let error = repository.load("a", None, false).await.expect_err("which?");
    let message = told(&error);
    assert!(
        message.ends_with("its files changed while it was loaded; try again"),
        "{message}"
    );
    assert_eq!(repository.catalog(), before);
    repository.load("a", None, false).await.expect("settled");
    assert_ne!(repository.catalog(), before);
}

#[tokio::test(start_paused = true)]
async fn model_whose_files_change_while_it_comes_back_is_refused() {
    let fakes = Fakes::new(&[]);
    fakes.write("a", "a", "1", "settled");
    let repository = fakes
        .start(RepositoryConfig::default())
        .await
        .expect("a model");
    repository.unload_idle(Duration::ZERO);
    let gate = fakes.hold("a");
    let waiting = asking(&repository, "a");
    fakes.until_opened("a", 2).await;
    fakes.write("a", "a", "1", "others");
    drop(gate);
    let fault = waiting.await.expect("no panic").expect_err("it changed");
    assert!(
        fault.message.contains("changed while it was loaded"),
        "{}",
        fault.message
    );
}

#[tokio::test]
async fn nothing_is_counted_of_models_that_are_gone() {
    let fakes = Fakes::new(&[("a", "a", "1"), ("b", "b", "1")]);
    let repository = fakes
        .start(RepositoryConfig::default())
        .await
        .expect("models");
    let counts = |model: &str| fakes.metrics().contains(&format!("model={model:?}"));
    repository.unload_idle(Duration::ZERO);
    assert!(counts("a"), "it comes back");
    repository.unload("a", None).expect("served");
    assert!(!counts("a") && counts("b"));

    fakes.write("c", "c", "1", "bad");
    repository.load("c", None, false).await.expect_err("bad");
    assert!(!counts("c"), "it was never served");
    repository.load("a", None, false).await.expect("a model");
    assert!(counts("a"));
}
