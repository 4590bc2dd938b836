//! The synchronous door: what it answers, and that a door that misbehaves costs no request.

use brink_host::guest::{FastDoorConfig, GuestConfig};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;

use crate::support::{Host, Setup, chunks, count, read, send_chunk};

async fn host() -> Host {
    Setup::default().build().await
}

/// The other door's answer to everything below `/door/`.
fn http() -> (StatusCode, String) {
    (StatusCode::OK, "http".into())
}

#[tokio::test]
async fn a_plain_hit_is_answered_at_the_door() {
    let host = host().await;
    let request = Request::post("/door/echo")
        .header("x-a", "1")
        .header("spin-client-addr", "forged")
        .body(Full::new(Bytes::from("body")))
        .unwrap();
    let response = host.send(request).await.unwrap();
    assert_eq!(response.headers()["x-door"], "fast");
    let expected = "POST /door/echo\nx-a: 1|body";
    assert_eq!(read(response).await, (StatusCode::OK, expected.into()));
    assert_eq!(count(&host.stats().door_answered), 1);
    assert_eq!(
        count(&host.stats().requests),
        0,
        "no instance of the other door"
    );
}

#[tokio::test]
async fn what_is_no_plain_hit_takes_the_other_way() {
    let host = host().await;
    host.says_hello().await;
    assert_eq!(count(&host.stats().door_passed), 1);
    assert_eq!(count(&host.stats().requests), 1);
}

#[tokio::test]
async fn a_body_above_the_bound_or_with_trailers_is_not_shown_to_the_door() {
    let config = GuestConfig {
        read_ahead_bytes: 8,
        ..Setup::default().config
    };
    let setup = Setup {
        config,
        ..Setup::default()
    };
    let host = setup.build().await;
    let (sender, body) = chunks();
    send_chunk(&sender, b"more than 8 bytes").await;
    let request = Request::post("/door/echo").body(body).unwrap();
    let response = host.send(request).await.unwrap();
    drop(sender);
    assert_eq!(read(response).await, http());
    assert_eq!(count(&host.stats().door_passed), 0);
}

#[tokio::test]
async fn a_door_that_fails_costs_no_request() {
    for behaviour in [
        "loop",
        "hog",
        "trap",
        "foreign-import",
        "no-head",
        "wrong-length",
        "split-response",
    ] {
        let host = host().await;
        let path = format!("/door/{behaviour}");
        assert_eq!(host.text(&path).await, http(), "{behaviour}");
        assert_eq!(count(&host.stats().door_failed), 1, "{behaviour}");
        let (_, echoed) = host.text("/door/echo").await;
        assert!(
            echoed.starts_with("GET /door/echo"),
            "a new instance answers"
        );
    }
}

#[tokio::test]
async fn a_door_that_keeps_failing_is_left_alone() {
    let host = host().await;
    for _ in 0..3 {
        assert_eq!(host.text("/door/trap").await, http());
    }
    assert_eq!(host.text("/door/echo").await, http());
    assert_eq!(count(&host.stats().door_failed), 3);
    assert_eq!(count(&host.stats().door_skipped), 1);
}

#[tokio::test]
async fn the_door_can_be_switched_off() {
    let config = GuestConfig {
        fast_door: FastDoorConfig {
            enabled: false,
            ..FastDoorConfig::default()
        },
        ..Setup::default().config
    };
    let setup = Setup {
        config,
        ..Setup::default()
    };
    let host = setup.build().await;
    assert_eq!(host.text("/door/echo").await, http());
}
