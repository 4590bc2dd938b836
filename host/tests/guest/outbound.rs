//! Where requests of guests may go, and how they get there.

use std::{
    convert::Infallible,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, routing::get};
use brink_host::guest::{GuestConfig, LocalUpstream, OutboundConfig};
use http::StatusCode;
use http_body_util::Full;
use tokio::net::TcpListener;

use crate::support::{Gate, Host, Setup, count};

/// A router that counts the requests it gets.
fn counting() -> (Router, Arc<AtomicU64>) {
    let asked = Arc::new(AtomicU64::new(0));
    let counter = asked.clone();
    let answer = move || {
        counter.fetch_add(1, Ordering::Relaxed);
        std::future::ready("from the upstream")
    };
    (Router::new().route("/", get(answer)), asked)
}

#[tokio::test]
async fn a_local_upstream_answers_without_a_socket() {
    let (router, asked) = counting();
    let setup = Setup {
        component: "allowed_outbound_hosts = ['http://model.internal']",
        upstreams: vec![LocalUpstream::new("model.internal", router)],
        ..Setup::default()
    };
    let host = setup.build().await;
    let (status, text) = host.text("/outbound?url=http://model.internal/").await;
    assert_eq!(
        (status, text.as_str()),
        (StatusCode::OK, "from the upstream")
    );
    assert_eq!(count(&asked), 1);
}

#[tokio::test]
async fn what_the_manifest_does_not_allow_is_denied() {
    let (router, asked) = counting();
    let setup = Setup {
        component: "allowed_outbound_hosts = ['http://other.internal']",
        upstreams: vec![LocalUpstream::new("model.internal", router)],
        ..Setup::default()
    };
    let host = setup.build().await;
    let (status, text) = host.text("/outbound?url=http://model.internal/").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(text.contains("HttpRequestDenied"), "{text}");
    assert_eq!(count(&asked), 0);
}

#[tokio::test]
async fn other_hosts_are_reached_over_tcp() {
    let (router, asked) = counting();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async { axum::serve(listener, router).await });
    let setup = Setup {
        component: "allowed_outbound_hosts = ['http://127.0.0.1:*']",
        ..Setup::default()
    };
    let host = setup.build().await;
    for _ in 0..2 {
        let (_, text) = host.text(&format!("/outbound?url=http://{address}/")).await;
        assert_eq!(text, "from the upstream");
    }
    assert_eq!(count(&asked), 2);
    server.abort();
}

#[tokio::test]
async fn an_upstream_that_is_gone_or_silent_is_an_error_in_time() {
    let gate = Gate::new();
    let mut setup = Setup {
        component: "allowed_outbound_hosts = ['http://gate.internal', 'http://127.0.0.1:*']",
        upstreams: vec![gate.upstream()],
        ..Setup::default()
    };
    let outbound = OutboundConfig {
        first_byte_timeout: Duration::from_millis(200),
        ..OutboundConfig::default()
    };
    setup.config = GuestConfig {
        outbound,
        ..setup.config
    };
    let host = setup.build().await;
    let (_, text) = host.text("/outbound?url=http://gate.internal/").await;
    assert!(text.contains("HttpResponseTimeout"), "{text}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (_, text) = host.text(&format!("/outbound?url=http://{address}/")).await;
    assert!(text.contains("ConnectionRefused"), "{text}");
}

#[tokio::test]
async fn components_reach_each_other_and_the_application_in_process() {
    let setup = Setup {
        component: "allowed_outbound_hosts = ['http://*.spin.internal', 'http://self']",
        tables: r#"
            [[trigger.http]]
            route = { private = true }
            component = "other"
            [component.other]
            source = "SOURCE"
        "#,
        ..Setup::default()
    };
    let host = setup.build().await;
    for url in ["http://other.spin.internal/hello", "http://self.alt/hello"] {
        let (status, text) = host.text(&format!("/outbound?url={url}")).await;
        assert_eq!((status, text.as_str()), (StatusCode::OK, "hello"), "{url}");
    }
    let (_, text) = host
        .text("/outbound?url=http://missing.spin.internal/")
        .await;
    assert!(text.contains("DestinationNotFound"), "{text}");
}

/// Wasmtime panics when a guest is polled inside another one; the host must not.
#[tokio::test]
async fn a_guest_that_is_polled_inside_another_one_is_an_error() {
    static HOST: OnceLock<Host> = OnceLock::new();
    let inner = tower::service_fn(|_| async {
        let error = HOST.get().unwrap().call("/hello").await.err();
        let text = error.map_or("answered".to_owned(), |error| error.to_string());
        Ok::<_, Infallible>(http::Response::new(Full::<bytes::Bytes>::from(text)))
    });
    let setup = Setup {
        component: "allowed_outbound_hosts = ['http://inner.internal']",
        upstreams: vec![LocalUpstream::new("inner.internal", inner)],
        ..Setup::default()
    };
    let host = setup.build().await;
    let host = HOST.get_or_init(|| host);
    let (_, text) = host.text("/outbound?url=http://inner.internal/").await;
    assert_eq!(text, "a guest cannot run inside another guest's task");
    host.says_hello().await;
}

/// A component that calls itself for ever is stopped by the number of instances.
#[tokio::test]
async fn endless_chaining_ends_when_all_instances_are_busy() {
    let setup = Setup {
        component: "allowed_outbound_hosts = ['http://test.spin.internal']",
        ..Setup::default()
    };
    let host = setup.build().await;
    let url = "http://test.spin.internal/outbound?url=".repeat(65);
    let (status, text) = host.text(&format!("/outbound?url={url}")).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(text.contains("ConnectionLimitReached"), "{text}");
    host.settle().await;
    host.says_hello().await;
}
