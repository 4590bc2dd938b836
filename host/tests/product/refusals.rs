//! Every refusal is in the form of the API that was asked, whoever refuses.

use std::sync::Arc;

use brink_cache::tenant::hash_api_key;
use brink_host::guest::keyvalue::MemoryStore;
use bytes::Bytes;
use http::Request;
use serde_json::Value;

use crate::support::{Client, Product, Reply};

/// A path of each API that reads a body, and a path below it that is none.
const PATHS: [(&str, &str, Form); 4] = [
    ("/v1/embeddings", "/v1/nothing", Form::OpenAi),
    ("/v2/models/m/infer", "/v2/nothing", Form::Infer),
    ("/embed", "/embed", Form::Tei),
    ("/similarity", "/similarity", Form::Tei),
];

const KEY: &str = "sk-acme-0123456789abcdef";

#[derive(Clone, Copy, Debug)]
enum Form {
    OpenAi,
    Infer,
    Tei,
}

/// Holds an answer against the form: these members and no others.
fn check(reply: &Reply, form: Form, what: &str) {
    assert!(reply.status.is_client_error(), "{what}: {}", reply.status);
    assert_eq!(reply.header("content-type"), "application/json", "{what}");
    let body = reply.json();
    let names = |value: &Value| {
        let members = value
            .as_object()
            .unwrap_or_else(|| panic!("{what}: {body}"));
        members.keys().cloned().collect::<Vec<_>>()
    };
    match form {
        Form::OpenAi => {
            assert_eq!(names(&body), ["error"], "{what}");
            assert_eq!(
                names(&body["error"]),
                ["code", "message", "param", "type"],
                "{what}"
            );
        }
        Form::Infer => {
            assert_eq!(names(&body), ["error"], "{what}");
            assert!(body["error"].is_string(), "{what}: {body}");
        }
        Form::Tei => {
            assert_eq!(names(&body), ["error", "error_type"], "{what}");
            assert!(body["error"].is_string(), "{what}: {body}");
        }
    }
}

async fn send(client: &mut Client, method: &str, path: &str, key: Option<&str>) -> Reply {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    client
        .request(request.body(Bytes::from("{}")).unwrap())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_the_gateway_are_in_the_form_of_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tenants.toml");
    let hash = hash_api_key(KEY).unwrap();
    let tenants = format!(
        "version = 1\n[[tenant]]\nname = \"acme\"\nkey_hashes = [\"{hash}\"]\nrequests_per_second = 1\nburst = 20\n"
    );
    std::fs::write(&file, tenants).unwrap();
    let store = Arc::new(MemoryStore::new(64 << 20));
    let product = Product::with_tenants(file, store, &[]).await;
    let mut client = product.client().await;
    for (path, nothing, form) in PATHS {
        let reply = send(&mut client, "POST", path, None).await;
        assert_eq!(reply.status, 401, "{path}");
        check(&reply, form, &format!("no key, {path}"));
        let reply = send(&mut client, "PUT", path, Some(KEY)).await;
        assert_eq!(reply.status, 405, "{path}");
        check(&reply, form, &format!("PUT {path}"));
        if nothing != path {
            let reply = send(&mut client, "POST", nothing, Some(KEY)).await;
            assert_eq!(reply.status, 404, "{nothing}");
            check(&reply, form, nothing);
        }
        let reply = send(&mut client, "POST", path, Some(KEY)).await;
        check(&reply, form, &format!("mistake, {path}"));
    }
    for (path, _, form) in PATHS {
        let mut reply = send(&mut client, "POST", path, Some(KEY)).await;
        // Some tokens of the bucket may be left.
        while reply.status != 429 {
            reply = send(&mut client, "POST", path, Some(KEY)).await;
        }
        assert!(!reply.header("retry-after").is_empty(), "{path}");
        check(&reply, form, &format!("too often, {path}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_too_large_are_refused_in_the_form_of_the_path_by_gateway_and_host() {
    let variables = [("max_body_bytes", "1000")];
    let product = Product::with(None, &variables, &["request_body.max_bytes=100000"]).await;
    for (path, _, form) in PATHS {
        // 2,000 bytes come to the gateway, and 120,000 no further than the host.
        for (size, limit) in [(2_000, "1000"), (120_000, "100000")] {
            // The host leaves a body unread that is too large, and closes its connection.
            let mut client = product.client().await;
            let reply = client.send("POST", path, vec![b' '; size]).await.unwrap();
            assert_eq!(reply.status, 413, "{path}, {size} bytes");
            check(&reply, form, &format!("{size} bytes, {path}"));
            assert!(reply.text().contains(limit), "{path}: {}", reply.text());
        }
    }
}
