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
}

impl Items {
    /// Whether there is a body to read.
    pub fn has_body(&self) -> bool {
        !matches!(self, Self::Embeddings(Verb::Get))
    }

    /// The method that the policy is asked about.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Embeddings(verb) => verb.method(),
            Self::Classify => "POST",
        }
    }

    /// The path that the policy is asked about.
    pub fn path(&self) -> Cow<'static, str> {
        match self {
            Self::Embeddings(_) => "/v1/embeddings".into(),
            Self::Classify => "/v1/classify".into(),
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

/// Longest model name in a path, in bytes; longer ones cannot exist.
const MAX_MODEL_NAME: usize = 256;

impl Route {
    /// Finds the route, or says what is wrong: 404 for the path, 405 for the method.
    pub fn find(method: &str, path: &str) -> Result<Self, ApiError> {
        let (route, allow) = match path {
            "/v1/embeddings" => (
                Self::Items(Items::Embeddings(Verb::of(method))),
                "GET, HEAD, POST, QUERY, OPTIONS",
            ),
            "/v1/classify" => (Self::Items(Items::Classify), "POST, OPTIONS"),
            "/v1/models" => (Self::Models, "GET, HEAD, OPTIONS"),
            _ => match path.strip_prefix("/v1/models/") {
                Some(name) if !name.is_empty() && name.len() <= MAX_MODEL_NAME => {
                    (Self::Model(percent_decoded(name)), "GET, HEAD, OPTIONS")
                }
                _ => return Err(ApiError::unknown_route(path)),
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
        check("GET", "/", Err(404));
        check("GET", &format!("/v1/models/{}", "x".repeat(257)), Err(404));
    }

    #[test]
    fn wrong_method_names_the_right_ones() {
        let error = Route::find("PUT", "/v1/embeddings").unwrap_err();
        assert_eq!(error.allow, Some("GET, HEAD, POST, QUERY, OPTIONS"));
        assert!(error.message.contains("PUT") && error.message.contains("POST"));
    }
}
