//! What browsers and caches get.

use brink_chat::answer;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

fn get(path: &str) -> Response<Vec<u8>> {
    answer(&Method::GET, path, &HeaderMap::new())
}

fn field<'a>(response: &'a Response<Vec<u8>>, name: &str) -> &'a str {
    let value = response.headers().get(name);
    value.map_or("", |value| value.to_str().expect("our fields are ASCII"))
}

#[test]
fn every_file_has_its_type_and_the_page_names_no_other() {
    let check = |path: &str, content_type: &str, beginning: &str| {
        let response = get(path);
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(field(&response, "content-type"), content_type);
        let length = response.body().len().to_string();
        assert_eq!(field(&response, "content-length"), length);
        assert!(response.body().starts_with(beginning.as_bytes()), "{path}");
    };
    check("/chat/", "text/html; charset=utf-8", "<!doctype html>");
    check(
        "/chat/brink.js",
        "text/javascript; charset=utf-8",
        "// SPDX",
    );
    check("/chat/chat.js", "text/javascript; charset=utf-8", "// SPDX");
    check("/chat/chat.css", "text/css; charset=utf-8", "/* SPDX");

    let page = String::from_utf8(get("/chat/").into_body()).unwrap();
    let links = page
        .split(['"'])
        .filter(|part| part.ends_with(".js") || part.ends_with(".css"));
    for link in links {
        assert_eq!(
            get(&format!("/chat/{link}")).status(),
            StatusCode::OK,
            "{link}"
        );
    }
}

#[test]
fn page_may_run_its_own_scripts_only() {
    let page = get("/chat/");
    let policy = field(&page, "content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"));
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(field(&page, "x-content-type-options"), "nosniff");
}

#[test]
fn unchanged_file_is_not_sent_again() {
    let first = get("/chat/brink.js");
    let etag = first.headers()[header::ETAG].clone();
    assert_eq!(field(&first, "cache-control"), "public, no-cache");

    let mut headers = HeaderMap::new();
    headers.append(header::IF_NONE_MATCH, HeaderValue::from_static("\"other\""));
    headers.append(header::IF_NONE_MATCH, etag.clone());
    let again = answer(&Method::GET, "/chat/brink.js", &headers);
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert!(again.body().is_empty() && field(&again, "content-length").is_empty());
    assert_eq!(again.headers()[header::ETAG], etag);

    let other_file = answer(&Method::GET, "/chat/chat.js", &headers);
    assert_eq!(other_file.status(), StatusCode::OK);
}

#[test]
fn head_is_the_head_of_get() {
    for path in ["/chat/", "/chat/nothing"] {
        let (get, head) = (get(path), answer(&Method::HEAD, path, &HeaderMap::new()));
        assert_eq!(head.status(), get.status());
        assert_eq!(head.headers(), get.headers());
        assert!(head.body().is_empty() && !get.body().is_empty());
    }
}

#[test]
fn address_without_its_slash_leads_to_the_page() {
    let response = get("/chat");
    assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT);
    assert_eq!(field(&response, "location"), "chat/");
}

#[test]
fn what_is_not_there_or_not_allowed_is_a_problem_document() {
    let check = |method: Method, path: &str, status: u16, detail: &str| {
        let response = answer(&method, path, &HeaderMap::new());
        assert_eq!(response.status(), status, "{method} {path}");
        assert_eq!(field(&response, "content-type"), "application/problem+json");
        let body = std::str::from_utf8(response.body()).unwrap();
        assert!(body.contains(detail), "{body}");
        assert!(body.contains(&format!("\"status\":{status}")), "{body}");
    };
    check(
        Method::GET,
        "/chat/index.html",
        404,
        "no file /chat/index.html.",
    );
    check(Method::GET, "/chat/../brink.js", 404, "no file");
    check(Method::GET, "/chat/\"\\\u{7}ü", 404, "no file /chat/????.");
    check(
        Method::GET,
        &format!("/chat/{}", "x".repeat(100)),
        404,
        &format!("/chat/{}.", "x".repeat(58)),
    );
    check(Method::POST, "/chat/nothing", 404, "no file");
    check(Method::POST, "/chat/", 405, "POST is not allowed");
    let response = answer(&Method::DELETE, "/chat/chat.js", &HeaderMap::new());
    assert_eq!(field(&response, "allow"), "GET, HEAD");
}
