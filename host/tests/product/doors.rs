//! Both doors of the gateway give the same answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use brink_host::guest::keyvalue::MemoryStore;
use bytes::Bytes;
use http::Request;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::support::{Client, MODEL, Product, Reply};

/// Generated requests. Few texts, so that most are cached soon.
const CASES: usize = 250;

/// One request, as it is sent through both doors.
#[derive(Clone, Debug)]
struct Case {
    method: &'static str,
    path: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    body: String,
}

impl Case {
    fn request(&self) -> Request<Bytes> {
        let mut request = Request::builder().method(self.method).uri(self.path);
        for (name, value) in &self.headers {
            request = request.header(*name, *value);
        }
        request.body(self.body.clone().into()).unwrap()
    }
}

fn input() -> impl Strategy<Value = Value> {
    let text = || (0u8..6).prop_map(|number| json!(format!("text {number}")));
    prop_oneof![
        4 => text(),
        4 => prop::collection::vec(text(), 0..6).prop_map(Value::Array),
        1 => Just(json!([101, 7592, 102])),
        1 => Just(json!([[101, 7592, 102], [101, 102]])),
        1 => prop_oneof![Just(json!("")), Just(json!(7)), Just(json!(["a", 1])), Just(json!([999_999]))],
    ]
}

fn body() -> impl Strategy<Value = String> {
    let member = |values: &'static [&'static str]| prop::sample::select(values);
    let well_formed = (
        input(),
        member(&[
            "",
            r#","encoding_format":"base64""#,
            r#","encoding_format":"float""#,
            r#","encoding_format":"hex""#,
        ]),
        member(&[
            "",
            "",
            r#","dimensions":7"#,
            r#","dimensions":385"#,
            r#","dimensions":0"#,
        ]),
        member(&[
            "",
            "",
            r#","truncate":true"#,
            r#","user":"u""#,
            r#","unknown":1"#,
        ]),
    );
    let well_formed = well_formed.prop_map(|(input, format, dimensions, other)| {
        format!(r#"{{"model":"{MODEL}","input":{input}{format}{dimensions}{other}}}"#)
    });
    prop_oneof![
        9 => well_formed,
        1 => prop::sample::select(&["", "{", "[]", r#"{"model":"other","input":"a"}"#, r#"{"input":"a"}"#][..]).prop_map(str::to_owned),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    const HEADERS: [(&str, &str); 10] = [
        ("content-type", "application/json"),
        ("content-type", "text/plain"),
        ("if-none-match", "*"),
        ("cache-control", "no-cache"),
        ("cache-control", "max-age=1000"),
        ("cache-control", "only-if-cached"),
        ("origin", "https://a.example"),
        ("access-control-request-headers", "authorization"),
        ("x-request-id", "not harmless"),
        ("accept", "*/*"),
    ];
    let target = prop_oneof![
        12 => Just(("POST", "/v1/embeddings")),
        1 => Just(("POST", "/v1/embeddings?a=b")),
        3 => Just(("QUERY", "/v1/embeddings")),
        3 => prop::sample::select(&[
            ("GET", "/v1/embeddings?model=all-MiniLM-L6-v2&input=text+1"),
            ("GET", "/v1/embeddings?model=all-MiniLM-L6-v2&input=text%202&input=text+1&encoding_format=base64"),
            ("HEAD", "/v1/embeddings?model=all-MiniLM-L6-v2&input=text+1"),
            ("GET", "/v1/embeddings?model=all-MiniLM-L6-v2&input=text+1&input=%ff"),
        ][..]),
        1 => prop::sample::select(&[
            ("GET", "/v1/embeddings"),
            ("OPTIONS", "/v1/embeddings"),
            ("GET", "/v1/models"),
            ("HEAD", "/v1/models"),
            ("GET", "/v1/models/all-MiniLM-L6-v2"),
            ("GET", "/v1/models/other"),
            ("GET", "/nowhere"),
        ][..]),
    ];
    let headers = prop::sample::subsequence(&HEADERS[..], 0..4);
    (target, headers, body()).prop_map(|((method, path), mut headers, body)| {
        // Ids that the server makes up differ.
        headers.retain(|(name, _)| *name != "x-request-id");
        headers.push(("x-request-id", "id-of-the-test"));
        Case {
            method,
            path,
            headers,
            body,
        }
    })
}

/// Everything that has to be equal: durations and dates are not.
fn essence(reply: &Reply) -> (u16, BTreeMap<String, String>, Bytes) {
    let mut headers = BTreeMap::new();
    for (name, value) in &reply.headers {
        let value = value.to_str().unwrap();
        let shown = match name.as_str() {
            "date" => continue,
            // A second may pass between the two, and less is left of a lifetime then.
            "server-timing" | "age" | "cache-control" | "cdn-cache-control" => {
                value.replace(|digit: char| digit.is_ascii_digit(), "")
            }
            "cache-status" => value.split("; ttl=").next().unwrap().to_owned(),
            _ => value.to_owned(),
        };
        headers.insert(name.to_string(), shown);
    }
    (reply.status.as_u16(), headers, reply.body.clone())
}

/// Results are stored after their answer: asks until it is a hit, or cannot become one.
async fn warm(client: &mut Client, case: &Case) {
    for _ in 0..1000 {
        let reply = client.request(case.request()).await.unwrap();
        let status = reply.header("cache-status");
        if status.is_empty() || status.contains("hit") || status.contains("fwd=request") {
            return;
        }
    }
    panic!("never a hit: {case:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_doors_give_the_same_answers() {
    let store = || Some(Arc::new(MemoryStore::new(16 << 20)) as Arc<_>);
    let shared = store();
    let fast = Product::with(shared.clone(), &[], &["fast_door.mode=auto"]).await;
    let slow = Product::with(shared, &[], &["fast_door.mode=off"]).await;
    let (mut at_fast, mut at_slow) = (fast.client().await, slow.client().await);
    let mut runner = TestRunner::deterministic();
    let mut hits = 0;
    for _ in 0..CASES {
        let case = case().new_tree(&mut runner).unwrap().current();
        warm(&mut at_slow, &case).await;
        let one = at_fast.request(case.request()).await.unwrap();
        let two = at_slow.request(case.request()).await.unwrap();
        assert_eq!(essence(&one), essence(&two), "{case:?}");
        hits += u64::from(one.header("cache-status").contains("hit"));
    }
    assert!(hits > 50, "{hits} of {CASES} were hits");
    let counted = |outcome: &'static str| {
        let name = format!(
            "brink_fast_door_requests_total{{component=\"gateway\",outcome=\"{outcome}\"}}"
        );
        let fast = &fast;
        async move { fast.metric(&name).await as u64 }
    };
    assert!(
        counted("answered").await >= hits,
        "hits are answered at the door"
    );
    assert_eq!(counted("failed").await, 0);
}
