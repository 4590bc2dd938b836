//! A request as `brink policy explain` reads it from a file.

use brink_cache::canonical::{self, CanonicalError};
use brink_cache::policy::{RequestFacts, Sampling, TASKS, ToOrigin};
use brink_cache::{ModelDigest, Policy, RequestControl};
use serde::Deserialize;
use serde_json::{Map, Value};

/// What a policy needs to know about a request.
#[derive(Debug)]
pub(super) struct Request {
    method: String,
    route: String,
    tenant: String,
    model: String,
    task: String,
    /// The URL that an origin of the policy is asked for.
    pub(super) url: Option<String>,
    pub(super) digest: Option<ModelDigest>,
    pub(super) control: RequestControl,
    pub(super) body: Map<String, Value>,
}

/// The file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRequest {
    route: String,
    method: Option<String>,
    tenant: Option<String>,
    model: Option<String>,
    task: Option<String>,
    digest: Option<String>,
    cache_control: Option<String>,
    #[serde(default)]
    body: Map<String, Value>,
}

impl Request {
    /// Reads the file, or says what is wrong with it.
    pub(super) fn parse(bytes: &[u8], policy: &Policy) -> Result<Self, String> {
        let object = canonical::parse(bytes).map_err(|error| match error {
            CanonicalError::Json { line, column } => {
                format!("line {line}, column {column}: it is no JSON, or a member occurs twice")
            }
            CanonicalError::NotAnObject | CanonicalError::Inexact => {
                "it is JSON and no object".to_owned()
            }
        })?;
        let raw: RawRequest =
            serde_json::from_value(Value::Object(object)).map_err(|error| error.to_string())?;
        let body_model = raw.body.get("model").and_then(Value::as_str);
        let model = raw.model.or_else(|| body_model.map(str::to_owned));
        let method = raw.method.unwrap_or_else(|| "POST".to_owned());
        let url = to_origin(policy, &raw.route)?.map(|to| to.url(None));
        let task = match raw.task {
            Some(task) => task,
            None => task_of(policy, &method, &raw.route)?,
        };
        if !TASKS.contains(&task.as_str()) {
            return Err(format!("task is {task:?}; there are {TASKS:?}"));
        }
        Ok(Self {
            method,
            url,
            tenant: raw.tenant.unwrap_or_else(|| "default".to_owned()),
            model: model.unwrap_or_default(),
            digest: raw.digest.as_deref().map(digest).transpose()?,
            control: RequestControl::parse(raw.cache_control.as_deref().unwrap_or_default()),
            route: raw.route,
            task,
            body: raw.body,
        })
    }

    /// What rules are asked about.
    pub(super) fn facts(&self) -> RequestFacts<'_> {
        RequestFacts {
            method: &self.method,
            route: &self.route,
            tenant: &self.tenant,
            model: &self.model,
            task: &self.task,
            sampling: Sampling::of_body(&self.body),
        }
    }
}

/// Routes of the gateway's own, which go before origins.
const OWN: [&str; 2] = ["/v1/embeddings", "/v1/models"];

fn to_origin<'p>(policy: &'p Policy, route: &'p str) -> Result<Option<ToOrigin<'p>>, String> {
    if OWN.contains(&route) || route.starts_with("/v1/models/") {
        return Ok(None);
    }
    let found = policy.route_to_origin(route);
    found.map_err(|refusal| format!("the route {route:?} would be refused: {refusal}"))
}

/// What a route is known for; that of an origin, what the policy declares.
fn task_of(policy: &Policy, method: &str, route: &str) -> Result<String, String> {
    let declared = to_origin(policy, route)?.map(|to| match to.json {
        Some(json) if method == "POST" => json.task.clone(),
        _ => "origin".to_owned(),
    });
    let known = match route {
        "/v1/embeddings" => "embed",
        "/v1/chat/completions" | "/v1/completions" => "complete",
        "/v1/classify" => "classify",
        _ => "origin",
    };
    Ok(declared.unwrap_or_else(|| known.to_owned()))
}

fn digest(text: &str) -> Result<ModelDigest, String> {
    let wanted = || format!("digest is {text:?}; 64 hexadecimal digits are wanted");
    let hash = blake3::Hash::from_hex(text).map_err(|_| wanted())?;
    Ok(ModelDigest(*hash.as_bytes()))
}
