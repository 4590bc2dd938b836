//! Who may ask, and that nobody reaches what is another's.

use std::path::PathBuf;
use std::sync::Arc;

use brink_cache::purge::{self, Mark, Mode, Subject};
use brink_cache::tenant::hash_api_key;
use brink_cache::{Marks, UnixSeconds};
use brink_host::guest::keyvalue::{KeyValue, MemoryStore};
use bytes::Bytes;
use http::Request;
use serde_json::json;

use crate::support::{Client, MODEL, Product, Reply};

const ACME: &str = "sk-acme-0123456789abcdef";
const OTHER: &str = "sk-other-0123456789abcde";

fn tenants_file() -> (tempfile::TempDir, PathBuf) {
    limited_tenants_file("")
}

/// Two tenants, of which the first one has limits.
fn limited_tenants_file(limits: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tenants.toml");
    let tenant = |name: &str, key: &str| {
        let hash = hash_api_key(key).unwrap();
        format!("[[tenant]]\nname = \"{name}\"\nkey_hashes = [\"{hash}\"]\n")
    };
    let source = format!(
        "version = 1\n{}{limits}\n{}",
        tenant("acme", ACME),
        tenant("other", OTHER)
    );
    std::fs::write(&file, source).unwrap();
    (folder, file)
}

async fn ask(client: &mut Client, key: Option<&str>, text: &str, control: &str) -> Reply {
    let body = json!({"model": MODEL, "input": text}).to_string();
    let mut request = Request::post("/v1/embeddings").header("cache-control", control);
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let request = request.body(Bytes::from(body)).unwrap();
    client.request(request).await.unwrap()
}

