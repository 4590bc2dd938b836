//! Which of the gateway's routes a request asks for.

use std::borrow::Cow;

use crate::error::ApiError;

/// A route and its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Results of items, in one of the forms.
    Items(Items),
    /// `GET /v1/models`
    Models,
    /// `GET /v1/models/{id}`
    Model(String),
    /// What is served, as the Open Inference Protocol asks for it.
    Served(Served),
    /// `GET` and `DELETE /v1/streams/{id}`
    Kept(String),
    /// `POST /tokenize`
    Tokenize,
    /// `GET /info`
    Info,
    /// `GET /health` and `GET /ping`
    Healthy,
    /// `GET /openapi.json`
    OpenApi,
    /// A route of text-embeddings-inference that no model here can answer.
    NotOffered(&'static str),
    /// `OPTIONS` of any route: a CORS preflight.
    Preflight,
}

/// A route whose answers are made of results of items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Items {
    /// `/v1/embeddings`
    Embeddings(Verb),
    /// `POST /v1/classify`
    Classify,
    /// `POST /v2/models/{name}/infer`, or of a version.
    Infer(Target),
    /// `POST /embed`
    Embed,
    /// `POST /similarity`
    Similarity,
    /// `POST /predict`
    Predict,
    /// `POST /v1/chat/completions`
    Chat,
    /// `POST /v1/completions`
    Completion,
    /// `POST /v1/streams`
    Stream,
}

/// A model, and which version of it; `None` for the one that is served by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The model's name.
    pub model: String,
    /// The version's name.
    pub version: Option<String>,
}

/// A question of the Open Inference Protocol about what is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Served {
    /// `GET /v2/health/live`
    Live,
    /// `GET /v2/health/ready`
    Ready,
    /// `GET /v2`
    Server,
    /// `GET /v2/models/{name}`, or of a version.
    Model(Target),
    /// `GET /v2/models/{name}/ready`, or of a version.
    ModelReady(Target),
    /// `POST /v2/repository/index`
    Index,
    /// `POST /v2/repository/models/{name}/load` and `/unload`
    Change,
}

impl Items {
    /// The method that the policy is asked about.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Embeddings(verb) => verb.method(),
            Self::Classify
            | Self::Infer(_)
            | Self::Embed
            | Self::Similarity
            | Self::Predict
            | Self::Chat
            | Self::Completion
            | Self::Stream => "POST",
        }
    }

    /// The path that the policy is asked about.
    pub fn path(&self) -> Cow<'static, str> {
        match self {
            Self::Embeddings(_) => "/v1/embeddings".into(),
            Self::Classify => "/v1/classify".into(),
            Self::Embed => "/embed".into(),
            Self::Similarity => "/similarity".into(),
            Self::Predict => "/predict".into(),
            Self::Chat => "/v1/chat/completions".into(),
            Self::Completion => "/v1/completions".into(),
            Self::Stream => "/v1/streams".into(),
            Self::Infer(Target { model, version }) => match version {
                Some(version) => format!("/v2/models/{model}/versions/{version}/infer").into(),
                None => format!("/v2/models/{model}/infer").into(),
            },
        }
    }
}

/// How embeddings are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// As OpenAI defines it.
    Post,
    /// The same with a body, but safe: caches may store the answer (RFC 10008).
    Query,
    /// The same in the query of the URL, for GET and HEAD.
    Get,
}

impl Verb {
    fn of(method: &str) -> Self {
        match method {
            "QUERY" => Self::Query,
            "GET" | "HEAD" => Self::Get,
            _ => Self::Post,
        }
    }

    /// The method that the policy is asked about.
    pub fn method(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Query => "QUERY",
            Self::Get => "GET",
        }
    }
}

/// Methods of routes that only tell something.
const READ: &str = "GET, HEAD, OPTIONS";
/// Methods of routes that read a body.
const WRITE: &str = "POST, OPTIONS";

/// Longest model name in a path, in bytes; longer ones cannot exist.
const MAX_MODEL_NAME: usize = 256;

impl Route {
    /// Whether there is a body to read.
    pub fn has_body(&self) -> bool {
        match self {
            Self::Items(route) => *route != Items::Embeddings(Verb::Get),
            Self::Served(question) => *question == Served::Index,
            Self::Tokenize => true,
            Self::Models
            | Self::Model(_)
            | Self::Kept(_)
            | Self::Info
            | Self::Healthy
            | Self::OpenApi
            | Self::NotOffered(_)
            | Self::Preflight => false,
        }
    }

