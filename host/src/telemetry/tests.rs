use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::testing::Collector;
use super::*;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Traces, and what was counted of them.
struct Bench {
    telemetry: Telemetry,
    registry: Registry,
}

impl Bench {
    fn start(endpoint: &str, change: impl FnOnce(&mut TelemetryConfig)) -> Self {
        let mut registry = Registry::default();
        let metrics = TraceMetrics::register(&mut registry);
        let mut config = TelemetryConfig {
            endpoint: Some(Endpoint::parse(endpoint).unwrap()),
            // Nothing is sent before a flush asks for it.
            export_interval: Duration::from_secs(3600),
            ..TelemetryConfig::default()
        };
        change(&mut config);
        Self {
            telemetry: Telemetry::start(&config, metrics).unwrap(),
            registry,
        }
    }

    fn receive(&self, parent: Option<&str>, trust: Trust) -> Received {
        let mut headers = HeaderMap::new();
        if let Some(parent) = parent {
            headers.insert("traceparent", HeaderValue::from_str(parent).unwrap());
        }
        self.telemetry.receive(&headers, trust)
    }

    fn sampled(&self, parent: Option<&str>, trust: Trust) -> Span {
        match self.receive(parent, trust) {
            Received::Sampled(span) => span,
            other => panic!("{other:?}"),
        }
    }

    fn counted(&self, line: &str) {
        let mut shown = String::new();
        prometheus_client::encoding::text::encode(&mut shown, &self.registry).unwrap();
        assert!(
            shown.lines().any(|shown| shown == line),
            "{line} is not in\n{shown}"
        );
    }
}