/// Asks until the result is stored: that happens after the answer.
async fn warm(client: &mut Client, key: Option<&str>, text: &str) {
    while ask(client, key, text, "").await.header("brink-items") != "hit=1" {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_never_sees_what_another_one_stored() {
    let (_folder, file) = tenants_file();
    let store = Arc::new(MemoryStore::new(64 << 20));
    let product = Product::with_tenants(file, store, &[]).await;
    let mut client = product.client().await;
    warm(&mut client, Some(ACME), "a secret").await;

    // Neither a hit, nor a way to find out by asking for cached answers only.
    let reply = ask(&mut client, Some(OTHER), "a secret", "only-if-cached").await;
    assert_eq!(reply.status, 504);
    let reply = ask(&mut client, Some(OTHER), "a secret", "").await;
    assert_eq!(reply.header("brink-items"), "miss=1");
    assert!(
        reply
            .header("cache-status")
            .starts_with("brink-host; fwd=miss")
    );
    assert_eq!(product.computed().await, 2.0, "each has its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_answered_without_a_key_and_no_key_is_echoed() {
    let (_folder, file) = tenants_file();
    let store = Arc::new(MemoryStore::new(64 << 20));
    let product = Product::with_tenants(file, store, &[]).await;
    let mut client = product.client().await;
    for (key, challenge) in [
        (None, "Bearer"),
        (
            Some("sk-wrong-0123456789abcdef"),
            "Bearer error=\"invalid_token\"",
        ),
        (Some("a b"), "Bearer error=\"invalid_request\""),
    ] {
        let reply = ask(&mut client, key, "a", "").await;
        assert_eq!(reply.status, 401);
        assert_eq!(reply.header("www-authenticate"), challenge);
        assert_eq!(reply.json()["error"]["code"], "invalid_api_key");
        assert!(key.is_none_or(|key| !reply.text().contains(key)));
    }
    assert_eq!(client.get("/v1/models").await.status, 401);
    assert_eq!(product.computed().await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_above_the_rate_are_refused_through_both_doors_and_cost_others_nothing() {
    let (_folder, file) = limited_tenants_file("requests_per_second = 1\nburst = 20");
    let store = Arc::new(MemoryStore::new(64 << 20));
    let product = Product::with_tenants(file, store.clone(), &[]).await;
    let mut client = product.client().await;
    let first = ask(&mut client, Some(ACME), "a", "").await;
    assert_eq!(first.status, 200);
    assert_eq!(first.header("ratelimit-policy"), "\"requests\";q=20;w=20");
    assert!(
        first
            .header("ratelimit")
            .starts_with("\"requests\";r=19;t="),
        "{}",
        first.header("ratelimit")
    );
    // A stored result is counted as well: refused at last, whichever door answers.
    let refused = loop {
        let reply = ask(&mut client, Some(ACME), "a", "").await;
        if reply.status != 200 {
            break reply;
        }
    };
    assert_eq!(refused.status, 429);
    assert_eq!(
        refused.json()["error"]["code"],
        json!("rate_limit_exceeded")
    );
    assert_eq!(refused.json()["error"]["type"], json!("rate_limit_error"));
    assert_eq!(refused.header("retry-after"), "1");
    assert!(
        refused
            .header("ratelimit")
            .starts_with("\"requests\";r=0;t=")
    );
    let miss = ask(&mut client, Some(ACME), "another", "no-cache").await;
    assert_eq!(miss.status, 429, "nothing is computed for it");
    // The limit is the tenant's, not the edge's, and no way to find out who exists.
    assert_eq!(ask(&mut client, Some(OTHER), "a", "").await.status, 200);
    assert_eq!(ask(&mut client, None, "a", "").await.status, 401);
    assert_eq!(product.computed().await, 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn used_up_model_time_refuses_misses_and_still_answers_hits() {
    let (_folder, file) = limited_tenants_file("model_ms_per_minute = 1");
    let store = Arc::new(MemoryStore::new(64 << 20));
    let product = Product::with_tenants(file, store, &[]).await;
    let mut client = product.client().await;
    // Longer than a millisecond on any machine.
    let long = "many words ".repeat(100);
    let computed = ask(&mut client, Some(ACME), &long, "").await;
    assert_eq!(computed.status, 200);
    assert_eq!(computed.header("ratelimit-policy"), "\"model-ms\";q=1;w=60");
    warm(&mut client, Some(ACME), &long).await;
    let refused = ask(&mut client, Some(ACME), "a", "").await;
    assert_eq!(refused.status, 429, "{}", refused.text());
    assert_eq!(refused.json()["error"]["code"], json!("model_time_spent"));
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!(wait >= 1);
    assert_eq!(ask(&mut client, Some(OTHER), "a", "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn required_keys_without_tenants_close_the_door_and_off_opens_it() {
    let required = Product::with(None, &[("authentication", "required")], &[]).await;
    let reply = ask(&mut required.client().await, Some(ACME), "a", "").await;
    assert_eq!(
        (reply.status.as_u16(), &reply.json()["error"]["code"]),
        (503, &json!("no_tenants"))
    );

    let (_folder, file) = tenants_file();
    let store = Arc::new(MemoryStore::new(64 << 20));
    let off = Product::with_tenants(file, store, &[("authentication", "off")]).await;
    let reply = ask(&mut off.client().await, None, "a", "").await;
    assert_eq!(reply.status, 200);
}

/// What an operator's purge leaves in the store.
fn purge(store: &MemoryStore, subject: Subject, mode: Mode, at: UnixSeconds) {
    let mut marks = Marks::default();
    let mark = Mark { subject, at, mode };
    marks.add(&mark, at, purge::LONGEST_LIFETIME).unwrap();
    store.set(purge::STORE_KEY, marks.encode().into()).unwrap();
}

/// Makes every stored result older, and tells when the newest one now seems to have been made.
fn age_entries(store: &MemoryStore, seconds: u64) -> UnixSeconds {
    let mut newest = UnixSeconds(0);
    for key in store.keys().unwrap() {
        let bytes = store.get(&key).unwrap().unwrap();
        if let Ok(mut entry) = brink_cache::Entry::decode(bytes) {
            entry.meta.created = UnixSeconds(entry.meta.created.0 - seconds);
            newest = newest.max(entry.meta.created);
            store.set(&key, entry.encode().into()).unwrap();
        }
    }
    newest
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_reaches_every_instance_and_the_host() {
    for subject in [
        Subject::All,
        Subject::Model(MODEL.to_owned()),
        Subject::Tenant("default".to_owned()),
    ] {
        let store = Arc::new(MemoryStore::new(64 << 20));
        let product = Product::with(Some(store.clone()), &[], &[]).await;
        let mut client = product.client().await;
        warm(&mut client, None, "a").await;
        // Long enough ago that what is computed anew counts as new.
        let newest = age_entries(&store, 60);
        purge(&store, subject, Mode::Hard, newest);
        // Instances look once a second.
        while product.computed().await < 2.0 {
            ask(&mut client, None, "a", "").await;
        }
        warm(&mut client, None, "a").await;
        assert_eq!(
            product.computed().await,
            2.0,
            "the host did not answer from its own results"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_that_cannot_be_read_let_no_stored_result_through() {
    let store = Arc::new(MemoryStore::new(64 << 20));
    let product = Product::with(Some(store.clone()), &[], &[]).await;
    let mut client = product.client().await;
    warm(&mut client, None, "a").await;
    store
        .set(purge::STORE_KEY, Bytes::from_static(b"nonsense"))
        .unwrap();
    while ask(&mut client, None, "a", "").await.header("brink-items") == "hit=1" {}
    assert_eq!(
        ask(&mut client, None, "a", "").await.header("brink-items"),
        "miss=1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_others_moved_never_answers() {
    let store = Arc::new(MemoryStore::new(64 << 20));
    let secret = "5".repeat(64);
    let product = Product::with(Some(store.clone()), &[("seal_keys", &secret)], &[]).await;
    let mut client = product.client().await;
    warm(&mut client, None, "a").await;
    let right = ask(&mut client, None, "a", "").await.vectors();
    let key_of_a = results(&store).pop().unwrap();
    warm(&mut client, None, "b").await;
    let key_of_b = results(&store).into_iter().find(|key| *key != key_of_a);
    let of_b = store.get(&key_of_b.unwrap()).unwrap().unwrap();
    store.set(&key_of_a, of_b).unwrap();

    let reply = ask(&mut client, None, "a", "").await;
    assert_eq!(reply.header("brink-items"), "broken=1");
    assert_eq!(reply.vectors(), right);
}

/// The keys of stored results.
fn results(store: &MemoryStore) -> Vec<String> {
    let keys = store.keys().unwrap().into_iter();
    keys.filter(|key| key.len() == 64).collect()
}
