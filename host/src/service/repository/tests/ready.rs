//! Whether models can run, one by one and together.

use super::*;

#[tokio::test(start_paused = true)]
async fn host_is_ready_as_long_as_one_model_is() {
    let fakes = Fakes::new(&[("a", "a", "1"), ("b", "b", "1")]);
    let repository = fakes
        .start(RepositoryConfig::default())
        .await
        .expect("models");
    let ready = || {
        let catalog = repository.catalog();
        let models = catalog.models.iter().map(|model| catalog.is_ready(model));
        (repository.is_ready(), models.collect::<Vec<_>>())
    };
    repository.unload_idle(Duration::ZERO);
    assert_eq!(ready(), (true, vec![true, true]), "loaded when asked for");

    fakes.write("a", "a", "1", "others");
    ask(&repository, "a").await.expect_err("its files changed");
    assert_eq!(ready(), (true, vec![false, true]));
    fakes.write("b", "b", "1", "others");
    ask(&repository, "b").await.expect_err("its files changed");
    assert_eq!(ready(), (false, vec![false, false]));
    // It may be mended by now: somebody has to ask.
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(ready(), (true, vec![true, true]));
}

#[tokio::test]
async fn host_without_a_model_is_not_ready() {
    let fakes = Fakes::new(&[("a", "a", "1")]);
    let repository = fakes
        .start(RepositoryConfig::default())
        .await
        .expect("a model");
    repository.unload("a", None).expect("served");
    assert!(!repository.is_ready());
}
