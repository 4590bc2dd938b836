//! What may be done with a request before anything is asked.

use super::*;
use crate::status::Forward;

fn assert_start(rule: &str, (method, lines): (&str, &str), expected: Option<Pass>) {
    let fields = fields(lines);
    let expected = expected.map_or(Start::LookUp, Start::Pass);
    let found = RequestHead::new(method, &fields).start();
    assert_eq!(found, expected, "{method} {lines}: {rule}");
}

#[test]
fn requests_look_up_or_pass() {
    let check = |rule: &str, method: &str, lines: &str, expected: Option<Pass>| {
        assert_start(rule, (method, lines), expected);
    };
    let rule = "9111 4: \"the request method associated with the stored response allows it to be used for the \
                presented request\"";
    check(rule, "GET", "", None);
    check(rule, "HEAD", "", None);
    let rule = "9111 4: \"A cache MUST write through requests with methods that are unsafe\"";
    for method in ["POST", "PUT", "DELETE", "PATCH", "get", "FOO"] {
        check(rule, method, "", Some(Pass::Method));
    }
    check(
        "QUERY and OPTIONS are not handled here",
        "QUERY",
        "",
        Some(Pass::Method),
    );
    check(
        "QUERY and OPTIONS are not handled here",
        "OPTIONS",
        "",
        Some(Pass::Method),
    );
    let rule = "parts are not kept: 9111 3.3";
    check(rule, "GET", "range: bytes=0-1", Some(Pass::Range));
    check(rule, "GET", "range: x | if-range: y", Some(Pass::Range));
    let rule = "9110 14.2: \"For this specification, GET is the only method for which range handling is defined\"";
    check(rule, "HEAD", "range: bytes=0-1", None);
    let rule = "9110 13.1.5: \"A server MUST ignore an If-Range header field received in a request that does \
                not contain a Range header field\"";
    check(rule, "GET", "if-range: \"a\"", None);
    let rule = "9111 4.3.2: \"the If-Match and If-Unmodified-Since conditional header fields are not applicable \
                to a cache\"";
    check(rule, "GET", "if-match: \"a\"", Some(Pass::Precondition));
    check(
        rule,
        "HEAD",
        "if-unmodified-since: @0",
        Some(Pass::Precondition),
    );
    let rule = "9111 4.3.2: conditions of clients with caches of their own are evaluated here";
    check(
        rule,
        "GET",
        "if-none-match: \"a\" | if-modified-since: @0",
        None,
    );
}

#[test]
fn directives_and_content_count() {
    let check = |rule: &str, method: &str, lines: &str, expected: Option<Pass>| {
        assert_start(rule, (method, lines), expected);
    };
    let rule = "9111 5.2.1.5: \"a cache MUST NOT store any part of either this request or any response to it\"";
    check(
        rule,
        "GET",
        "cache-control: max-age=5, no-store",
        Some(Pass::NoStore),
    );
    let rule =
        "9111 5.2.1.4: without \"successful validation on the origin server\", so it is looked up";
    check(rule, "GET", "cache-control: no-cache", None);
    let rule =
        "9110 9.3.1: \"content received in a GET request has no generally defined semantics\"";
    check(rule, "GET", "content-length: 5", Some(Pass::Content));
    check(rule, "HEAD", "content-length: x", Some(Pass::Content));
    check(
        rule,
        "GET",
        "transfer-encoding: chunked",
        Some(Pass::Content),
    );
    check("there is no content", "GET", "content-length: 0", None);
}

#[test]
fn pragma_counts_without_cache_control() {
    let rule = "7234 5.4: \"When the Cache-Control header field is not present in a request, caches MUST consider \
                the no-cache request pragma-directive as having the same effect\"";
    let check = |lines: &str, expected: bool| {
        let fields = fields(lines);
        let control = RequestHead::new("GET", &fields).control;
        assert_eq!(control.no_cache, expected, "{lines}: {rule}");
    };
    check("pragma: no-cache", true);
    check("pragma: x, No-Cache", true);
    check("pragma: no-cache=1", false);
    check("pragma: no-cache | cache-control: max-age=5", false);
    check("cache-control: no-cache", true);
    check("", false);
}

#[test]
fn reasons_are_told() {
    let check = |pass: Pass, forward: Forward, token: &str| {
        assert_eq!((pass.forward(), pass.token()), (forward, token));
    };
    check(Pass::Method, Forward::Method, "method");
    check(Pass::Content, Forward::Bypass, "request-content");
    check(Pass::Range, Forward::Bypass, "range");
    check(Pass::Precondition, Forward::Bypass, "precondition");
    check(Pass::NoStore, Forward::Request, "request-no-store");
}

#[test]
fn upstream_gets_the_conditions_of_the_cache() {
    let check = |rule: &str, client: &str, conditions: &str, expected: &str| {
        let client = fields(client);
        let request = RequestHead::new("GET", &client);
        let found = request.fields_for_upstream(&fields(conditions));
        assert_eq!(found, fields(expected), "{client:?} {conditions}: {rule}");
    };
    let rule =
        "9111 4.3.1: \"It then updates that request with one or more precondition header fields\"";
    check(
        rule,
        "a: 1",
        "if-none-match: \"x\"",
        "a: 1 | if-none-match: \"x\"",
    );
    check(
        rule,
        "if-none-match: \"y\" | a: 1",
        "if-none-match: \"x\"",
        "a: 1 | if-none-match: \"x\"",
    );
    let rule = "the answer to somebody's own conditions cannot be stored";
    check(rule, "if-modified-since: @0 | a: 1", "", "a: 1");
    let rule = "9111 5.2: \"MUST pass cache directives through in forwarded messages\"";
    check(
        rule,
        "cache-control: no-cache",
        "",
        "cache-control: no-cache",
    );
}
