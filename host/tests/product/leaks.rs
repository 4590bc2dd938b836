//! Leaks that users of other gateways reported in public, each tried here.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use brink_cache::tenant::hash_api_key;
use brink_host::guest::keyvalue::MemoryStore;
use bytes::Bytes;
use futures_util::future::join_all;
use http::Request;
use serde_json::{Value, json};

use crate::support::{Client, MODEL, Product, Reply, cosine};

const KEYS: [&str; 2] = ["sk-first-0123456789abcdef", "sk-second-0123456789abcde"];

fn tenants(keys: &[&str]) -> String {
    let tenant = |(number, key): (usize, &&str)| {
        let hash = hash_api_key(key).unwrap();
        format!("[[tenant]]\nname = \"tenant-{number}\"\nkey_hashes = [\"{hash}\"]\n")
    };
    let tables: String = keys.iter().enumerate().map(tenant).collect();
    format!("version = 1\n{tables}")
}

async fn two_tenants() -> (tempfile::TempDir, PathBuf, Product) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tenants.toml");
    std::fs::write(&file, tenants(&KEYS)).unwrap();
    let store = Arc::new(MemoryStore::new(64 << 20));
    let product = Product::with_tenants(file.clone(), store, &[]).await;
    (folder, file, product)
}

async fn ask(client: &mut Client, key: &str, id: &str, body: &Value) -> Reply {
    let request = Request::post("/v1/embeddings")
        .header("authorization", format!("Bearer {key}"))
        .header("x-request-id", id);
    let request = request.body(Bytes::from(body.to_string())).unwrap();
    client.request(request).await.unwrap()
}

fn body(input: impl Into<Value>) -> Value {
    json!({"model": MODEL, "input": input.into()})
}

/// "Two different teams sending the same request share cache entries", observable through a header that tells
/// the key: litellm #29955.
#[tokio::test(flavor = "multi_thread")]
async fn equal_requests_of_two_tenants_share_nothing_and_no_header_tells() {
    let (_folder, _file, product) = two_tenants().await;
    let mut client = product.client().await;
    while ask(&mut client, KEYS[0], "a", &body("salary of the board"))
        .await
        .header("brink-items")
        != "hit=1"
    {}
    let computed = product.computed().await;
    let other = ask(&mut client, KEYS[1], "b", &body("salary of the board")).await;
    assert_eq!(other.header("brink-items"), "miss=1");
    assert_eq!(product.computed().await, computed + 1.0, "a run of its own");
    let told = |name: &str| name.contains("key") || name.contains("tenant");
    assert!(!other.headers.keys().any(|name| told(name.as_str())));
}

/// A shared prefix cache tells by its speed what others asked: vLLM CVE-2025-46570. Here a tenant is not even
/// collapsed onto a run of another one that is under way.
#[tokio::test(flavor = "multi_thread")]
async fn equal_requests_in_flight_of_two_tenants_are_two_runs() {
    let (_folder, _file, product) = two_tenants().await;
    let text = "the same words ".repeat(60);
    let ask_as = async |key: &str| {
        let mut client = product.client().await;
        ask(&mut client, key, "a", &body(text.as_str())).await
    };
    let all = join_all(KEYS.iter().chain(&KEYS).map(|key| ask_as(key))).await;
    assert!(all.iter().all(|reply| reply.status == 200));
    assert_eq!(product.computed().await, 2.0, "one for each tenant");
}

/// "Under concurrent load, a response generated for one request is sometimes returned to another client":
/// litellm #25447.
#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_concurrent_clients_gets_its_own_answer() {
    const CLIENTS: usize = 12;
    const REQUESTS: usize = 8;
    let (_folder, _file, product) = two_tenants().await;
    // What each text's vector is, asked for one by one.
    let mut expected = HashMap::new();
    let mut client = product.client().await;
    for number in 0..CLIENTS {
        let text = format!("text of client {number}");
        let reply = ask(&mut client, KEYS[number % 2], "a", &body(text)).await;
        expected.insert(number, reply.vectors().remove(0));
    }
    let run = async |number: usize| {
        let mut client = product.client().await;
        for round in 0..REQUESTS {
            let id = format!("client-{number}-{round}");
            // Known ones, and such as have to be computed beside them.
            let texts = json!([
                format!("text of client {number}"),
                format!("{number} {round}")
            ]);
            let reply = ask(&mut client, KEYS[number % 2], &id, &body(texts)).await;
            assert_eq!(reply.header("x-request-id"), id);
            let vectors = reply.vectors();
            assert!(cosine(&vectors[0], &expected[&number]) > 0.999_99);
        }
    };
    join_all((0..CLIENTS).map(run)).await;
}

/// A batch of known and unknown inputs came back with vectors at the wrong places: litellm #29284 and #2990,
/// llama_index #19537.
#[tokio::test(flavor = "multi_thread")]
async fn partly_known_batches_have_every_vector_at_its_own_place() {
    let (_folder, _file, product) = two_tenants().await;
    let mut client = product.client().await;
    let texts: Vec<String> = (0..25).map(|number| format!("chunk {number}")).collect();
    let mut alone = Vec::new();
    for text in &texts {
        let mut one = body(text.as_str());
        one["user"] = json!("alone");
        alone.push(
            ask(&mut client, KEYS[0], "a", &one)
                .await
                .vectors()
                .remove(0),
        );
    }
    // Another tenant has only some of them.
    for text in [&texts[5], &texts[17]] {
        ask(&mut client, KEYS[1], "b", &body(text.as_str())).await;
    }
    let reply = ask(&mut client, KEYS[1], "b", &body(texts.clone())).await;
    let vectors = reply.vectors();
    assert_eq!(vectors.len(), texts.len());
    for (number, (found, wanted)) in vectors.iter().zip(&alone).enumerate() {
        assert!(cosine(found, wanted) > 0.999_9, "chunk {number}");
    }
}

/// Parameters that change a result must be in its key: litellm #15595.
#[tokio::test(flavor = "multi_thread")]
async fn parameter_that_changes_the_result_makes_another_entry() {
    let (_folder, _file, product) = two_tenants().await;
    let mut client = product.client().await;
    let long = "word ".repeat(400);
    let mut cut = body(long.as_str());
    cut["truncate"] = json!(true);
    while ask(&mut client, KEYS[0], "a", &cut)
        .await
        .header("brink-items")
        != "hit=1"
    {}
    // Without it the text is too long, whatever is stored.
    let refused = ask(&mut client, KEYS[0], "a", &body(long.as_str())).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["error"]["code"], "input_too_long");
}

/// A blocked key went on working at the instances that knew it: litellm #9820.
#[tokio::test(flavor = "multi_thread")]
async fn key_that_is_taken_away_stops_working_at_every_instance() {
    let (_folder, file, product) = two_tenants().await;
    let mut clients = [product.client().await, product.client().await];
    for client in &mut clients {
        let reply = ask(client, KEYS[1], "a", &body("a")).await;
        assert_eq!(reply.status, 200);
    }
    std::fs::write(&file, tenants(&KEYS[..1])).unwrap();
    // The file is followed, and instances read the store once a second.
    for client in &mut clients {
        while ask(client, KEYS[1], "a", &body("a")).await.status != 401 {}
        // Not even what is cached.
        let refused = ask(client, KEYS[1], "a", &body("a")).await;
        assert_eq!(refused.status, 401);
        let reply = ask(client, KEYS[0], "a", &body("a")).await;
        assert_eq!(reply.status, 200);
    }
}
