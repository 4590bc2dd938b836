//! The document at `/openapi.json`: made here, and held against routes, readers and the file that is served.
//!
//! To write the file anew: `BRINK_WRITE_OPENAPI=1 cargo test --package brink-gateway --test rules openapi`.

mod document;
mod operations;
mod schemas;
mod texts;

use std::collections::BTreeSet;
use std::sync::Arc;

use brink_cache::ModelDigest;
use brink_gateway::head::Head;
use brink_gateway::openapi::{DOCUMENT, reply};
use brink_gateway::route::{Items, Route, Served};
use brink_protocol::{Catalog, ModelInfo, ModelKind, Reads, TextLimits};
use serde::Serialize;
use serde_json::ser::PrettyFormatter;
use serde_json::{Serializer, Value};

use crate::world::begun_among;

/// The models that the examples speak of.
fn catalog() -> Arc<Catalog> {
    let text = TextLimits {
        max_tokens: 256,
        vocabulary: 30_522,
    };
    let model = |name: &str, kind| ModelInfo {
        name: name.to_owned(),
        version: "1".to_owned(),
        digest: ModelDigest([1; 32]),
        kind,
        created: 0,
        owned_by: "tests".to_owned(),
    };
    let classify = |reads| ModelKind::Classify {
        reads,
        labels: vec!["a".to_owned(), "b".to_owned()],
    };
    let max_bytes = 1_000_000;
    Arc::new(Catalog {
        models: vec![
            model(
                "all-MiniLM-L6-v2",
                ModelKind::Embed {
                    text,
                    dimensions: 384,
                },
            ),
            model("efficientnet-lite0", classify(Reads::Image { max_bytes })),
            model("magika", classify(Reads::Bytes { max_bytes })),
            model("topics", classify(Reads::Text(text))),
            model(
                "smollm2-135m-instruct",
                ModelKind::Generate {
                    text,
                    max_new_tokens: 256,
                    chat: true,
                },
            ),
        ],
        ..Catalog::default()
    })
}

/// Where the document has a route. No `_` arm: a new route does not compile until someone has documented it.
fn template(route: &Route) -> &'static str {
    let of = |version: &Option<String>, without, with| match version {
        None => without,
        Some(_) => with,
    };
    match route {
        Route::Items(Items::Embeddings(_)) => "/v1/embeddings",
        Route::Items(Items::Classify) => "/v1/classify",
        Route::Items(Items::Infer(target)) => of(
            &target.version,
            "/v2/models/{name}/infer",
            "/v2/models/{name}/versions/{version}/infer",
        ),
        Route::Items(Items::Embed) => "/embed",
        Route::Items(Items::Similarity) => "/similarity",
        Route::Items(Items::Predict) => "/predict",
        Route::Items(Items::Chat) => "/v1/chat/completions",
        Route::Items(Items::Completion) => "/v1/completions",
        Route::Items(Items::Stream) => "/v1/streams",
        Route::Kept(_) => "/v1/streams/{id}",
        Route::Models => "/v1/models",
        Route::Model(_) => "/v1/models/{id}",
        Route::Served(Served::Live) => "/v2/health/live",
        Route::Served(Served::Ready) => "/v2/health/ready",
        Route::Served(Served::Server) => "/v2",
        Route::Served(Served::Model(target)) => of(
            &target.version,
            "/v2/models/{name}",
            "/v2/models/{name}/versions/{version}",
        ),
        Route::Served(Served::ModelReady(target)) => of(
            &target.version,
            "/v2/models/{name}/ready",
            "/v2/models/{name}/versions/{version}/ready",
        ),
        Route::Served(Served::Index) => "/v2/repository/index",
        Route::Served(Served::Change) => "/v2/repository/models/{name}/load",
        Route::Tokenize => "/tokenize",
        Route::Info => "/info",
        Route::Healthy => "/health",
        Route::OpenApi => "/openapi.json",
        Route::NotOffered(_) => "/embed_all",
        Route::Preflight => "",
    }
}

/// Paths that are the same route as another one.
const TWINS: [(&str, &str); 5] = [
    (
        "/v2/repository/models/{name}/unload",
        "/v2/repository/models/{name}/load",
    ),
    ("/ping", "/health"),
    ("/embed_sparse", "/embed_all"),
    ("/rerank", "/embed_all"),
    ("/decode", "/embed_all"),
];

