//! Key-value stores and variables as a guest meets them.

use std::sync::Arc;

use brink_host::guest::{
    BuildError, GuestHost, GuestParts,
    keyvalue::{KeyValue, KeyValueError, Stores},
};
use bytes::Bytes;
use http::StatusCode;

use crate::support::Setup;

#[tokio::test]
async fn values_are_set_and_found() {
    let host = Setup::default().build().await;
    let set = "/kv/set?store=default&key=k&bytes=3";
    assert_eq!(host.text(set).await, (StatusCode::OK, "set".into()));
    let get = "/kv/get?store=default&key=k";
    assert_eq!(host.text(get).await, (StatusCode::OK, "vvv".into()));
}

#[tokio::test]
async fn limits_of_keys_and_values_are_errors_that_the_guest_sees() {
    let host = Setup::default().build().await;
    let long = "k".repeat(257);
    for (path, expected) in [
        (format!("/kv/get?store=default&key={long}"), "257 bytes"),
        (
            format!("/kv/set?store=default&key={long}&bytes=1"),
            "257 bytes",
        ),
        (
            "/kv/set?store=default&key=k&bytes=1000001".into(),
            "1000001 bytes",
        ),
    ] {
        let (status, text) = host.text(&path).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(text.contains(expected), "{text}");
    }
    let (status, _) = host.text("/kv/set?store=default&key=k&bytes=1000000").await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn a_store_that_the_manifest_does_not_grant_is_denied() {
    let host = Setup::default().build().await;
    let (status, text) = host.text("/kv/get?store=other&key=k").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(
        text.contains("access denied") || text.contains("AccessDenied"),
        "{text}"
    );
}

#[tokio::test]
async fn a_store_that_the_host_does_not_have_fails_the_start() {
    let setup = Setup::default();
    let parts = GuestParts {
        config: setup.config.clone(),
        folder: ".".into(),
        stores: Stores::new(),
        upstreams: Vec::new(),
    };
    let error = GuestHost::build(setup.manifest(), parts)
        .await
        .err()
        .unwrap();
    assert!(matches!(error, BuildError::NoStore { .. }), "{error:?}");
}

struct FailingStore;

impl KeyValue for FailingStore {
    fn get(&self, _key: &str) -> Result<Option<Bytes>, KeyValueError> {
        Err(KeyValueError::Store("disk on fire".into()))
    }

    fn set(&self, _key: &str, _value: Bytes) -> Result<(), KeyValueError> {
        Err(KeyValueError::Store("disk on fire".into()))
    }

    fn delete(&self, _key: &str) -> Result<(), KeyValueError> {
        Err(KeyValueError::Store("disk on fire".into()))
    }

    fn exists(&self, _key: &str) -> Result<bool, KeyValueError> {
        Err(KeyValueError::Store("disk on fire".into()))
    }

    fn increment(&self, _key: &str, _delta: i64) -> Result<i64, KeyValueError> {
        Err(KeyValueError::Store("disk on fire".into()))
    }

    fn keys(&self) -> Result<Vec<String>, KeyValueError> {
        Err(KeyValueError::Store("disk on fire".into()))
    }
}

#[tokio::test]
async fn a_failing_store_is_an_error_for_the_guest_and_not_a_trap() {
    let setup = Setup {
        store: Arc::new(FailingStore),
        ..Setup::default()
    };
    let host = setup.build().await;
    let (status, text) = host.text("/kv/get?store=default&key=k").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(text.contains("disk on fire"), "{text}");
    host.says_hello().await;
}

#[tokio::test]
async fn variables_have_their_resolved_values() {
    let host = Setup::default().build().await;
    assert_eq!(host.text("/var?name=greeting").await.1, "hello world");
    let (status, text) = host.text("/var?name=other").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(text.contains("other"), "{text}");
}
