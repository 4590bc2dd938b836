//! The document: routes with their bodies, answers and errors.

use brink_gateway::forms::classify::RAW_MEDIA;
use brink_gateway::forms::infer::HEADER_LENGTH;
use serde_json::{Map, Value, json};

use super::operations::{Errors, Operation, inference_protocol, openai, text_embeddings_inference};
use super::schemas::{self, reference, top_k};

/// The whole document.
pub(super) fn document() -> Value {
    let mut paths = Map::new();
    let all = [openai(), inference_protocol(), text_embeddings_inference()];
    for operation in all.into_iter().flatten() {
        let written = operation.write();
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = written;
    }
    add_get_of_embeddings(&mut paths);
    add_raw_bodies(&mut paths);
    add_binary_tensors(&mut paths);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Brink",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "AI results at the edge, cached for each item. HEAD is GET without the body; every route answers \
                            OPTIONS. /v1/embeddings also takes QUERY (RFC 10008) with the body of POST, which this version \
                            of OpenAPI cannot say. A body has at most max_body_bytes bytes, which the operator sets.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "Where tenants are stored."}},
            "headers": headers(),
            "parameters": parameters(),
            "responses": responses(),
            "schemas": schemas::all(),
        },
    })
}

impl Operation {
    fn write(&self) -> Value {
        let mut ok = json!({"description": "The answer."});
        if let Some(answer) = self.answer {
            ok["content"] = json!({"application/json": {"schema": reference(answer)}});
        }
        if self.caches() {
            ok["headers"] = CACHE_HEADERS
                .iter()
                .map(|(name, _)| ((*name).to_owned(), within("headers", name)))
                .collect();
        }
        let error = within("responses", self.errors.name());
        let mut operation = json!({
            "operationId": self.id,
            "summary": self.summary,
            "responses": {"200": ok, "4XX": error, "5XX": error},
        });
        let parameters = self.parameters();
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        if let Some((schema, examples)) = &self.body {
            let examples: Map<_, _> = (1..)
                .zip(examples)
                .map(|(number, value)| (number.to_string(), json!({"value": value})))
                .collect();
            operation["requestBody"] = json!({"required": true, "content": {
                "application/json": {"schema": reference(schema), "examples": examples}}});
        }
        operation
    }

    /// Whether its answers are made of stored results.
    fn caches(&self) -> bool {
        self.body.is_some() && self.path != "/tokenize"
    }

    fn parameters(&self) -> Vec<Value> {
        let path = ["id", "name", "version"];
        let path = path
            .into_iter()
            .filter(|name| self.path.contains(&format!("{{{name}}}")));
        let headers = ["Cache-Control", "Priority"];
        let headers = headers.into_iter().filter(|_| self.caches());
        path.chain(headers)
            .map(|name| within("parameters", name))
            .collect()
    }
}

fn within(part: &str, name: &str) -> Value {
    json!({"$ref": format!("#/components/{part}/{name}")})
}

/// Headers of answers that are made of stored results.
const CACHE_HEADERS: [(&str, &str); 5] = [
    ("Cache-Status", "RFC 9211: how the caches answered."),
    (
        "brink-items",
        "How many items were hits, misses and the like.",
    ),
    (
        "brink-policy",
        "Which version of the policy decided, and by which rule.",
    ),
    ("Server-Timing", "Milliseconds, by part."),
    (
        "Age",
        "Seconds since the oldest stored result was computed.",
    ),
];

fn headers() -> Value {
    let header = |what: &str| json!({"description": what, "schema": {"type": "string"}});
    CACHE_HEADERS
        .iter()
        .map(|(name, what)| ((*name).to_owned(), header(what)))
        .collect()
}

fn parameters() -> Value {
    let path = |name: &str| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}});
    let header = |name: &str, what: &str| json!({"name": name, "in": "header", "description": what, "schema": {"type": "string"}});
    let directives = "RFC 9111: no-cache, no-store, only-if-cached, max-age, min-fresh, max-stale.";
    json!({
        "id": path("id"), "name": path("name"), "version": path("version"),
        "Cache-Control": header("Cache-Control", directives),
        "Priority": header("Priority", "RFC 9218: u=0 is the most urgent, u=7 the least."),
    })
}

fn responses() -> Value {
    [Errors::OpenAi, Errors::Infer, Errors::Tei]
        .map(Errors::name)
        .into_iter()
        .map(|name| {
            let content = json!({"application/json": {"schema": reference(name)}});
            let answer = json!({"description": "An error.", "content": content});
            (name.to_owned(), answer)
        })
        .collect()
}

/// The same request in the query of the URL, for caches that are not ours.
fn add_get_of_embeddings(paths: &mut Map<String, Value>) {
    let path = &mut paths["/v1/embeddings"];
    let mut get = path["post"].clone();
    get["operationId"] = "embeddingsByQuery".into();
    get["summary"] =
        "The same, with a validator and lifetimes, so that browsers and CDNs can keep it.".into();
    let operation = get.as_object_mut().unwrap();
    operation.remove("requestBody");
    let parameters = operation["parameters"].as_array_mut().unwrap();
    let text = json!({"type": "string"});
    let texts = json!({"type": "array", "items": text});
    for (name, schema, required) in [
        ("model", text.clone(), true),
        ("input", texts.clone(), false),
        ("input_blake3", texts, false),
        (
            "encoding_format",
            json!({"enum": ["float", "base64"]}),
            false,
        ),
        (
            "dimensions",
            json!({"type": "integer", "minimum": 1}),
            false,
        ),
        ("truncate", json!({"type": "boolean"}), false),
        ("user", text, false),
    ] {
        parameters
            .push(json!({"name": name, "in": "query", "required": required, "schema": schema}));
    }
    path["get"] = get;
}

/// A body that is the picture or file itself, with the rest in the query.
fn add_raw_bodies(paths: &mut Map<String, Value>) {
    let operation = &mut paths["/v1/classify"]["post"];
    for media in RAW_MEDIA {
        operation["requestBody"]["content"][media] =
            json!({"schema": {"type": "string", "format": "binary"}});
    }
    let parameters = operation["parameters"].as_array_mut().unwrap();
    let what = "Where the body is the input itself.";
    for (name, schema) in [("model", json!({"type": "string"})), ("top_k", top_k())] {
        parameters
            .push(json!({"name": name, "in": "query", "description": what, "schema": schema}));
    }
}

/// JSON followed by the bytes of tensors.
fn add_binary_tensors(paths: &mut Map<String, Value>) {
    for (path, operations) in paths
        .iter_mut()
        .filter(|(path, _)| path.ends_with("/infer"))
    {
        assert!(path.starts_with("/v2/models/"));
        let operation = &mut operations["post"];
        let binary = json!({"schema": {"type": "string", "format": "binary"}});
        operation["requestBody"]["content"]["application/octet-stream"] = binary.clone();
        operation["responses"]["200"]["content"]["application/octet-stream"] = binary;
        let what = "Bytes of the JSON that the body begins with; the bytes of tensors follow.";
        let header = json!({"description": what, "schema": {"type": "integer", "minimum": 1}});
        operation["responses"]["200"]["headers"][HEADER_LENGTH] = header.clone();
        let mut parameter = header;
        parameter["name"] = HEADER_LENGTH.into();
        parameter["in"] = "header".into();
        operation["parameters"]
            .as_array_mut()
            .unwrap()
            .push(parameter);
    }
}
