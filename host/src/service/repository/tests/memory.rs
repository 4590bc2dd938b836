//! What models take, and how much that may be.

use super::*;

const MIB: u64 = 1 << 20;

fn at_most(mib: u64) -> RepositoryConfig {
    RepositoryConfig {
        max_memory_bytes: Some(mib * MIB),
        ..RepositoryConfig::default()
    }
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

/// Memory that was freed is taken again, and the process grows by nothing.
#[tokio::test]
async fn model_that_comes_back_takes_what_it_took_before() {
    let fakes = Fakes::new(&[("a", "a", "1")]);
    fakes.resident_will_be([10 * MIB, 15 * MIB]);
    let repository = fakes
        .start(RepositoryConfig::default())
        .await
        .expect("a model");
    let takes = || repository.status()[0].memory_bytes;
    assert_eq!(takes(), Some(5 * MIB));

    repository.unload_idle(Duration::ZERO);
    assert_eq!(takes(), None);
    fakes.resident_will_be([15 * MIB, 15 * MIB]);
    ask(&repository, "a").await.expect("it comes back");
    assert_eq!(takes(), Some(5 * MIB));

    // The same files by an operator's command, then others: those are another model.
    fakes.resident_will_be([15 * MIB, 16 * MIB]);
    repository.load("a", None, false).await.expect("a model");
    assert_eq!(takes(), Some(5 * MIB));
    fakes.write("a", "a", "1", "others");
    fakes.resident_will_be([15 * MIB, 16 * MIB]);
    repository.load("a", None, false).await.expect("a model");
    assert_eq!(takes(), Some(MIB));
}

#[tokio::test]
async fn model_that_takes_more_than_the_limit_by_itself_is_refused_with_both() {
    let fakes = Fakes::new(&[("a", "a", "1")]);
    let refused = |error: ChangeError| {
        let source = std::error::Error::source(&error).expect("a reason");
        let message = source.to_string();
        for part in ["it takes 3 MiB", "models.max_memory_mib is 2"] {
            assert!(message.contains(part), "{message}");
        }
    };
    // As measured.
    fakes.resident_will_be([0, 2 * MIB + 1]);
    refused(fakes.start(at_most(2)).await.expect_err("too large"));

    let repository = fakes.start(at_most(2)).await.expect("it fits now");
    // By its weights, before it is opened.
    let weights = "w".repeat((2 * MIB + 1) as usize);
    fakes.write("a/2", "a", "2", &weights);
    refused(repository.load("a", None, false).await.expect_err("large"));
    assert_eq!(fakes.opened("a/2"), 0);
    assert_eq!(served(&repository), pairs(&[("a", "1")]));
    assert!(ask(&repository, "a").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_to_come_back_for_a_model_that_never_fits() {
    let fakes = Fakes::new(&[("a", "a", "1")]);
    let repository = fakes.start(at_most(2)).await.expect("it fits");
    repository.unload_idle(Duration::ZERO);
    fakes.resident_will_be([0, 2 * MIB + 1]);
    for _ in 0..2 {
        let fault = ask(&repository, "a").await.expect_err("it grew");
        assert_eq!(
            (fault.code, fault.retry_after_ms),
            (FaultCode::ModelFailed, None)
        );
        let part = "model a is not loaded: it takes 3 MiB, and models.max_memory_mib is 2";
        assert!(fault.message.contains(part), "{}", fault.message);
    }
    assert_eq!(fakes.opened("a"), 2, "it is not tried again at once");
    // What was measured once may have been another's: it is tried again.
    tokio::time::advance(Duration::from_secs(10)).await;
    assert!(ask(&repository, "a").await.is_ok());
}
