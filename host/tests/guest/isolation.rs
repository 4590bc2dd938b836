//! Whatever one guest does, only its own request notices.

use std::time::Duration;

use brink_host::guest::{GuestConfig, GuestError};
use tokio::time::Instant;

use crate::support::{Gate, Host, Setup, count, next_chunk};

fn config() -> GuestConfig {
    Setup::default().config
}

async fn host_with(config: GuestConfig) -> (Host, Gate) {
    let gate = Gate::new();
    let setup = Setup {
        config,
        upstreams: vec![gate.upstream()],
        ..Setup::default()
    };
    (setup.build().await, gate)
}

/// Two loops on two threads: without yields, both threads would be gone for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_loop_is_stopped_and_others_are_served_meanwhile() {
    let request_timeout = Duration::from_secs(5);
    let (host, _gate) = host_with(GuestConfig {
        request_timeout,
        ..config()
    })
    .await;
    host.says_hello().await;
    let spawn_loop = || {
        let host = host.clone();
        tokio::spawn(async move { host.call("/loop").await.err() })
    };
    let loops = [spawn_loop(), spawn_loop()];
    let hellos: Vec<_> = (0..20)
        .map(|_| {
            let host = host.clone();
            tokio::spawn(async move { host.says_hello().await })
        })
        .collect();
    for hello in hellos {
        hello.await.unwrap();
    }
    assert!(
        loops.iter().all(|task| !task.is_finished()),
        "served meanwhile"
    );
    for task in loops {
        let error = task.await.unwrap();
        assert!(
            matches!(error, Some(GuestError::TimedOut { .. })),
            "{error:?}"
        );
    }
    assert_eq!(count(&host.stats().timed_out), 2);
    host.settle().await;
}

#[tokio::test]
async fn an_endless_loop_is_stopped_when_it_has_computed_long_enough() {
    let (host, _gate) = host_with(GuestConfig {
        max_run: Duration::from_millis(100),
        ..config()
    })
    .await;
    let error = host.call("/loop").await.err();
    assert!(matches!(error, Some(GuestError::Trap { .. })), "{error:?}");
    host.says_hello().await;
}

#[tokio::test]
async fn a_memory_hog_traps_at_its_limit() {
    let (host, _gate) = host_with(config()).await;
    let error = host.call("/hog").await.err();
    assert!(matches!(error, Some(GuestError::Trap { .. })), "{error:?}");
    host.says_hello().await;
}

#[tokio::test]
async fn a_trap_hits_its_own_request_only() {
    let (host, gate) = host_with(config()).await;
    let waiting = {
        let host = host.clone();
        tokio::spawn(async move { host.text("/outbound?url=http://gate.internal/").await })
    };
    gate.arrival().await;
    let error = host.call("/trap").await.err().unwrap();
    assert!(matches!(error, GuestError::Trap { .. }), "{error:?}");
    assert_eq!(error.status(), 500);
    host.says_hello().await;
    gate.open();
    assert_eq!(waiting.await.unwrap().1, "passed");
    assert_eq!(count(&host.stats().trapped), 1);
    assert_eq!(count(&host.stats().discarded), 1);
}

#[tokio::test]
async fn a_trap_after_the_head_breaks_the_body_off() {
    let (host, gate) = host_with(config()).await;
    let path = "/trap-after-head?url=http://gate.internal/";
    let mut body = host.call(path).await.unwrap().into_body();
    let first = next_chunk(&mut body).await.unwrap().unwrap();
    assert_eq!(first, "first");
    gate.open();
    assert!(next_chunk(&mut body).await.unwrap().is_err());
    drop(body);
    host.says_hello().await;
}

