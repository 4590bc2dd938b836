//! The edge that is warmed, and what it answers.

use std::error::Error;
use std::time::Duration;

use brink_cache::outcome::OutcomeCounts;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Deserialize;
use tokio::time::timeout;

use crate::connect::{Connector, Roots, Tls};

/// Longest time for one try, from the connection to the end of the answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest time for a TCP connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest body of an error that is looked at.
const MAX_ERROR_BYTES: usize = 64 << 10;
/// Longest message of an edge that is shown, in characters.
const MAX_MESSAGE: usize = 200;

/// Where every request goes.
const ROUTE: &str = "/v1/embeddings";

/// The edge that is warmed, with the connections to it.
pub struct Edge {
    client: legacy::Client<Connector, Full<Bytes>>,
    url: Uri,
    authorization: Option<HeaderValue>,
}

/// Why an edge cannot be asked. Neither URL nor key is repeated: both may hold secrets.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EdgeError {
    /// The URL names no edge.
    #[error("the URL is not http://HOST[:PORT][/PATH] or https://..., without user name and query")]
    Url,
    /// The API key has characters that no header may have.
    #[error("the API key has characters that cannot be sent in a header")]
    Key,
}

/// What became of a request: how many of its items were hits, misses and so on.
pub(super) type Answered = Result<OutcomeCounts, Failure>;

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{status}: {message}")]
    Refused { status: StatusCode, message: String },
    #[error("the answer has no brink-items: this is no edge of Brink, or another release")]
    NoEdge,
    #[error("no answer within {REQUEST_TIMEOUT:?}")]
    Timeout,
    #[error("the edge cannot be reached: {0}")]
    Unreachable(String),
    #[error("the answer broke off: {0}")]
    BrokenOff(#[from] hyper::Error),
}

/// What one try brought.
#[derive(Debug)]
pub(super) enum Reply {
    /// There is nothing more to expect.
    Final(Answered),
    /// The edge asks to come back after this time.
    Later { after: Duration, failure: Failure },
}

impl Edge {
    /// The edge at `url` (such as `https://edge.example`), asked with an API key if there is one.
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// When the URL names no edge, or the key cannot be sent.
    pub fn new(url: &str, api_key: Option<&str>) -> Result<Self, EdgeError> {
        let connector = Connector::new(CONNECT_TIMEOUT, Tls::new(Roots::System));
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self {
            client,
            url: route_at(url).ok_or(EdgeError::Url)?,
            authorization: api_key.map(bearer).transpose()?,
        })
    }

    /// Sends one request, once.
    pub(super) async fn ask(&self, body: Bytes) -> Reply {
        let tried = timeout(REQUEST_TIMEOUT, self.exchange(body)).await;
        tried
            .unwrap_or(Err(Failure::Timeout))
            .unwrap_or_else(|failure| Reply::Final(Err(failure)))
    }

    async fn exchange(&self, body: Bytes) -> Result<Reply, Failure> {
        let answered = self.client.request(self.request(body)).await;
        let (parts, body) = answered
            .map_err(|error| Failure::Unreachable(with_causes(&error)))?
            .into_parts();
        // Whole, also where nothing is done with it: only then can the connection be used again.
        let beginning = beginning(body).await?;
        Ok(sorted(parts.status, &parts.headers, &beginning))
    }

    fn request(&self, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        request
    }
}

fn route_at(url: &str) -> Option<Uri> {
    let mut parts = url.parse::<Uri>().ok()?.into_parts();
    let known = [Scheme::HTTP, Scheme::HTTPS].contains(parts.scheme.as_ref()?);
    let authority = parts.authority.as_ref()?.as_str();
    let given = parts.path_and_query.as_ref()?;
    if !known || authority.contains('@') || given.query().is_some() {
        return None;
    }
    let path = format!("{}{ROUTE}", given.path().trim_end_matches('/'));
    parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    Uri::from_parts(parts).ok()
}

