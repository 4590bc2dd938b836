//! Cross-origin requests (the Fetch standard's CORS protocol), so that a page of any
//! origin that the operator allows can use the official client.

use http::StatusCode;

use crate::head::Head;
use crate::reply::Reply;

/// Response headers that scripts may read.
pub const EXPOSED: &str = "x-request-id, retry-after, retry-after-ms, etag, age, cache-status, server-timing, brink-items, brink-policy, ratelimit, ratelimit-policy, repr-digest, inference-header-content-length";

/// How long a browser may remember a preflight, in seconds. Chromium caps it at two hours.
const MAX_AGE_SECONDS: u32 = 7200;

/// Longest `Access-Control-Request-Headers` that is echoed, in bytes.
const MAX_ECHO: usize = 4096;

/// Answers a preflight. The requested headers are echoed, because clients add their own
/// (`x-stainless-*`) in every release; none of them can do harm here.
pub fn preflight(request: &Head<'_>) -> Reply {
    let wanted = request
        .get("access-control-request-headers")
        .filter(|value| value.len() <= MAX_ECHO)
        .unwrap_or("authorization, content-type");
    Reply::empty(StatusCode::NO_CONTENT)
        .with("access-control-allow-headers", wanted.to_owned())
        .with(
            "access-control-allow-methods",
            "GET, HEAD, POST, QUERY, DELETE, OPTIONS",
        )
        .with("access-control-max-age", MAX_AGE_SECONDS.to_string())
}

/// The `Access-Control-Allow-Origin` of an answer.
///
/// `allowed` is the operator's setting: `*`, or origins separated by commas. An origin that is not
/// among them gets the first allowed one, which the browser then refuses. An empty setting allows none
/// (`null` would be matched by sandboxed frames and local files).
pub fn allow_origin(allowed: &str, origin: Option<&str>) -> Option<String> {
    let mut listed = allowed
        .split(',')
        .map(str::trim)
        .filter(|one| !one.is_empty());
    let granted = match origin {
        Some(origin) => listed
            .clone()
            .find(|one| *one == "*" || origin == *one)
            .or_else(|| listed.next()),
        None => listed.next(),
    };
    // A setting that is no header value would break every answer.
    let visible = |one: &&str| one.bytes().all(|byte| byte.is_ascii_graphic());
    granted.filter(visible).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preflight_echoes_what_the_client_will_send() {
        let wire = b"OPTIONS /\naccess-control-request-headers: authorization,x-stainless-lang";
        let reply = preflight(&Head::parse(wire).unwrap());
        assert_eq!(
            reply.header("access-control-allow-headers"),
            Some("authorization,x-stainless-lang")
        );
        assert_eq!(reply.status, StatusCode::NO_CONTENT);
    }

    #[test]
    fn only_listed_origins_are_granted() {
        let check = |allowed: &str, origin: Option<&'static str>, expected: &str| {
            let granted = allow_origin(allowed, origin);
            assert_eq!(granted.as_deref().unwrap_or_default(), expected);
        };
        check("*", Some("https://a.example"), "*");
        check("*", None, "*");
        check(
            "https://a.example, https://b.example",
            Some("https://b.example"),
            "https://b.example",
        );
        check(
            "https://a.example",
            Some("https://evil.example"),
            "https://a.example",
        );
        check("", Some("https://a.example"), "");
    }
}