    /// Finds the route, or says what is wrong: 404 for the path, 405 for the method.
    pub fn find(method: &str, path: &str) -> Result<Self, ApiError> {
        let (route, allow) = match path {
            "/v1/embeddings" => (
                Self::Items(Items::Embeddings(Verb::of(method))),
                "GET, HEAD, POST, QUERY, OPTIONS",
            ),
            "/v1/classify" => (Self::Items(Items::Classify), WRITE),
            "/v1/chat/completions" => (Self::Items(Items::Chat), WRITE),
            "/v1/completions" => (Self::Items(Items::Completion), WRITE),
            "/v1/streams" => (Self::Items(Items::Stream), WRITE),
            "/v1/models" => (Self::Models, READ),
            "/openapi.json" => (Self::OpenApi, READ),
            _ if let Some(id) = path.strip_prefix("/v1/streams/") => {
                (Self::Kept(id.to_owned()), "GET, DELETE, OPTIONS")
            }
            _ => match path.strip_prefix("/v1/models/") {
                Some(name) if is_name(name) => (Self::Model(percent_decoded(name)), READ),
                Some(_) => return Err(ApiError::unknown_route(path)),
                None => inference_protocol(path)
                    .or_else(|| text_embeddings_inference(path))
                    .ok_or_else(|| ApiError::unknown_route(path))?,
            },
        };
        if method == "OPTIONS" {
            return Ok(Self::Preflight);
        }
        if allow.split(", ").any(|allowed| allowed == method) {
            Ok(route)
        } else {
            Err(ApiError::wrong_method(method, allow))
        }
    }
}

fn text_embeddings_inference(path: &str) -> Option<(Route, &'static str)> {
    Some(match path {
        // Clients that know an address and no route ask there.
        "/" | "/embed" => (Route::Items(Items::Embed), WRITE),
        "/similarity" => (Route::Items(Items::Similarity), WRITE),
        "/predict" => (Route::Items(Items::Predict), WRITE),
        "/tokenize" => (Route::Tokenize, WRITE),
        "/info" => (Route::Info, READ),
        "/health" | "/ping" => (Route::Healthy, READ),
        "/embed_all" => (
            Route::NotOffered("models here give one vector for a text"),
            WRITE,
        ),
        "/embed_sparse" => (Route::NotOffered("models here give dense vectors"), WRITE),
        "/rerank" => (
            Route::NotOffered("models here read one text at a time"),
            WRITE,
        ),
        "/decode" => (
            Route::NotOffered("models here read texts and write none"),
            WRITE,
        ),
        _ => return None,
    })
}

/// Routes of the Open Inference Protocol, and of its extension for repositories.
fn inference_protocol(path: &str) -> Option<(Route, &'static str)> {
    let rest = path.strip_prefix("/v2")?;
    let question = match rest {
        "" => Served::Server,
        "/health/live" => Served::Live,
        "/health/ready" => Served::Ready,
        "/repository/index" => return Some((Route::Served(Served::Index), WRITE)),
        _ => {
            if let Some(rest) = rest.strip_prefix("/repository/models/") {
                let name = ["/load", "/unload"]
                    .iter()
                    .find_map(|end| rest.strip_suffix(end));
                return name
                    .filter(|name| is_name(name))
                    .map(|_| (Route::Served(Served::Change), WRITE));
            }
            let rest = rest.strip_prefix("/models/")?;
            if let Some(rest) = rest.strip_suffix("/infer") {
                return Some((Route::Items(Items::Infer(target(rest)?)), WRITE));
            }
            match rest.strip_suffix("/ready") {
                Some(rest) => Served::ModelReady(target(rest)?),
                None => Served::Model(target(rest)?),
            }
        }
    };
    Some((Route::Served(question), READ))
}

/// `{name}` or `{name}/versions/{version}`. A name may hold a slash, and a version may not.
fn target(rest: &str) -> Option<Target> {
    let (name, version) = match rest.rsplit_once("/versions/") {
        Some((name, version)) if !version.contains('/') => (name, Some(version)),
        _ => (rest, None),
    };
    let are_names = is_name(name) && version.is_none_or(is_name);
    are_names.then(|| Target {
        model: percent_decoded(name),
        version: version.map(percent_decoded),
    })
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_MODEL_NAME
}