fn bearer(key: &str) -> Result<HeaderValue, EdgeError> {
    let value = HeaderValue::try_from(format!("Bearer {key}"));
    let mut value = value.map_err(|_| EdgeError::Key)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The beginning of a body that is read to its end.
async fn beginning(mut body: Incoming) -> Result<Vec<u8>, hyper::Error> {
    let mut kept = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            let room = MAX_ERROR_BYTES.saturating_sub(kept.len()).min(data.len());
            kept.extend_from_slice(&data[..room]);
        }
    }
    Ok(kept)
}

/// What an answer means.
fn sorted(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Reply {
    if status.is_success() {
        let items = headers
            .get("brink-items")
            .and_then(|value| value.to_str().ok());
        let counts = items.and_then(OutcomeCounts::parse);
        return Reply::Final(counts.ok_or(Failure::NoEdge));
    }
    let message = message(body);
    let failure = Failure::Refused { status, message };
    let busy = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::SERVICE_UNAVAILABLE,
    ]
    .contains(&status);
    match retry_after(headers).filter(|_| busy) {
        Some(after) => Reply::Later { after, failure },
        None => Reply::Final(Err(failure)),
    }
}

/// `Retry-After` in seconds. Edges of ours write no dates there (RFC 9110 §10.2.3 allows both).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

/// What an error in OpenAI's shape says, fit for one line of a terminal.
fn message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Envelope {
        error: Inner,
    }
    #[derive(Deserialize)]
    struct Inner {
        message: String,
    }

    let Ok(Envelope { error }) = serde_json::from_slice(body) else {
        return "without a message".to_owned();
    };
    let shown = error.message.chars().take(MAX_MESSAGE);
    shown
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect()
}

fn with_causes(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    let texts: Vec<_> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_an_edge_or_are_refused() {
        let check = |url: &str, wanted: Option<&str>| {
            let url = route_at(url).map(|url| url.to_string());
            assert_eq!(url.as_deref(), wanted);
        };
        check("http://a", Some("http://a/v1/embeddings"));
        check("https://a:1/", Some("https://a:1/v1/embeddings"));
        check("https://a/b/", Some("https://a/b/v1/embeddings"));
        for wrong in [
            "",
            "a",
            "/a",
            "a:1",
            "ftp://a",
            "http://u:p@a",
            "http://a?b",
            "http:///",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn keys_that_no_header_may_have_are_refused() {
        let edge = |key| Edge::new("http://a", Some(key)).map(|edge| edge.authorization);
        assert_eq!(edge("line\nbreak"), Err(EdgeError::Key));
        let sent = edge("sk-1").unwrap().unwrap();
        assert_eq!(sent, "Bearer sk-1");
        assert!(sent.is_sensitive(), "it must not be printed by accident");
    }

    #[test]
    fn answers_are_results_failures_or_a_reason_to_come_back() {
        let check = |status: u16, field: Option<(&'static str, &'static str)>, wanted: &str| {
            let mut headers = HeaderMap::new();
            if let Some((name, value)) = field {
                headers.insert(name, HeaderValue::from_static(value));
            }
            let body = br#"{"error": {"message": "no\nroom"}}"#;
            let text = match sorted(StatusCode::from_u16(status).unwrap(), &headers, body) {
                Reply::Final(Ok(counts)) => counts.to_string(),
                Reply::Final(Err(failure)) => failure.to_string(),
                Reply::Later { after, failure } => format!("{failure}, after {after:?}"),
            };
            assert_eq!(text, wanted);
        };
        let items = |value| Some(("brink-items", value));
        let after = |value| Some(("retry-after", value));
        check(200, items("hit=1, miss=2"), "hit=1, miss=2");
        check(200, items("strange"), &Failure::NoEdge.to_string());
        check(200, None, &Failure::NoEdge.to_string());
        check(400, None, "400 Bad Request: no room");
        check(429, after("7"), "429 Too Many Requests: no room, after 7s");
        check(
            503,
            after("0"),
            "503 Service Unavailable: no room, after 0ns",
        );
        check(503, None, "503 Service Unavailable: no room");
        check(503, after("soon"), "503 Service Unavailable: no room");
        check(500, after("7"), "500 Internal Server Error: no room");
        assert_eq!(message(b"<html>"), "without a message");
    }
}
