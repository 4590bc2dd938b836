//! The policy in force, from a file to every answer, with the real model.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use brink_cache::{Entry, UnixSeconds};
use brink_host::guest::keyvalue::{KeyValue, MemoryStore};
use tokio::time::Instant;

use crate::support::{Client, Product, Reply};

/// Longest wait for something that takes two seconds at most.
const PATIENCE: Duration = Duration::from_secs(20);

fn write(file: &Path, rule: &str) {
    let source = format!("version = 1\n[[rule]]\nname = \"test\"\n{rule}\n");
    std::fs::write(file, source).unwrap();
}

fn policy_file(rule: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.toml");
    write(&file, rule);
    (folder, file)
}

fn store() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new(64 << 20))
}

/// Asks until the answer is as wanted.
async fn ask_until(client: &mut Client, text: &str, wanted: impl Fn(&Reply) -> bool) -> Reply {
    let start = Instant::now();
    loop {
        let reply = client.embed(text).await;
        if wanted(&reply) {
            return reply;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "still {:?} {}",
            reply.headers,
            reply.text()
        );
    }
}

/// Seconds; at least as old as made, and older by what the test took meanwhile.
fn age(reply: &Reply) -> u32 {
    reply.header("age").parse().unwrap()
}

/// Makes every stored result older.
fn age_entries(store: &MemoryStore, seconds: u64) {
    for key in store.keys().unwrap() {
        let bytes = store.get(&key).unwrap().unwrap();
        if let Ok(mut entry) = Entry::decode(bytes) {
            entry.meta.created = UnixSeconds(entry.meta.created.0 - seconds);
            store.set(&key, entry.encode().into()).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_decides_and_its_change_needs_no_restart() {
    let (_folder, file) = policy_file("store = false\nreason = \"test\"");
    let product = Product::with_policy(Some(file.clone()), None, &[], &[]).await;
    let mut client = product.client().await;
    let first = client.embed("a").await;
    for _ in 0..2 {
        let reply = client.embed("a").await;
        assert_eq!(reply.header("brink-items"), "bypass=1");
        assert_eq!(reply.header("brink-policy"), first.header("brink-policy"));
        assert!(
            reply
                .header("cache-status")
                .ends_with("fwd=bypass; detail=policy")
        );
    }
    assert_eq!(product.computed().await, 3.0);

    write(&file, "fresh = \"1h\"");
    let changed = |reply: &Reply| reply.header("brink-policy") != first.header("brink-policy");
    let reply = ask_until(&mut client, "a", changed).await;
    ask_until(&mut client, "a", |reply| {
        reply.header("brink-items") == "hit=1"
    })
    .await;

    // A mistake changes nothing.
    write(&file, "fresh = \"no duration\"");
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        let again = client.embed("a").await;
        assert_eq!(again.header("brink-policy"), reply.header("brink-policy"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_with_mistakes_is_refused_at_the_start() {
    let (_folder, file) = policy_file("fresh = \"no duration\"");
    let error = Product::try_with_policy(file.clone()).await;
    let message = format!("{:#}", error.err().unwrap());
    assert!(
        message.contains("fresh") && message.contains("no duration"),
        "{message}"
    );
}

const STALE: &str = "fresh = \"1m\"\nstale_while_revalidate = \"1m\"\nstale_if_error = \"1h\"\nnegative = { 400 = \"1m\" }";

#[tokio::test(flavor = "multi_thread")]
async fn stale_results_answer_at_once_and_are_refreshed() {
    let (_folder, file) = policy_file(STALE);
    let store = store();
    let product = Product::with_policy(Some(file), Some(store.clone()), &[], &[]).await;
    let mut client = product.client().await;
    let is_hit = |reply: &Reply| reply.header("cache-status").starts_with("brink-edge; hit");
    client.embed("a").await;
    ask_until(&mut client, "a", is_hit).await;

    age_entries(&store, 90);
    let stale = client.embed("a").await;
    assert!((90..120).contains(&age(&stale)), "{:?}", stale.headers);
    assert!(
        stale
            .header("cache-status")
            .ends_with("detail=stale-while-revalidate")
    );
    let fresh = ask_until(&mut client, "a", |reply| {
        !reply.header("cache-status").contains("detail")
    })
    .await;
    assert!(is_hit(&fresh));
    assert_eq!(fresh.vectors(), stale.vectors());
    assert_eq!(product.computed().await, 1.0, "the host still had it");
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_results_cover_a_host_that_is_gone() {
    let (_folder, file) = policy_file(STALE);
    let store = store();
    let warm = Product::with_policy(Some(file.clone()), Some(store.clone()), &[], &[]).await;
    let mut client = warm.client().await;
    client.embed("a").await;
    ask_until(&mut client, "a", |reply| {
        reply.header("brink-items") == "hit=1"
    })
    .await;
    age_entries(&store, 600);

    let nowhere = [
        ("upstream", "http://127.0.0.1:1"),
        ("catalog_lifetime_seconds", "3600"),
    ];
    let cut_off = Product::with_policy(Some(file), Some(store), &nowhere, &[]).await;
    let mut client = cut_off.client().await;
    let reply = client.embed("a").await;
    assert_eq!(reply.vectors().len(), 1);
    let age = age(&reply);
    assert!((600..660).contains(&age), "{:?}", reply.headers);
    assert_eq!(
        reply.header("cache-status"),
        format!(
            "brink-edge; fwd=stale; fwd-status=503; ttl={}; detail=stale-if-error",
            60 - i64::from(age)
        )
    );
    assert_eq!(client.embed("never asked").await.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hopeless_request_is_refused_from_the_cache() {
    let (_folder, file) = policy_file(STALE);
    let product = Product::with_policy(Some(file), None, &[], &[]).await;
    let mut client = product.client().await;
    let long = "word ".repeat(300);
    let first = client.embed(long.as_str()).await;
    assert_eq!((first.status.as_u16(), first.header("age")), (400, ""));
    let stored = ask_until(&mut client, &long, |reply| !reply.header("age").is_empty()).await;
    assert_eq!(stored.status, 400);
    assert_eq!(stored.body, first.body);
    assert_eq!(
        stored.header("cache-status"),
        "brink-edge; hit; detail=negative"
    );
}
