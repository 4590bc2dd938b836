//! The synchronous door: what it answers, and that a door that misbehaves costs no request.

use std::convert::Infallible;
use std::future::ready;
use std::sync::{Arc, Mutex};

use brink_host::guest::{FastDoorConfig, GuestBody, GuestConfig, LocalUpstream};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};

use crate::support::{ChunkSender, Gate, Host, Setup, chunks, count, next_chunk, read, send_chunk};

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
        "no-call",
        "call-twice",
        "resume-trap",
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

/// Asks for a call to `url` and tells what became of it.
async fn called(host: &Host, url: &'static str) -> (StatusCode, String) {
    let request = Request::post("/door/call").body(Full::new(Bytes::from(url)));
    let response = host.send(request.unwrap()).await.unwrap();
    assert_eq!(response.headers()["x-door"], "resumed");
    read(response).await
}

#[tokio::test]
async fn a_call_is_made_by_the_host_and_its_result_given_to_the_door() {
    let setup = Setup {
        component: "allowed_outbound_hosts = ['http://self']",
        ..Setup::default()
    };
    let host = setup.build().await;
    let (status, told) = called(&host, "http://self/echo").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(told, "http://self/echo|asked|200|asked");
    let (_, told) = called(&host, "http://self/trap").await;
    assert_eq!(told, "http://self/trap|asked|unreachable|");
    let stats = host.stats();
    assert_eq!(count(&stats.door_resumed), 2);
    assert_eq!(count(&stats.door_answered), 0);
    // Those that were called, and no others.
    assert_eq!(count(&stats.requests), 2);
}

