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
use brink_host::telemetry::{
    Endpoint, Received, Telemetry, TelemetryConfig, Trace, TraceMetrics, Trust,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::Full;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use crate::support::{Gate, Host, Setup, count, read};

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

/// The `traceparent` that an upstream gets when the guest's own request has this trace.
async fn parent_at_the_upstream(trace: Option<Trace>) -> String {
    let seen = |headers: HeaderMap| async move {
        let parents = headers.get_all("traceparent").iter();
        let parents: Vec<_> = parents.map(|parent| parent.to_str().unwrap()).collect();
        parents.join(" ")
    };
    let setup = Setup {
        component: "allowed_outbound_hosts = ['http://model.internal']",
        upstreams: vec![LocalUpstream::new(
            "model.internal",
            Router::new().route("/", get(seen)),
        )],
        ..Setup::default()
    };
    let host = setup.build().await;
    let mut request = Request::get("/outbound?url=http://model.internal/")
        .header("host", "edge.test")
        .body(Full::<Bytes>::default())
        .unwrap();
    if let Some(trace) = trace {
        request.extensions_mut().insert(trace);
    }
    read(host.send(request).await.unwrap()).await.1
}

#[tokio::test]
async fn upstreams_are_told_the_span_that_asks_them() {
    assert_eq!(parent_at_the_upstream(None).await, "", "traces are off");
    let config = TelemetryConfig {
        endpoint: Endpoint::parse("http://127.0.0.1:9"),
        ..TelemetryConfig::default()
    };
    let metrics = TraceMetrics::register(&mut Registry::default());
    let telemetry = Telemetry::start(&config, metrics).unwrap();
    let Received::Sampled(span) = telemetry.receive(&HeaderMap::new(), Trust::Nobody) else {
        panic!("all are recorded");
    };
    let parent = parent_at_the_upstream(Some(span.trace())).await;
    assert!(
        parent.starts_with(&format!("00-{}-", span.trace_id())),
        "{parent}"
    );
    assert!(parent.ends_with("-01") && parent.len() == 55, "{parent}");

    let mut theirs = HeaderMap::new();
    let unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    theirs.insert("traceparent", HeaderValue::from_static(unsampled));
    let Received::Unsampled(trace) = telemetry.receive(&theirs, Trust::Parent) else {
        panic!("its sender decides");
    };
    assert_eq!(parent_at_the_upstream(Some(trace)).await, unsampled);
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