/// Decodes `%2F` and the like (RFC 3986 §2.1), since model names may hold a slash. What is no
/// valid escape stays as it is and will match no model.
fn percent_decoded(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escape = (first == b'%')
            .then(|| after.get(..2))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escape.unwrap_or(first));
        rest = if escape.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use brink_protocol::refusal::TEI_PATHS;

    use super::*;

    #[test]
    fn paths_and_methods_are_told_apart() {
        let check = |method: &str, path: &str, expected: Result<Route, u16>| {
            let found = Route::find(method, path).map_err(|error| error.status.as_u16());
            assert_eq!(found, expected, "{method} {path}");
        };
        for (method, verb) in [
            ("POST", Verb::Post),
            ("QUERY", Verb::Query),
            ("GET", Verb::Get),
            ("HEAD", Verb::Get),
        ] {
            check(
                method,
                "/v1/embeddings",
                Ok(Route::Items(Items::Embeddings(verb))),
            );
        }
        check("OPTIONS", "/v1/embeddings", Ok(Route::Preflight));
        check("PUT", "/v1/embeddings", Err(405));
        check("query", "/v1/embeddings", Err(405));
        check("POST", "/v1/embeddings/", Err(404));
        check("GET", "/v1/models", Ok(Route::Models));
        check("HEAD", "/v1/models", Ok(Route::Models));
        check("DELETE", "/v1/models", Err(405));
        check("GET", "/v1/models/a", Ok(Route::Model("a".to_owned())));
        check(
            "GET",
            "/v1/models/org%2Fa",
            Ok(Route::Model("org/a".to_owned())),
        );
        check(
            "GET",
            "/v1/models/org/a",
            Ok(Route::Model("org/a".to_owned())),
        );
        check(
            "GET",
            "/v1/models/%zz%",
            Ok(Route::Model("%zz%".to_owned())),
        );
        check("GET", "/v1/models/", Err(404));
        check("GET", "/", Err(405));
        check("GET", &format!("/v1/models/{}", "x".repeat(257)), Err(404));
    }

    #[test]
    fn models_and_versions_are_found_in_paths_of_the_inference_protocol() {
        let target = |model: &str, version: Option<&str>| Target {
            model: model.to_owned(),
            version: version.map(str::to_owned),
        };
        let check = |method: &str, path: &str, expected: Result<Route, u16>| {
            let found = Route::find(method, path).map_err(|error| error.status.as_u16());
            assert_eq!(found, expected, "{method} {path}");
        };
        let infer = |target| Ok(Route::Items(Items::Infer(target)));
        let served = |question| Ok(Route::Served(question));
        check("POST", "/v2/models/m/infer", infer(target("m", None)));
        check("POST", "/v2/models/a/b/infer", infer(target("a/b", None)));
        check(
            "POST",
            "/v2/models/a%2Fb/versions/2/infer",
            infer(target("a/b", Some("2"))),
        );
        check("GET", "/v2/models/m/infer", Err(405));
        check(
            "GET",
            "/v2/models/m",
            served(Served::Model(target("m", None))),
        );
        check(
            "GET",
            "/v2/models/m/versions/1",
            served(Served::Model(target("m", Some("1")))),
        );
        check(
            "GET",
            "/v2/models/m/versions/1/ready",
            served(Served::ModelReady(target("m", Some("1")))),
        );
        check("HEAD", "/v2/health/ready", served(Served::Ready));
        check("GET", "/v2/health/live", served(Served::Live));
        check("GET", "/v2", served(Served::Server));
        check("POST", "/v2/repository/index", served(Served::Index));
        check(
            "POST",
            "/v2/repository/models/a/b/unload",
            served(Served::Change),
        );
        check("GET", "/v2/repository/index", Err(405));
        for path in [
            "/v2/",
            "/v2/models/",
            "/v2/models/m/versions/",
            "/v2/health",
            "/v2x",
            "/v2/repository/models//load",
        ] {
            check("GET", path, Err(404));
        }
        check(
            "GET",
            &format!("/v2/models/m/versions/{}", "x".repeat(257)),
            Err(404),
        );
    }

    #[test]
    fn all_paths_of_text_embeddings_inference_are_routes() {
        for path in TEI_PATHS {
            let found = |method| Route::find(method, path).is_ok();
            assert!(found("GET") != found("POST"), "{path}");
        }
        assert_eq!(
            Route::find("POST", "/embed"),
            Ok(Route::Items(Items::Embed))
        );
        assert_eq!(Route::find("GET", "/ping"), Ok(Route::Healthy));
    }

    #[test]
    fn wrong_method_names_the_right_ones() {
        let error = Route::find("PUT", "/v1/embeddings").unwrap_err();
        assert_eq!(error.allow, Some("GET, HEAD, POST, QUERY, OPTIONS"));
        assert!(error.message.contains("PUT") && error.message.contains("POST"));
    }
}