#[tokio::test]
async fn a_call_goes_only_where_the_component_may_go() {
    let host = host().await;
    let (_, told) = called(&host, "http://self/echo").await;
    assert_eq!(told, "http://self/echo|asked|unreachable|");
    assert_eq!(count(&host.stats().requests), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_in_time_is_told_so() {
    let never = LocalUpstream::new(
        "gate.internal",
        tower::service_fn(|_| async {
            std::future::pending::<Result<http::Response<Full<Bytes>>, std::convert::Infallible>>()
                .await
        }),
    );
    let setup = Setup {
        upstreams: vec![never],
        ..Setup::default()
    };
    let host = setup.build().await;
    let (_, told) = called(&host, "http://gate.internal/").await;
    assert_eq!(told, "http://gate.internal/|asked|timeout|");
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_told_so() {
    let large = LocalUpstream::new(
        "gate.internal",
        tower::service_fn(|_| async {
            let body = Full::new(Bytes::from(vec![0; (17 << 20) + 1]));
            Ok::<_, std::convert::Infallible>(http::Response::new(body))
        }),
    );
    let setup = Setup {
        upstreams: vec![large],
        ..Setup::default()
    };
    let host = setup.build().await;
    let (_, told) = called(&host, "http://gate.internal/").await;
    assert_eq!(told, "http://gate.internal/|asked|too-large|");
}

#[tokio::test]
async fn a_door_that_does_not_go_on_leaves_the_request_to_the_other_one() {
    let setup = Setup {
        component: "allowed_outbound_hosts = ['http://self']",
        ..Setup::default()
    };
    let host = setup.build().await;
    assert_eq!(host.text("/door/resume-passes").await, http());
    assert_eq!(
        count(&host.stats().door_passed),
        2,
        "of /hello, and of this"
    );
    assert_eq!(count(&host.stats().door_failed), 0);
}

/// A request that waits for a call holds no instance: many more can wait than there are instances.
#[tokio::test]
async fn requests_that_wait_hold_no_instance() {
    let gate = Gate::new();
    let config = GuestConfig {
        max_instances: 1,
        max_background: 1,
        ..Setup::default().config
    };
    let setup = Setup {
        config,
        upstreams: vec![gate.upstream()],
        ..Setup::default()
    };
    let host = setup.build().await;
    let waiting = (0..100).map(|_| called(&host, "http://gate.internal/"));
    let waiting = futures_util::future::join_all(waiting);
    let after = async {
        for _ in 0..100 {
            gate.arrival().await;
        }
        host.says_hello().await;
        (0..100).for_each(|_| gate.open());
    };
    let (answers, ()) = futures_util::future::join(waiting, after).await;
    assert!(answers.iter().all(|(status, _)| *status == StatusCode::OK));
    assert_eq!(count(&host.stats().door_resumed), 100);
}

/// `http://stream.internal`: answers with a body whose pieces the test sends.
struct Upstream {
    sender: ChunkSender,
    host: Host,
}

impl Upstream {
    async fn new(status: StatusCode) -> Self {
        let (sender, body) = chunks();
        let body = Arc::new(Mutex::new(Some(body.boxed_unsync())));
        let answer = move |_| {
            let body = body.lock().unwrap().take();
            let mut response = http::Response::new(body.expect("one call"));
            *response.status_mut() = status;
            ready(Ok::<_, Infallible>(response))
        };
        let setup = Setup {
            component: "allowed_outbound_hosts = ['http://stream.internal']",
            upstreams: vec![LocalUpstream::new(
                "stream.internal",
                tower::service_fn(answer),
            )],
            ..Setup::default()
        };
        let host = setup.build().await;
        Self { sender, host }
    }

    async fn ask(&self, path: &'static str) -> http::Response<GuestBody> {
        let request = Request::post(path).body(Full::new(Bytes::from("http://stream.internal/")));
        self.host.send(request.unwrap()).await.unwrap()
    }
}

#[tokio::test]
async fn an_answer_is_passed_on_piece_by_piece_without_an_instance() {
    let upstream = Upstream::new(StatusCode::OK).await;
    let response = upstream.ask("/door/stream").await;
    assert_eq!(response.headers()["x-door"], "streamed");
    let mut body = response.into_body();
    for piece in ["a", "b"] {
        send_chunk(&upstream.sender, piece.as_bytes()).await;
        let passed = next_chunk(&mut body).await.unwrap().unwrap();
        assert_eq!(passed, format!("[{piece}]"));
    }
    // What is there together is one piece.
    send_chunk(&upstream.sender, b"c").await;
    send_chunk(&upstream.sender, b"d").await;
    assert_eq!(next_chunk(&mut body).await.unwrap().unwrap(), "[cd]");
    let Upstream { sender, host } = upstream;
    drop(sender);
    assert_eq!(next_chunk(&mut body).await.unwrap().unwrap(), "3 pieces");
    assert!(next_chunk(&mut body).await.is_none());
    let stats = host.stats();
    assert_eq!(count(&stats.door_streamed), 1);
    assert_eq!(count(&stats.door_failed), 0);
    assert_eq!(count(&stats.requests), 0, "no instance waited");
}

#[tokio::test]
async fn an_answer_that_is_no_success_is_given_to_the_door_whole() {
    let upstream = Upstream::new(StatusCode::BAD_REQUEST).await;
    send_chunk(&upstream.sender, b"why").await;
    let Upstream { sender, host } = upstream;
    drop(sender);
    let request =
        Request::post("/door/stream").body(Full::new(Bytes::from("http://stream.internal/")));
    let response = host.send(request.unwrap()).await.unwrap();
    assert_eq!(response.headers()["x-door"], "resumed");
    assert_eq!(read(response).await, (StatusCode::OK, "400".into()));
}

#[tokio::test]
async fn a_door_that_traps_or_gives_up_breaks_its_own_answer_off_and_no_other() {
    for end in ["trap", "end"] {
        let upstream = Upstream::new(StatusCode::OK).await;
        let mut body = upstream.ask("/door/stream-trap").await.into_body();
        send_chunk(&upstream.sender, end.as_bytes()).await;
        assert!(next_chunk(&mut body).await.unwrap().is_err(), "{end}");
        assert!(next_chunk(&mut body).await.is_none());
        let request = Request::post("/door/echo").body(Full::new(Bytes::new()));
        let response = upstream.host.send(request.unwrap()).await.unwrap();
        assert_eq!(response.headers()["x-door"], "fast");
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_call() {
    let upstream = Upstream::new(StatusCode::OK).await;
    let response = upstream.ask("/door/stream").await;
    assert!(!upstream.sender.is_closed());
    drop(response);
    assert!(upstream.sender.is_closed());
}
