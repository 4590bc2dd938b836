//! What bad input gets, and what happens when parts fail.

use std::net::SocketAddr;
use std::sync::Arc;

use brink_host::guest::keyvalue::{KeyValue, KeyValueError, MemoryStore};
use bytes::Bytes;
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{Client, MODEL, Product, Reply, workspace};

/// Method, path, body, expected status, and a part of the message.
type Refused = (&'static str, &'static str, String, u16, &'static str);

#[rustfmt::skip]
fn bad_requests() -> Vec<Refused> {
    let body = |input: serde_json::Value| json!({"model": MODEL, "input": input}).to_string();
    let with = |name: &str, value: serde_json::Value| {
        let mut body = json!({"model": MODEL, "input": "a"});
        body[name] = value;
        body.to_string()
    };
    vec![
        ("POST", "/v1/embeddings", "{".to_owned(), 400, "valid request"),
        ("POST", "/v1/embeddings", body(json!(5)), 400, "input"),
        ("POST", "/v1/embeddings", body(json!([])), 400, "empty array"),
        ("POST", "/v1/embeddings", body(json!(["a", ""])), 400, "input[1]"),
        ("POST", "/v1/embeddings", body(json!(vec!["a"; 2049])), 400, "2048"),
        ("POST", "/v1/embeddings", body(json!("word ".repeat(300))), 400, "256"),
        ("POST", "/v1/embeddings", body(json!([30522])), 400, "30522"),
        ("POST", "/v1/embeddings", with("model", json!("no")), 404, "no"),
        ("POST", "/v1/embeddings", with("encoding_format", json!("hex")), 400, "encoding_format"),
        ("POST", "/v1/embeddings", with("dimensions", json!(385)), 400, "384"),
        ("PUT", "/v1/embeddings", String::new(), 405, "QUERY"),
        ("GET", "/v1/embeddings", String::new(), 400, "input"),
        ("GET", "/v1/embeddings?input=a&model=x&stream=1", String::new(), 400, "stream"),
        ("QUERY", "/v1/embeddings", body(json!("a")), 400, "content-type"),
        ("GET", "/nowhere", String::new(), 404, "/nowhere"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_refused_with_field_and_limit_and_never_runs_a_model() {
    let product = Product::start().await;
    let mut client = product.client().await;
    for (method, path, body, status, part) in bad_requests() {
        let reply = client.send(method, path, body).await.unwrap();
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.text());
        let told = reply.json();
        // A problem document outside of OpenAI's routes.
        let message = told["error"]["message"].as_str();
        let message = message.or(told["detail"].as_str()).unwrap();
        assert!(message.contains(part), "{message} does not name {part}");
    }
    assert_eq!(product.computed().await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_body_is_refused_unread() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let product = Product::start().await;
    let mut stream = tokio::net::TcpStream::connect(product.0.address)
        .await
        .unwrap();
    let head = "POST /v1/embeddings HTTP/1.1\r\nhost: a\r\ncontent-length: 104857600\r\nexpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 64];
    let read = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_body_gets_408() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let product = Product::with(None, &[], &["request_body.idle_timeout_ms=50"]).await;
    let mut stream = tokio::net::TcpStream::connect(product.0.address)
        .await
        .unwrap();
    let head = "POST /v1/embeddings HTTP/1.1\r\nhost: a\r\ncontent-length: 50\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 64];
    let read = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

/// Sends the beginning of a head and nothing more; returns what comes back until the end.
async fn begin_head(address: SocketAddr, beginning: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(beginning.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_never_end_get_408_while_others_are_served() {
    let product = Product::with(None, &[], &["server.header_timeout_ms=500"]).await;
    let address = product.0.address;
    // The second could still become HTTP/2, and the third has not even begun.
    let beginnings = ["POST /v1/embeddings HTTP/1.1\r\nhost:", "PRI * HT", ""];
    let slow = beginnings.map(|beginning| begin_head(address, beginning));
    let slow = tokio::spawn(futures_util::future::join_all(slow));

    let mut client = product.client().await;
    let mut served = 0;
    while !slow.is_finished() {
        assert_eq!(client.embed("a").await.status, 200);
        served += 1;
    }
    assert!(served > 0);
    let answers = slow.await.unwrap();
    assert!(answers[0].starts_with("HTTP/1.1 408"), "{}", answers[0]);
    assert!(answers[1].starts_with("HTTP/1.1 408"), "{}", answers[1]);
    assert_eq!(answers[2], "");
}

/// A store that does not answer, or only about operators' documents.
struct Failing {
    has_documents: bool,
}

impl KeyValue for Failing {
    fn get(&self, key: &str) -> Result<Option<Bytes>, KeyValueError> {
        if self.has_documents && key.starts_with("brink/") {
            return Ok(None);
        }
        Err(KeyValueError::Store("down".to_owned()))
    }
    fn set(&self, _: &str, _: Bytes) -> Result<(), KeyValueError> {
        Err(KeyValueError::Store("down".to_owned()))
    }
    fn delete(&self, _: &str) -> Result<(), KeyValueError> {
        Err(KeyValueError::Store("down".to_owned()))
    }
    fn exists(&self, _: &str) -> Result<bool, KeyValueError> {
        Err(KeyValueError::Store("down".to_owned()))
    }
    fn increment(&self, _: &str, _: i64) -> Result<i64, KeyValueError> {
        Err(KeyValueError::Store("down".to_owned()))
    }
    fn keys(&self) -> Result<Vec<String>, KeyValueError> {
        Err(KeyValueError::Store("down".to_owned()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_store_is_bypassed_and_counted() {
    let failing = Failing {
        has_documents: true,
    };
    let product = Product::with(Some(Arc::new(failing)), &[], &[]).await;
    let reply = product.client().await.embed("a").await;
    assert_eq!(reply.vectors().len(), 1);
    assert_eq!(reply.header("brink-items"), "store-error=1");
    let counted = product
        .metric("brink_cache_items_total{tier=\"edge\",outcome=\"store-error\"}")
        .await;
    assert_eq!(counted, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn store_that_never_answered_lets_nobody_in_unless_keys_are_off() {
    let failing = || {
        Arc::new(Failing {
            has_documents: false,
        })
    };
    // There may be tenants in it.
    let closed = Product::with(Some(failing()), &[], &[]).await;
    let reply = closed.client().await.embed("a").await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.json()["error"]["code"], "no_tenants");
    let off = [("authentication", "off")];
    let open = Product::with(Some(failing()), &off, &[]).await;
    let reply = open.client().await.embed("a").await;
    assert_eq!(reply.vectors().len(), 1);
    assert_eq!(reply.header("brink-items"), "bypass=1");
}

#[tokio::test(flavor = "multi_thread")]
async fn cached_answers_survive_a_lost_host_and_others_get_503() {
    let store = Arc::new(MemoryStore::new(1 << 24));
    let product = Product::with(Some(store.clone()), &[], &[]).await;
    let warm = product.client().await.embed("known").await.vectors();
    product.0.shut_down().await.unwrap();

    // Nobody listens on port 1, and the address is not this host's own.
    let alone = Product::with(
        Some(store),
        &[
            ("upstream", "http://127.0.0.1:1"),
            ("catalog_lifetime_seconds", "0"),
        ],
        &[],
    )
    .await;
    let mut client = alone.client().await;
    let hit = client.embed("known").await;
    assert_eq!(hit.header("brink-items"), "hit=1");
    assert_eq!(hit.vectors(), warm);
    let miss = client.embed("unknown").await;
    assert_eq!(miss.status, 503, "{}", miss.text());
    assert_eq!(miss.header("retry-after"), "1");
    assert_eq!(miss.json()["error"]["code"], "host_unavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_under_load_loses_no_accepted_request() {
    let product = Product::start().await;
    let address = product.0.address;
    let mut clients = JoinSet::new();
    let (started, mut ready) = tokio::sync::mpsc::channel(64);
    for number in 0..32 {
        let started = started.clone();
        clients.spawn(async move {
            let mut client = Client::connect(address).await;
            // The first answer proves that the connection was accepted; the second request is
            // in flight when the drain begins.
            client.embed(format!("first {number}")).await;
            let second = tokio::spawn(async move {
                client
                    .embed(format!("{} second {number}", "word ".repeat(100)))
                    .await
            });
            started.send(()).await.unwrap();
            second.await.unwrap().status
        });
    }
    for _ in 0..32 {
        ready.recv().await.unwrap();
    }
    // A request is accepted once its call has begun, or once it has an instance: 32 first ones and 32 second ones.
    let called = "brink_fast_door_calls_total{component=\"gateway\"}";
    let ran = "brink_guest_requests_total{component=\"gateway\"}";
    while product.metric(called).await + product.metric(ran).await < 64.0 {
        tokio::task::yield_now().await;
    }
    let cut = product.0.shut_down().await.unwrap();
    assert_eq!(cut, 0);
    let statuses = clients.join_all().await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn components_are_replaced_without_losing_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("spin.toml");
    let components = workspace().join("target/components");
    let original = std::fs::read_to_string(workspace().join("spin.toml")).unwrap();
    let write = |origin: &str| {
        let text = original
            .replace("target/components", components.to_str().unwrap())
            .replace("default = \"*\"", &format!("default = \"{origin}\""));
        std::fs::write(&manifest, text).unwrap();
    };
    write("https://a.example");
    let product = Arc::new(Product::with_manifest(manifest.clone()).await);
    let mut before = product.client().await;
    let origin = |reply: &Reply| reply.header("access-control-allow-origin").to_owned();
    assert_eq!(origin(&before.embed("a").await), "https://a.example");

    let done = tokio_util::sync::CancellationToken::new();
    let mut load = JoinSet::new();
    for _ in 0..4 {
        let (product, done) = (product.clone(), done.clone());
        load.spawn(async move {
            let mut client = product.client().await;
            loop {
                let is_last = done.is_cancelled();
                let reply = client.embed("a").await;
                assert_eq!(reply.status, 200);
                if is_last {
                    return reply.header("access-control-allow-origin").to_owned();
                }
            }
        });
    }
    write("https://b.example");
    product.0.reload().await.unwrap();
    // Compiling may take longer than an idle connection is kept.
    let mut after = product.client().await;
    assert_eq!(origin(&after.embed("a").await), "https://b.example");
    std::fs::write(&manifest, "no manifest").unwrap();
    assert!(product.0.reload().await.is_err());
    assert_eq!(after.embed("a").await.status, 200, "the others go on");
    done.cancel();
    let last = load.join_all().await;
    assert_eq!(
        last, ["https://b.example"; 4],
        "also on connections from before"
    );
    let counted = product
        .metric("brink_fast_door_requests_total{component=\"gateway\",outcome=\"answered\"}")
        .await;
    assert!(counted > 0.0, "counters go on");
}
