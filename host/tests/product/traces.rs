//! A request's trace as a collector sees it, from the edge to the model and back.

use std::collections::BTreeSet;

use brink_host::application::start;
use bytes::Bytes;
use http::Request;
use serde_json::json;

use crate::collector::{Collector, Told};
use crate::support::{Client, MODEL, Product, files};

const TEXT: &str = "a text that nobody else may read";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

async fn traced(set: &[&str]) -> (Collector, Product) {
    let collector = Collector::start().await;
    let endpoint = format!("telemetry.otlp_endpoint={}", collector.endpoint());
    let mut all = vec![endpoint.as_str()];
    all.extend(set);
    let product = Product::with(None, &[], &all).await;
    (collector, product)
}

/// With the `traceparent` of a recorded trace.
fn embedding(path: &str) -> Request<Bytes> {
    let body = json!({"model": MODEL, "input": TEXT}).to_string();
    let request = Request::post(path)
        .header("x-request-id", "seven")
        .header("traceparent", format!("00-{TRACE}-{SPAN}-01"));
    request.body(body.into()).unwrap()
}

/// Stops the product, which sends all that is left: work after an answer, too.
async fn stop(product: Product) {
    assert_eq!(product.0.shut_down().await.unwrap(), 0);
}

fn names(spans: &[Told]) -> BTreeSet<&str> {
    spans.iter().map(|span| &*span.name).collect()
}

