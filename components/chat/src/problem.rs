//! Errors as RFC 9457 tells them.

use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};

/// Longest part of a path or method that is repeated in an error, in bytes.
const MAX_REPEATED: usize = 64;

pub(crate) fn not_found(path: &str) -> Response<Vec<u8>> {
    let detail = format!("The chat page has no file {}.", repeated(path));
    problem(StatusCode::NOT_FOUND, "not-found", "Not found", &detail)
}

pub(crate) fn method_not_allowed(method: &Method) -> Response<Vec<u8>> {
    let detail = format!(
        "{} is not allowed here; GET and HEAD are.",
        repeated(method.as_str())
    );
    let mut response = problem(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "Method not allowed",
        &detail,
    );
    set(&mut response, header::ALLOW, "GET, HEAD");
    response
}

/// None of the texts has a character that JSON escapes: `repeated` sees to what is not ours.
fn problem(status: StatusCode, name: &str, title: &str, detail: &str) -> Response<Vec<u8>> {
    let code = status.as_u16();
    let body = format!(
        r#"{{"type":"urn:brink:problem:{name}","title":"{title}","status":{code},"detail":"{detail}"}}"#
    );
    let mut response = crate::with_status(status, body.into_bytes());
    set(
        &mut response,
        header::CONTENT_TYPE,
        "application/problem+json",
    );
    response
}

/// A client's text, cut, and without what JSON or a terminal would read as anything but text.
fn repeated(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\';
    text.chars()
        .take(MAX_REPEATED)
        .map(|c| if allowed(c) { c } else { '?' })
        .collect()
}

fn set(response: &mut Response<Vec<u8>>, name: HeaderName, value: &'static str) {
    response
        .headers_mut()
        .insert(name, HeaderValue::from_static(value));
}