fn written(trace: &Trace) -> String {
    let mut headers = HeaderMap::new();
    trace.write(&mut headers);
    headers["traceparent"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn off_is_nothing_at_all() {
    let telemetry = Telemetry::start(
        &TelemetryConfig::default(),
        TraceMetrics::register(&mut Registry::default()),
    );
    let telemetry = telemetry.unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", HeaderValue::from_static(PARENT));
    assert!(matches!(
        telemetry.receive(&headers, Trust::Parent),
        Received::Off
    ));
    telemetry.flush().await;
}

#[tokio::test]
async fn spans_reach_the_collector_with_their_places_and_times() {
    let collector = Collector::start().await;
    let bench = Bench::start(&collector.endpoint(), |_| {});
    let mut request = bench.sampled(None, Trust::Nobody);
    request.rename("POST /v1/embeddings".to_owned());
    request.set("brink.items", 3);
    let mut child = request
        .trace()
        .span("component", SpanKind::Internal)
        .unwrap();
    child.fail("trap");
    child.end();
    request.end();
    bench.telemetry.flush().await;

    let (request, child) = (
        collector.span("POST /v1/embeddings"),
        collector.span("component"),
    );
    assert_eq!(
        (&request.parent, &child.parent),
        (&String::new(), &request.id)
    );
    assert_eq!(request.trace, child.trace);
    assert_eq!((request.failed, child.failed), (false, true));
    assert_eq!(request.service, "brink");
    assert_eq!(request.attributes["brink.items"], "3");
    assert_eq!(child.attributes["error.type"], "trap");
    assert!(request.began <= child.began && child.began <= child.ended);
    assert!(child.ended <= request.ended);
    bench.counted("brink_trace_spans_exported_total 2");
}

#[tokio::test]
async fn a_span_that_is_dropped_was_cancelled() {
    let collector = Collector::start().await;
    let bench = Bench::start(&collector.endpoint(), |_| {});
    drop(bench.sampled(None, Trust::Nobody));
    bench.telemetry.flush().await;
    let span = collector.span("request");
    assert!(span.failed);
    assert_eq!(span.attributes["error.type"], "cancelled");
}

#[tokio::test]
async fn a_trusted_parent_is_continued_and_decides() {
    let collector = Collector::start().await;
    let bench = Bench::start(&collector.endpoint(), |config| config.sample_ratio = 0.0);
    bench.sampled(Some(PARENT), Trust::Parent).end();
    let unsampled = PARENT.replace("-01", "-00");
    match bench.receive(Some(&unsampled), Trust::Parent) {
        Received::Unsampled(trace) => assert_eq!(written(&trace), unsampled, "it is passed on"),
        other => panic!("{other:?}"),
    }
    bench.telemetry.flush().await;
    let span = collector.span("request");
    assert_eq!(span.trace, &PARENT[3..35]);
    assert_eq!(span.parent, &PARENT[36..52]);
    assert!(span.links.is_empty());
}

#[tokio::test]
async fn nobody_else_decides_what_is_recorded() {
    let collector = Collector::start().await;
    let bench = Bench::start(&collector.endpoint(), |config| config.sample_ratio = 0.0);
    match bench.receive(Some(PARENT), Trust::Nobody) {
        Received::Unsampled(trace) => {
            let written = written(&trace);
            assert!(
                written.ends_with("-00") && !written.contains(&PARENT[3..35]),
                "{written}"
            );
            assert!(trace.span("child", SpanKind::Internal).is_none());
        }
        other => panic!("{other:?}"),
    }
    let bench = Bench::start(&collector.endpoint(), |_| {});
    bench.sampled(Some(PARENT), Trust::Nobody).end();
    bench.telemetry.flush().await;
    let span = collector.span("request");
    assert_ne!(span.trace, &PARENT[3..35]);
    assert_eq!(span.links, [&PARENT[36..52]], "theirs can be found");
}

#[tokio::test]
async fn about_the_asked_share_is_recorded() {
    let bench = Bench::start("http://127.0.0.1:9", |config| config.sample_ratio = 0.25);
    let sampled = (0..4000)
        .filter(|_| !matches!(bench.receive(None, Trust::Nobody), Received::Unsampled(_)))
        .count();
    assert!((800..1200).contains(&sampled), "{sampled} of 4000");
}

#[tokio::test]
async fn spans_for_a_collector_that_is_away_are_dropped_and_counted() {
    // Bound and let go, so that nobody listens there.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let away = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let bench = Bench::start(&away, |config| {
        config.export_timeout = Duration::from_millis(50)
    });
    bench.sampled(None, Trust::Nobody).end();
    bench.telemetry.flush().await;
    bench.counted(r#"brink_trace_spans_dropped_total{reason="export-failed"} 1"#);
    bench.counted("brink_trace_spans_exported_total 0");
}

#[tokio::test]
async fn a_silent_collector_holds_up_nobody() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let bench = Bench::start(&endpoint, |config| {
        config.max_queue_spans = 16;
        config.export_timeout = Duration::from_secs(3600);
    });
    // The task has not run yet, so all but sixteen are too many.
    for _ in 0..20 {
        bench.sampled(None, Trust::Nobody).end();
    }
    bench.counted(r#"brink_trace_spans_dropped_total{reason="queue-full"} 4"#);
    let began = Instant::now();
    bench
        .telemetry
        .shut_down(began + Duration::from_millis(20))
        .await;
    assert!(
        began.elapsed() < Duration::from_secs(60),
        "its deadline ends it"
    );
}

#[tokio::test]
async fn a_batch_is_linked_to_the_calls_whose_items_it_ran() {
    let collector = Collector::start().await;
    let bench = Bench::start(&collector.endpoint(), |_| {});
    let calls = [0, 1].map(|_| bench.sampled(None, Trust::Nobody));
    let [first, second] = calls.each_ref().map(Span::trace);
    let arrived = Instant::now();
    let items = [&first, &second, &first].map(|trace| (trace, arrived));
    record_batch(items.into_iter(), || BatchRun {
        model: "words",
        device: "cpu".to_owned(),
        items: 4,
        padded_tokens: 32,
        taken: arrived,
        started: arrived,
        error: None,
    });
    drop(calls);
    bench.telemetry.flush().await;

    let batch = collector.span("batch");
    assert_eq!(batch.parent, "");
    assert_eq!(
        batch.attributes["brink.items"], "4",
        "untraced ones are counted"
    );
    let mut runs = collector.spans();
    runs.retain(|span| span.name == "model");
    // Both began at once, so they come in any order.
    runs.sort_by_key(|run| batch.links.iter().position(|link| *link == run.id));
    let ids: Vec<_> = runs.iter().map(|run| run.id.clone()).collect();
    assert_eq!(batch.links, ids);
    assert!(runs.iter().all(|run| run.links == [batch.id.clone()]));
    let items: Vec<_> = runs
        .iter()
        .map(|run| &*run.attributes["brink.items"])
        .collect();
    assert_eq!(items, ["2", "1"], "one span for each call");
    let queued = collector
        .spans()
        .iter()
        .filter(|span| span.name == "queue")
        .count();
    assert_eq!(queued, 2);
}

#[tokio::test]
async fn look_ups_are_told_together() {
    let collector = Collector::start().await;
    let bench = Bench::start(&collector.endpoint(), |_| {});
    let request = bench.sampled(None, Trust::Nobody);
    let mut calls = KeyValueCalls::under(&request.trace()).unwrap();
    for _ in 0..3 {
        calls.count(Access::Read, Instant::now(), true);
    }
    calls.count(Access::Write, Instant::now(), false);
    drop(calls);
    request.end();
    bench.telemetry.flush().await;
    let (reads, writes) = (
        collector.span("key-value read"),
        collector.span("key-value write"),
    );
    assert_eq!(reads.attributes["brink.calls"], "3");
    assert_eq!((reads.failed, writes.failed), (false, true));
    assert_eq!(reads.parent, collector.span("request").id);
}
