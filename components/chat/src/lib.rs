//! The chat page at `/chat/`: a few files, compiled in, and nothing that asks anybody.
//!
//! The files are built from `clients/web` (`npm run assets`) and committed, so that building a component needs no
//! Node.js; `npm test` there fails when they are not what the sources build to.
//!
//! [`answer`] is pure, and tested natively. Only `edge`, compiled for Wasm alone, is the component.

mod asset;
mod problem;

#[cfg(target_family = "wasm")]
mod edge;

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use asset::Asset;

/// Where the page is; its own links are relative to it.
const HOME: &str = "/chat/";

/// What a browser lets the page do: its own scripts and styles, and requests to its own origin, sockets included.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Names stay the same when contents change, so caches ask each time; the answer is a 304 as a rule.
const CACHE_CONTROL: &str = "public, no-cache";

/// Answers a request for `path`; a body is never read.
pub fn answer(method: &Method, path: &str, headers: &HeaderMap) -> Response<Vec<u8>> {
    let mut response = whole(method, path, headers);
    let length = HeaderValue::from(response.body().len());
    if response.status() != StatusCode::NOT_MODIFIED {
        response
            .headers_mut()
            .insert(header::CONTENT_LENGTH, length);
    }
    if method == Method::HEAD {
        response.body_mut().clear();
    }
    response
}

/// The answer to GET, which HEAD has the head of.
fn whole(method: &Method, path: &str, headers: &HeaderMap) -> Response<Vec<u8>> {
    if Some(path) == HOME.strip_suffix('/') {
        return moved();
    }
    let Some(asset) = path.strip_prefix(HOME).and_then(Asset::named) else {
        return problem::not_found(path);
    };
    if method != Method::GET && method != Method::HEAD {
        return problem::method_not_allowed(method);
    }
    let known = headers.get_all(header::IF_NONE_MATCH);
    if known.iter().any(|value| asset.is_among(value)) {
        return with_validators(asset, StatusCode::NOT_MODIFIED, Vec::new());
    }
    let mut response = with_validators(asset, StatusCode::OK, asset.bytes.to_vec());
    let fields = [
        (header::CONTENT_TYPE, asset.content_type),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in fields {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

fn with_validators(asset: &Asset, status: StatusCode, body: Vec<u8>) -> Response<Vec<u8>> {
    let mut response = with_status(status, body);
    let etag = HeaderValue::try_from(asset.etag())
        .expect("hexadecimal digits in quotes are a field value");
    let headers = response.headers_mut();
    headers.insert(header::ETAG, etag);
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static(CACHE_CONTROL),
    );
    response
}

/// From `/chat`, whose relative links would lead elsewhere. The target is relative, for proxies that add a prefix.
fn moved() -> Response<Vec<u8>> {
    let mut response = with_status(StatusCode::PERMANENT_REDIRECT, Vec::new());
    response
        .headers_mut()
        .insert(header::LOCATION, HeaderValue::from_static("chat/"));
    response
}

fn with_status(status: StatusCode, body: Vec<u8>) -> Response<Vec<u8>> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