fn check_times(spans: &[Told]) {
    for span in spans {
        assert!(span.began <= span.ended, "{span:?}");
        let parent = spans.iter().find(|parent| parent.id == span.parent);
        assert!(
            parent.is_none_or(|parent| parent.began <= span.began),
            "{span:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miss_is_one_trace_and_its_batch_is_linked() {
    let (collector, product) = traced(&["telemetry.service_name=edge-1"]).await;
    let mut client = product.client().await;
    let reply = client
        .request(embedding("/v1/embeddings?key=secret"))
        .await
        .unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    drop(client);
    stop(product).await;

    check_times(&collector.spans());
    check_places(&collector);
    check_links(&collector);
    check_attributes(&collector);
}

fn check_places(collector: &Collector) {
    for (span, parent) in [
        ("response", "POST /v1/embeddings"),
        ("fast door", "POST /v1/embeddings"),
        ("component", "POST /v1/embeddings"),
        ("POST", "component"),
        ("infer", "POST"),
        ("queue", "infer"),
        ("model", "infer"),
        ("key-value write", "component"),
    ] {
        let (span, parent) = (collector.span(span), collector.span(parent));
        assert_eq!(
            span.parent, parent.id,
            "{} below {}",
            span.name, parent.name
        );
    }
    let spans = collector.spans();
    for name in ["fast door", "component"] {
        let place = collector.span(name).id;
        let mut reads = spans.iter().filter(|span| span.name == "key-value read");
        assert!(
            reads.any(|read| read.parent == place),
            "{name} reads: {spans:#?}"
        );
    }
}

fn check_links(collector: &Collector) {
    let (root, batch) = (
        collector.span("POST /v1/embeddings"),
        collector.span("batch"),
    );
    for span in collector.spans() {
        let own = span.name == "batch";
        assert_eq!(span.trace == root.trace, !own, "{span:?}");
    }
    let model = collector.span("model");
    assert_eq!(
        (&batch.links, &model.links),
        (&vec![model.id], &vec![batch.id])
    );
    assert_eq!(batch.parent, "");
    assert_eq!(
        root.links,
        [SPAN],
        "the client's own trace, which is not trusted"
    );
    assert_ne!(root.trace, TRACE);
}

fn check_attributes(collector: &Collector) {
    for span in collector.spans() {
        assert!(!span.failed && span.service == "edge-1", "{span:?}");
        let shown = format!("{span:?}");
        let secrets = [TEXT, "secret", "default"];
        assert!(
            !secrets.iter().any(|secret| shown.contains(secret)),
            "{shown}"
        );
    }
    let batch = collector.span("batch").attributes;
    assert_eq!(
        (&*batch["brink.model"], &*batch["brink.device"]),
        (MODEL, "cpu")
    );
    let root = collector.span("POST /v1/embeddings").attributes;
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/v1/embeddings"),
        ("url.path", "/v1/embeddings"),
        ("http.response.status_code", "200"),
        ("brink.items", "1"),
        ("brink.items.miss", "1"),
        ("brink.request_id", "seven"),
    ] {
        assert_eq!(root[name], value, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hit_is_a_look_up_and_no_more() {
    let (collector, product) = traced(&[]).await;
    let mut client = product.client().await;
    client.embed(TEXT).await;
    let hit = loop {
        let reply = client.embed(TEXT).await;
        // Until the result of the first is stored.
        if reply.header("brink-items") == "hit=1" {
            break reply;
        }
    };
    assert_eq!(hit.status, 200);
    drop(client);
    stop(product).await;

    let spans = collector.spans();
    let is_root = |span: &&Told| span.attributes.contains_key("brink.items.hit");
    let root = spans.iter().find(is_root).unwrap();
    let mut trace = spans.clone();
    trace.retain(|span| span.trace == root.trace);
    let expected = [
        "POST /v1/embeddings",
        "fast door",
        "key-value read",
        "response",
    ];
    assert_eq!(names(&trace), expected.into());
    assert_eq!(trace.len(), expected.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_parent_is_continued() {
    let (collector, product) =
        traced(&["telemetry.trust_parent=always", "telemetry.sample_ratio=0"]).await;
    let mut client = product.client().await;
    client.request(embedding("/v1/embeddings")).await.unwrap();
    client.embed("another one, which is not recorded").await;
    drop(client);
    stop(product).await;
    let root = collector.span("POST /v1/embeddings");
    assert_eq!((root.trace.as_str(), root.parent.as_str()), (TRACE, SPAN));
    assert!(root.links.is_empty());
    let infer = collector.span("infer");
    assert_eq!(infer.trace, TRACE);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inference_listener_continues_the_traces_of_edges() {
    let collector = Collector::start().await;
    let mut settings = Product::settings(&["server.inference_listen=127.0.0.1:0"]);
    settings.telemetry.endpoint = brink_host::telemetry::Endpoint::parse(&collector.endpoint());
    let host = start(settings, &files(), None).await.unwrap();
    let mut client = Client::connect(host.address).await;
    let request = Request::get("/brink/v1/catalog")
        .header("traceparent", format!("00-{TRACE}-{SPAN}-01"))
        .body(Bytes::new());
    assert_eq!(client.request(request.unwrap()).await.unwrap().status, 200);
    drop(client);
    assert_eq!(host.shut_down().await.unwrap(), 0);
    let root = collector.span("GET /brink/v1/catalog");
    assert_eq!((root.trace.as_str(), root.parent.as_str()), (TRACE, SPAN));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_of_requests_that_are_not_recorded() {
    let (collector, product) = traced(&["telemetry.sample_ratio=0"]).await;
    let mut client = product.client().await;
    let reply = client.request(embedding("/v1/embeddings")).await.unwrap();
    assert_eq!(reply.status, 200);
    drop(client);
    stop(product).await;
    assert_eq!(names(&collector.spans()), BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_do_not_notice_that_the_collector_is_away() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!(
        "telemetry.otlp_endpoint=http://{}",
        listener.local_addr().unwrap()
    );
    drop(listener);
    let product = Product::with(None, &[], &[&endpoint, "telemetry.export_timeout_ms=50"]).await;
    let mut client = product.client().await;
    for number in 0..3 {
        let reply = client.embed(format!("text {number}")).await;
        assert_eq!(reply.status, 200);
    }
    product.0.flush_traces().await;
    let dropped = r#"brink_trace_spans_dropped_total{reason="export-failed"}"#;
    assert!(product.metric(dropped).await > 0.0);
    assert_eq!(
        product.metric("brink_trace_spans_exported_total").await,
        0.0
    );
}