const ALL: [&str; 25] = [
    "/v1/streams",
    "/v1/streams/{id}",
    "/v1/embeddings",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/classify",
    "/v2/models/{name}/infer",
    "/v2/models/{name}/versions/{version}/infer",
    "/embed",
    "/similarity",
    "/predict",
    "/v1/models",
    "/v1/models/{id}",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2",
    "/v2/models/{name}",
    "/v2/models/{name}/versions/{version}",
    "/v2/models/{name}/ready",
    "/v2/models/{name}/versions/{version}/ready",
    "/v2/repository/index",
    "/v2/repository/models/{name}/load",
    "/tokenize",
    "/info",
    "/openapi.json",
];

/// A path of the document as a client would write it.
fn filled(template: &str) -> String {
    let model = "all-MiniLM-L6-v2";
    template
        .replace("{id}", model)
        .replace("{name}", model)
        .replace("{version}", "1")
}

fn paths() -> Vec<(String, Value)> {
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    document["paths"]
        .as_object()
        .unwrap()
        .clone()
        .into_iter()
        .collect()
}

#[test]
fn the_file_is_what_the_code_makes() {
    let mut made = Vec::new();
    // Lines are for those who read changes of it, and indentation would be a third of the file.
    let formatter = PrettyFormatter::with_indent(b"");
    let mut serializer = Serializer::with_formatter(&mut made, formatter);
    document::document().serialize(&mut serializer).unwrap();
    made.push(b'\n');
    if std::env::var_os("BRINK_WRITE_OPENAPI").is_some() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        std::fs::write(file, &made).unwrap();
        return;
    }
    assert!(
        made == DOCUMENT.as_bytes(),
        "openapi.json is old: see the head of this module"
    );
}

#[test]
fn every_route_is_in_it_and_nothing_else() {
    let mut seen = BTreeSet::new();
    for (path, operations) in paths() {
        for method in operations.as_object().unwrap().keys() {
            let route = Route::find(&method.to_uppercase(), &filled(&path)).unwrap();
            let twin = TWINS.iter().find(|(one, _)| *one == path);
            let expected = twin.map_or(path.as_str(), |(_, other)| other);
            assert_eq!(template(&route), expected, "{method} {path}");
        }
        // What the document leaves out is not allowed.
        for method in ["get", "post", "put", "delete"] {
            let is_there = operations.get(method).is_some();
            let is_route = Route::find(&method.to_uppercase(), &filled(&path)).is_ok();
            assert_eq!(is_there, is_route, "{method} {path}");
        }
        seen.insert(path);
    }
    for template in ALL {
        assert!(seen.contains(template), "{template}");
    }
    assert_eq!(
        seen.len(),
        ALL.len() + TWINS.len() + ["/health", "/embed_all"].len()
    );
}

#[test]
fn every_example_is_taken_by_the_readers() {
    let mut taken = 0;
    for (path, operations) in paths() {
        let Some(examples) =
            operations["post"]["requestBody"]["content"]["application/json"]["examples"]
                .as_object()
        else {
            continue;
        };
        for example in examples.values() {
            let head = format!("POST {}\ncontent-type: application/json", filled(&path));
            let body = example["value"].to_string();
            let begun = begun_among(&catalog(), &Arc::default(), &head, body.as_bytes());
            assert!(begun.is_ok(), "{path}: {:?}", begun.err());
            taken += 1;
        }
    }
    assert!(taken >= 10);
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_used() {
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for name in schemas.keys() {
        let used = format!("\"#/components/schemas/{name}\"");
        assert!(DOCUMENT.contains(&used), "{name}");
    }
    for part in DOCUMENT.split("\"#/").skip(1) {
        let pointer = format!("/{}", part.split('"').next().unwrap());
        assert!(document.pointer(&pointer).is_some(), "{pointer}");
    }
}

#[test]
fn clients_that_have_the_document_get_304() {
    let reply_to = |fields: &str| {
        let head = format!("GET /openapi.json{fields}");
        reply(&Head::parse(head.as_bytes()).unwrap())
    };
    let first = reply_to("");
    assert_eq!(
        (first.status.as_u16(), &*first.body),
        (200, DOCUMENT.as_bytes())
    );
    let tag = first.header("etag").unwrap();
    assert_eq!(
        reply_to(&format!("\nif-none-match: {tag}")).status.as_u16(),
        304
    );
    assert_eq!(reply_to("\nif-none-match: \"other\"").status.as_u16(), 200);
}