#[tokio::test]
async fn one_request_too_many_is_refused_at_once() {
    let (host, gate) = host_with(GuestConfig {
        max_instances: 1,
        max_background: 1,
        ..config()
    })
    .await;
    let waiting = {
        let host = host.clone();
        tokio::spawn(async move { host.text("/outbound?url=http://gate.internal/").await })
    };
    gate.arrival().await;
    let error = host.call("/hello").await.err().unwrap();
    assert!(
        matches!(error, GuestError::Busy { max_instances: 1 }),
        "{error:?}"
    );
    assert_eq!(error.status(), 503);
    assert!(error.retry_after().is_some());
    assert_eq!(count(&host.stats().refused), 1);
    gate.open();
    assert_eq!(waiting.await.unwrap().1, "passed");
    host.settle().await;
    host.says_hello().await;
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_instance() {
    let (host, gate) = host_with(GuestConfig {
        max_instances: 1,
        max_background: 1,
        ..config()
    })
    .await;
    let waiting = {
        let host = host.clone();
        tokio::spawn(async move { host.call("/outbound?url=http://gate.internal/").await.err() })
    };
    gate.arrival().await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    assert_eq!(count(&host.stats().busy), 0);
    host.says_hello().await;
    assert_eq!(count(&host.stats().discarded), 1);
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_a_body_frees_its_instance() {
    let (host, _gate) = host_with(GuestConfig {
        max_instances: 1,
        max_background: 1,
        ..config()
    })
    .await;
    let path = "/trap-after-head?url=http://gate.internal/";
    let mut body = host.call(path).await.unwrap().into_body();
    next_chunk(&mut body).await.unwrap().unwrap();
    drop(body);
    host.says_hello().await;
    assert_eq!(count(&host.stats().trapped), 0, "it never got to its trap");
}

#[tokio::test]
async fn warm_instances_are_reused_until_they_are_used_up() {
    let (host, _gate) = host_with(GuestConfig {
        max_uses: 3,
        ..config()
    })
    .await;
    for _ in 0..6 {
        host.says_hello().await;
        host.settle().await;
    }
    assert_eq!(count(&host.stats().created), 2);
    assert_eq!(count(&host.stats().requests), 6);
}

#[tokio::test]
async fn idle_instances_are_dropped_after_their_time() {
    let (host, _gate) = host_with(GuestConfig {
        idle_timeout: Duration::from_millis(50),
        ..config()
    })
    .await;
    host.says_hello().await;
    host.settle().await;
    let deadline = Instant::now() + crate::support::PATIENCE;
    while count(&host.stats().idle) > 0 {
        assert!(Instant::now() < deadline, "the instance is still there");
        tokio::task::yield_now().await;
    }
    host.says_hello().await;
    assert_eq!(count(&host.stats().created), 2);
}

#[tokio::test]
async fn work_after_the_response_is_finished_and_waited_for() {
    let (host, gate) = host_with(config()).await;
    let path = "/background?url=http://gate.internal/&key=k";
    assert_eq!(host.text(path).await.1, "answered");
    gate.arrival().await;
    assert_eq!(count(&host.stats().background), 1);
    assert!(!host.0.quiesce(Instant::now()).await, "it still runs");
    gate.open();
    host.settle().await;
    assert_eq!(host.text("/kv/get?store=default&key=k").await.1, "done");
}

#[tokio::test]
async fn too_much_work_after_responses_is_cut_off() {
    let (host, gate) = host_with(GuestConfig {
        max_background: 1,
        ..config()
    })
    .await;
    for key in ["a", "b"] {
        let path = format!("/background?url=http://gate.internal/&key={key}");
        assert_eq!(host.text(&path).await.1, "answered");
    }
    assert_eq!(count(&host.stats().background_cut), 1);
    gate.open();
    host.settle().await;
    assert_eq!(host.text("/kv/get?store=default&key=a").await.1, "done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_after_a_response_that_never_ends_is_stopped() {
    let (host, gate) = host_with(GuestConfig {
        background_timeout: Duration::from_millis(300),
        ..config()
    })
    .await;
    let path = "/loop-after-response?url=http://gate.internal/";
    assert_eq!(host.text(path).await.1, "answered");
    gate.open();
    host.settle().await;
    assert_eq!(count(&host.stats().background_cut), 1);
    host.says_hello().await;
}
