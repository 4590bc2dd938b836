//! Heads of requests and answers in the form of `brink:edge/fast`: one line for each header.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, AGE, CONNECTION,
        CONTENT_LENGTH, CONTENT_TYPE, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
        TRANSFER_ENCODING, UPGRADE,
    },
    request::Parts,
};
use wasmtime::{ensure, format_err};

use crate::guest::response::GuestBody;

/// Headers under this prefix come from the host, never from a client.
const OWN_PREFIX: &str = "spin-";

/// Most headers of an answer, as in a request.
const MAX_HEADERS: usize = 100;

/// Writes the head of a request over what `head` holds.
pub(super) fn write_request(request: &Parts, head: &mut Vec<u8>) {
    head.clear();
    head.extend_from_slice(request.method.as_str().as_bytes());
    head.push(b' ');
    let target = request.uri.path_and_query();
    head.extend_from_slice(target.map_or("/", |target| target.as_str()).as_bytes());
    for (name, value) in &request.headers {
        if name.as_str().starts_with(OWN_PREFIX) {
            continue;
        }
        head.push(b'\n');
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
    }
}

/// The answer to `request` with this head and body, unless it would break the connection.
pub(super) fn read_response(
    request: &Parts,
    head: Bytes,
    body: Bytes,
) -> wasmtime::Result<Response<GuestBody>> {
    // Half of what reading a head takes is finding line ends and colons: memchr looks at 32 bytes
    // at once.
    let (status, mut rest) = split(b'\n', &head);
    let status = StatusCode::from_bytes(status)?;
    ensure!(!status.is_informational(), "{status} is no final status");
    let mut headers = HeaderMap::with_capacity(16);
    while let Some(lines) = rest {
        let line;
        (line, rest) = split(b'\n', lines);
        let (name, value) = read_header(&head, line)?;
        ensure!(
            !is_forbidden(&name),
            "the header {name} belongs to the host"
        );
        ensure!(
            headers.len() < MAX_HEADERS,
            "more than {MAX_HEADERS} headers"
        );
        headers.append(name, value);
    }
    check_length(request, &headers, body.len())?;
    let mut response = Response::new(GuestBody::fixed(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// What is before the first `at`, and what is behind it, if there is one.
pub(super) fn split(at: u8, bytes: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(at, bytes) {
        Some(place) => (&bytes[..place], Some(&bytes[place + 1..])),
        None => (bytes, None),
    }
}

/// A header's name and value.
pub(super) fn read_line(line: &[u8]) -> wasmtime::Result<(&[u8], &[u8])> {
    let (name, value) = split(b':', line);
    let value = value
        .ok_or_else(|| format_err!("a header without a colon"))?
        .strip_prefix(b" ")
        .ok_or_else(|| format_err!("no space after the colon"))?;
    Ok((name, value))
}

/// The value is a slice of `head`, not a copy.
fn read_header(head: &Bytes, line: &[u8]) -> wasmtime::Result<(HeaderName, HeaderValue)> {
    let (name, value) = read_line(line)?;
    Ok((
        header_name(name)?,
        HeaderValue::from_maybe_shared(head.slice_ref(value))?,
    ))
}

/// The name, without a search and an allocation for those that every hit of the gateway carries.
fn header_name(name: &[u8]) -> wasmtime::Result<HeaderName> {
    Ok(match name {
        b"brink-items" => const { HeaderName::from_static("brink-items") },
        b"cache-status" => const { HeaderName::from_static("cache-status") },
        b"server-timing" => const { HeaderName::from_static("server-timing") },
        b"x-request-id" => const { HeaderName::from_static("x-request-id") },
        b"content-type" => CONTENT_TYPE,
        b"content-length" => CONTENT_LENGTH,
        b"age" => AGE,
        b"access-control-allow-origin" => ACCESS_CONTROL_ALLOW_ORIGIN,
        b"access-control-expose-headers" => ACCESS_CONTROL_EXPOSE_HEADERS,
        name => HeaderName::from_bytes(name)?,
    })
}

/// Headers of the connection, which `wasi:http` forbids as well.
pub(super) fn is_forbidden(name: &HeaderName) -> bool {
    const FORBIDDEN: [HeaderName; 7] = [
        CONNECTION,
        HOST,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    FORBIDDEN.contains(name)
        || ["keep-alive", "proxy-connection", "http2-settings"].contains(&name.as_str())
}

/// The answer to HEAD tells a length and has no body; every other must tell the truth.
fn check_length(request: &Parts, headers: &HeaderMap, length: usize) -> wasmtime::Result<()> {
    if request.method == Method::HEAD {
        ensure!(
            length == 0,
            "the answer to HEAD has a body of {length} bytes"
        );
        return Ok(());
    }
    for told in headers.get_all(CONTENT_LENGTH) {
        let told = told.to_str()?.parse::<usize>()?;
        ensure!(
            told == length,
            "content-length is {told}, the body has {length} bytes"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http_body_util::BodyExt;

    use super::*;

    fn request(method: Method) -> Parts {
        let request = Request::builder()
            .method(method)
            .uri("http://edge.example/v1/models?a=b")
            .header("accept", "*/*")
            .header("spin-client-addr", "forged")
            .body(());
        request.unwrap().into_parts().0
    }

    #[test]
    fn the_guest_sees_the_clients_headers_and_none_of_the_hosts() {
        let mut head = b"left over".to_vec();
        write_request(&request(Method::GET), &mut head);
        assert_eq!(head, b"GET /v1/models?a=b\naccept: */*");
    }

    #[tokio::test]
    async fn an_answer_is_taken_as_it_is() {
        let head = Bytes::from_static(b"404\ncontent-length: 3\nx-a: \nx-a: b");
        let response = read_response(&request(Method::GET), head, "abc".into()).unwrap();
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers().get_all("x-a").iter().count(), 2);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "abc");
    }

    #[test]
    fn an_answer_that_would_break_the_connection_is_refused() {
        let check = |method: Method, head: &'static str, body: &'static str| {
            let read = read_response(&request(method), head.into(), body.into());
            assert!(read.is_err(), "{head:?}");
        };
        check(Method::GET, "", "");
        check(Method::GET, "99", "");
        check(Method::GET, "101", "");
        check(Method::GET, "200\nno colon", "");
        check(Method::GET, "200\na:b", "");
        check(Method::GET, "200\na b: c", "");
        check(Method::GET, "200\na: b\r", "");
        check(Method::GET, "200\ncontent-length: 2", "abc");
        check(Method::GET, "200\ncontent-length: x", "abc");
        check(Method::GET, "200\ntransfer-encoding: chunked", "");
        check(Method::GET, "200\nkeep-alive: 5", "");
        check(Method::HEAD, "200\ncontent-length: 3", "abc");
    }
}
