//! Routes, files, headers and the start of an application.

use std::fs;

use brink_host::guest::{
    BuildError, GuestConfig, GuestError, GuestHost, GuestParts, component_imports, keyvalue::Stores,
};
use http::{Request, StatusCode};
use http_body_util::Full;
use tempfile::TempDir;

use crate::support::{Host, Setup, read, test_guest};

#[tokio::test]
async fn static_responses_and_health_need_no_guest() {
    let setup = Setup {
        tables: r#"
            [[trigger.http]]
            route = "/about"
            static_response = { status_code = 201, headers = { a = "b" }, body = "fixed" }
        "#,
        ..Setup::default()
    };
    let host = setup.build().await;
    let response = host.call("/about?x=y").await.unwrap();
    assert_eq!(response.headers()["a"], "b");
    assert_eq!(read(response).await, (StatusCode::CREATED, "fixed".into()));
    let health = host.text("/.well-known/spin/health").await;
    assert_eq!(health, (StatusCode::OK, "OK".into()));
    let error = host.call("/.well-known/spin/other").await.err().unwrap();
    assert!(matches!(error, GuestError::NoRoute { .. }));
    assert_eq!(error.status(), StatusCode::NOT_FOUND);
    assert_eq!(crate::support::count(&host.stats().requests), 0);
}

#[tokio::test]
async fn the_guest_finds_spins_headers() {
    let host = Setup::default().build().await;
    let (_, text) = host.text("/headers?a=b").await;
    for line in [
        "spin-path-info: /headers",
        "spin-full-url: http://edge.test/headers?a=b",
        "spin-client-addr: 127.0.0.1:4000",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
}

#[tokio::test]
async fn an_answer_to_head_lets_the_guest_finish() {
    let host = Setup::default().build().await;
    let request = Request::head("/hello")
        .body(Full::<bytes::Bytes>::default())
        .unwrap();
    drop(host.send(request).await.unwrap());
    host.settle().await;
    assert_eq!(crate::support::count(&host.stats().discarded), 0);
}

#[tokio::test]
async fn files_are_there_and_read_only_what_was_listed() {
    let setup = Setup {
        component: "files = ['guest/main.rs', { source = 'guests', destination = '/guests' }]",
        ..Setup::default()
    };
    let host = setup.build().await;
    let (_, text) = host.text("/file?path=/guest/main.rs").await;
    assert!(text.contains("mod isolation;"), "{text}");
    let (status, _) = host.text("/file?path=/guests/hostile/Cargo.toml").await;
    assert_eq!(status, StatusCode::OK);
    for path in ["/guest/support.rs", "/guests/../spin.toml", "/etc/passwd"] {
        let (status, _) = host.text(&format!("/file?path={path}")).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
    }
}

#[tokio::test]
async fn a_damaged_compiled_component_is_compiled_again() {
    let folder = TempDir::new().unwrap();
    let build = async || -> Host {
        let mut setup = Setup::default();
        setup.config = GuestConfig {
            cache_dir: Some(folder.path().to_owned()),
            ..setup.config
        };
        setup.build().await
    };
    build().await.says_hello().await;
    let files: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    assert_eq!(
        files.len(),
        2,
        "the component, and the core module of its door"
    );
    for file in files {
        let good = fs::read(&file).unwrap();
        let mut damaged = good.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0xff;
        fs::write(&file, damaged).unwrap();
        build().await.says_hello().await;
        assert_eq!(fs::read(&file).unwrap(), good);
        let written = fs::metadata(&file).unwrap().modified().unwrap();
        build().await.says_hello().await;
        let reused = fs::metadata(&file).unwrap().modified().unwrap();
        assert_eq!(reused, written, "a good file is reused");
    }
}

/// Builds an application whose component is `wasm`.
async fn build_with(wasm: &[u8]) -> BuildError {
    let folder = TempDir::new().unwrap();
    let source = folder.path().join("broken.wasm");
    fs::write(&source, wasm).unwrap();
    let setup = Setup::default();
    let mut manifest = setup.manifest();
    manifest.components.get_mut("test").unwrap().source = source;
    let parts = GuestParts {
        config: setup.config,
        folder: folder.path().to_owned(),
        stores: Stores::new().with("default", setup.store),
        upstreams: Vec::new(),
    };
    GuestHost::build(manifest, parts).await.err().unwrap()
}

#[tokio::test]
async fn what_cannot_run_fails_the_start_with_a_reason() {
    let error = build_with(b"not wasm").await;
    assert!(matches!(error, BuildError::Compile { .. }), "{error:?}");
    let importing = r#"(component
        (import "brink:test/unserved@1.0.0" (instance (export "f" (func))))
    )"#;
    let error = build_with(&wat::parse_str(importing).unwrap()).await;
    let BuildError::Interfaces { source, .. } = &error else {
        panic!("{error:?}");
    };
    let text = format!("{source:?}");
    assert!(text.contains("brink:test/unserved@1.0.0"), "{text}");
}

#[test]
fn imports_of_a_component_are_listed_with_their_versions() {
    let wasm = fs::read(test_guest()).unwrap();
    let imports = component_imports(&wasm).unwrap();
    for expected in [
        "wasi:http/types@0.3.0",
        "wasi:http/client@0.3.0",
        "spin:key-value/key-value@3.0.0",
        "spin:variables/variables@3.0.0",
    ] {
        assert!(
            imports.iter().any(|name| name == expected),
            "{expected} in {imports:?}"
        );
    }
}
