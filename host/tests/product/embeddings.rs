//! Right vectors, computed once.

use std::path::PathBuf;

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::support::{Client, MODEL, Product, cosine};

fn reference() -> (Vec<String>, Vec<Vec<f64>>) {
    let text = include_str!("../fixtures/minilm_reference.json");
    let value: Value = serde_json::from_str(text).unwrap();
    let read = |name: &str| value[name].clone();
    (
        serde_json::from_value(read("sentences")).unwrap(),
        serde_json::from_value(read("emb")).unwrap(),
    )
}

fn numbered(range: std::ops::Range<u32>) -> Vec<String> {
    range
        .map(|number| format!("sentence number {number} of a batch"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_equal_the_float64_reference_cold_and_cached() {
    let product = Product::start().await;
    let mut client = product.client().await;
    let (sentences, expected) = reference();
    for outcome in ["miss=12", "hit=12"] {
        let reply = client.embed(sentences.clone()).await;
        assert_eq!(reply.header("brink-items"), outcome);
        for (vector, expected) in reply.vectors().iter().zip(&expected) {
            assert!(cosine(vector, expected) >= 0.99999);
        }
        assert_eq!(reply.header("content-length"), reply.body.len().to_string());
        assert!(!reply.header("x-request-id").is_empty());
        assert!(reply.header("server-timing").contains("key;dur="));
    }
    assert_eq!(product.computed().await, 12.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn hundred_inputs_of_which_97_are_cached_cost_three() {
    let product = Product::start().await;
    let mut client = product.client().await;
    let texts = numbered(0..100);
    let known: Vec<String> = texts
        .iter()
        .enumerate()
        .filter(|(index, _)| ![3, 50, 99].contains(index))
        .map(|(_, text)| text.clone())
        .collect();
    let before = client.embed(known).await.vectors();
    assert_eq!(product.computed().await, 97.0);

    let reply = client.embed(texts.clone()).await;
    assert_eq!(product.computed().await, 100.0);
    assert_eq!(reply.header("brink-items"), "hit=97, miss=3");
    let vectors = reply.vectors();
    assert_eq!(vectors.len(), 100);
    assert_eq!(
        vectors[..3],
        before[..3],
        "what was cached is served as it was"
    );
    for index in [3, 50, 99] {
        let alone = client.embed(texts[index].clone()).await.vectors();
        assert_eq!(
            alone[0], vectors[index],
            "vector {index} is at its own index"
        );
    }
    assert_eq!(
        product
            .metric("brink_cache_items_total{tier=\"edge\",outcome=\"hit\"}")
            .await,
        100.0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_identical_concurrent_requests_cost_one() {
    let product = Product::start().await;
    let address = product.0.address;
    let mut clients = JoinSet::new();
    for _ in 0..50 {
        clients.spawn(async move {
            Client::connect(address)
                .await
                .embed("the same for everybody")
                .await
                .vectors()
        });
    }
    let vectors = clients.join_all().await;
    assert!(vectors.iter().all(|vector| *vector == vectors[0]));
    assert_eq!(product.computed().await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn token_arrays_base64_and_dimensions_agree_with_text() {
    let product = Product::start().await;
    let mut client = product.client().await;
    let text = client.embed("I love pasta").await;
    let tokens = client.embed(json!([[101, 1045, 2293, 24857, 102]])).await;
    assert!(cosine(&text.vectors()[0], &tokens.vectors()[0]) > 0.999_999);
    assert_eq!(
        text.json()["usage"],
        json!({"prompt_tokens": 5, "total_tokens": 5})
    );

    let body = json!({"model": MODEL, "input": "I love pasta", "dimensions": 32}).to_string();
    let short = client
        .send("POST", "/v1/embeddings", body)
        .await
        .unwrap()
        .vectors();
    assert_eq!(short[0].len(), 32);
    assert!((cosine(&short[0], &text.vectors()[0][..32]) - 1.0).abs() < 1e-6);
    let length: f64 = short[0].iter().map(|x| x * x).sum();
    assert!((length - 1.0).abs() < 1e-5);
}

#[tokio::test(flavor = "multi_thread")]
async fn caches_that_are_not_ours_can_keep_and_revalidate_answers() {
    let product = Product::start().await;
    let mut client = product.client().await;
    let path = format!("/v1/embeddings?model={MODEL}&input=The+cat+sits+outside");
    let first = client.get(&path).await;
    let posted = client.embed("The cat sits outside").await;
    assert_eq!(first.vectors(), posted.vectors());
    assert!(
        first
            .header("cache-control")
            .starts_with("private, max-age=")
    );

    let ask = Request::get(&path).header("if-none-match", first.header("etag"));
    let again = client
        .request(ask.body(Bytes::new()).unwrap())
        .await
        .unwrap();
    assert_eq!((again.status.as_u16(), again.body.len()), (304, 0));
    let query = Request::builder().method("QUERY").uri("/v1/embeddings");
    let query = query.header("content-type", "application/json");
    let body = json!({"model": MODEL, "input": "The cat sits outside"}).to_string();
    let queried = client
        .request(query.body(body.into()).unwrap())
        .await
        .unwrap();
    assert_eq!(queried.vectors(), first.vectors());
    assert_eq!(queried.header("etag"), first.header("etag"));
    assert_eq!(product.computed().await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_listed() {
    let product = Product::start().await;
    let mut client = product.client().await;
    let list = client.get("/v1/models").await.json();
    assert_eq!(list["object"], "list");
    assert_eq!(list["data"][0]["id"], MODEL);
    let one = client.get(&format!("/v1/models/{MODEL}")).await.json();
    assert_eq!(one, list["data"][0]);
    assert_eq!(client.get("/v1/models/other").await.status, 404);
}

/// The official client, unmodified; it asks for base64 by itself.
const OPENAI: &str = r#"
import json, sys, openai
client = openai.OpenAI(base_url=sys.argv[1], api_key="unused", max_retries=0)
data = json.load(open(sys.argv[2]))
for _ in range(2):
    answer = client.embeddings.create(model=sys.argv[3], input=data["sentences"])
    for item, expected in zip(answer.data, data["emb"], strict=True):
        cosine = sum(x * y for x, y in zip(item.embedding, expected, strict=True))
        assert cosine >= 0.99999, cosine
assert answer.usage.prompt_tokens > 0
assert sys.argv[3] in [model.id for model in client.models.list()]
try:
    client.embeddings.create(model="no-such-model", input="a")
    raise SystemExit("an unknown model must be refused")
except openai.NotFoundError as error:
    assert error.code == "model_not_found" and error.param == "model", error
"#;

#[tokio::test(flavor = "multi_thread")]
async fn official_python_client_works_unmodified() {
    let python = std::env::var_os("BRINK_TEST_PYTHON").map(PathBuf::from);
    let python = python.expect("BRINK_TEST_PYTHON is not set; run: cargo xtask test --only tests");
    let product = Product::start().await;
    let fixture = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/minilm_reference.json"
    );
    let output = Command::new(python)
        .args([
            "-c",
            OPENAI,
            &format!("http://{}/v1", product.0.address),
            fixture,
            MODEL,
        ])
        .output()
        .await
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(product.computed().await, 12.0);
}
