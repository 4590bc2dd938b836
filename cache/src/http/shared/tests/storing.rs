//! Whether a response may be stored.

use super::*;
use crate::http::Refusal;

fn stores(status: u16, response: &str, (method, request): (&str, &str)) -> Result<(), Unstorable> {
    let request = fields(request);
    let request = RequestHead::new(method, &request);
    may_store(&request, &head(status, response), &LIMITS)
}

#[test]
fn final_statuses_are_stored_where_it_makes_sense() {
    let check = |rule: &str, status: u16, response: &str, expected: Result<(), Unstorable>| {
        let found = stores(status, response, ("GET", ""));
        assert_eq!(found, expected, "{status} {response}: {rule}");
    };
    let rule = "9110 15.1: \"200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, and 501\" are heuristically \
                cacheable";
    for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
        check(rule, status, "cache-control: max-age=5", Ok(()));
        check(rule, status, "etag: \"a\"", Ok(()));
    }
    let rule = "9111 3: otherwise \"an Expires header field\", \"a max-age response directive\", \"a public response \
                directive\"";
    for status in [201, 302, 303, 307, 400, 403, 500, 503] {
        check(rule, status, "cache-control: max-age=5", Ok(()));
        check(rule, status, "expires: @60", Ok(()));
        check(rule, status, "cache-control: public | etag: \"a\"", Ok(()));
        check(rule, status, "etag: \"a\"", Err(Unstorable::Useless));
    }
    let rule = "9111 3: \"the response status code is final\"";
    for status in [100, 101, 103, 199, 600, 0] {
        check(
            rule,
            status,
            "cache-control: max-age=5",
            Err(Unstorable::Status(status)),
        );
    }
    let rule = "9111 3: \"if the response status code is 206 or 304, or the must-understand cache directive (see Section 5.2.2.3) is \
                present: the cache understands the response status code\"";
    for status in [206, 304] {
        check(
            rule,
            status,
            "cache-control: max-age=5",
            Err(Unstorable::Status(status)),
        );
    }
    let control = "cache-control: max-age=5, must-understand, no-store";
    let not_understood = Unstorable::Refused(Refusal::NotUnderstood);
    check(rule, 200, control, Ok(()));
    check(rule, 302, control, Ok(()));
    check(rule, 299, control, Err(not_understood));
}

#[test]
fn requests_forbid_storing() {
    let check = |rule: &str, (method, request): (&str, &str), expected: Result<(), Unstorable>| {
        let found = stores(200, "cache-control: max-age=5", (method, request));
        assert_eq!(found, expected, "{method} {request}: {rule}");
    };
    let rule = "9111 3: \"the request method is understood by the cache\"";
    check(rule, ("GET", ""), Ok(()));
    for method in ["HEAD", "POST", "PUT", "OPTIONS", "get"] {
        check(rule, (method, ""), Err(Unstorable::Method));
    }
    let rule = "9111 5.2.1.5: \"a cache MUST NOT store any part of either this request or any response to it\"";
    let no_store = Unstorable::Passed(Pass::NoStore);
    check(rule, ("GET", "cache-control: no-store"), Err(no_store));
    check(rule, ("GET", "cache-control: no-cache, max-age=0"), Ok(()));
    let rule = "what passes the cache by is not stored";
    check(
        rule,
        ("GET", "range: x"),
        Err(Unstorable::Passed(Pass::Range)),
    );
    check(
        rule,
        ("GET", "content-length: 1"),
        Err(Unstorable::Passed(Pass::Content)),
    );
    let rule = "9111 3.5: \"a Cache-Control field with a response directive that allows it to be stored by a shared \
                cache\"";
    let authenticated = Unstorable::Refused(Refusal::Authenticated);
    check(rule, ("GET", "authorization: x"), Err(authenticated));
    for allowing in ["public", "must-revalidate", "s-maxage=5"] {
        let response = format!("cache-control: max-age=5, {allowing}");
        let found = stores(200, &response, ("GET", "authorization: x"));
        assert_eq!(found, Ok(()), "{allowing}: {rule}");
    }
}

#[test]
fn directives_of_responses_forbid_storing() {
    let check = |rule: &str, response: &str, expected: Result<(), Unstorable>| {
        assert_eq!(
            stores(200, response, ("GET", "")),
            expected,
            "{response}: {rule}"
        );
    };
    let refused = |refusal| Err(Unstorable::Refused(refusal));
    let rule = "9111 5.2.2.5: \"a cache MUST NOT store any part of either the immediate request or the response\"";
    check(
        rule,
        "cache-control: max-age=5, no-store",
        refused(Refusal::NoStore),
    );
    check(
        rule,
        "cache-control: max-age=5 | cache-control: no-store",
        refused(Refusal::NoStore),
    );
    let rule = "9111 5.2.2.7: \"a shared cache MUST NOT store the response\"";
    check(
        rule,
        "cache-control: max-age=5, private",
        refused(Refusal::Private),
    );
    check(
        rule,
        "cache-control: max-age=5, private=\"x\"",
        refused(Refusal::Private),
    );
    let rule = "9213 2.2: a cache \"MUST ignore the Cache-Control and Expires header fields\"";
    check(
        rule,
        "cache-control: no-store | cdn-cache-control: max-age=5",
        Ok(()),
    );
    check(
        rule,
        "cache-control: max-age=5 | cdn-cache-control: no-store",
        refused(Refusal::NoStore),
    );
    let rule = "9111 4.1: \"A stored response with a Vary header field value containing a member \"*\" always fails to \
                match\"";
    check(
        rule,
        "cache-control: max-age=5 | vary: a, *",
        Err(Unstorable::VariesByAnything),
    );
    check(rule, "cache-control: max-age=5 | vary: a", Ok(()));
    let rule = "9111 3.3: \"a cache MUST NOT store incomplete or partial-content responses if it does not support the \
                Range and Content-Range header fields\"";
    check(
        rule,
        "cache-control: max-age=5 | content-range: x",
        Err(Unstorable::Partial),
    );
}

#[test]
fn cookies_and_useless_responses_are_not_stored() {
    let check = |rule: &str, response: &str, expected: Result<(), Unstorable>| {
        assert_eq!(
            stores(200, response, ("GET", "")),
            expected,
            "{response}: {rule}"
        );
    };
    let rule = "9111 7.3: whoever wants \"to control caching of these responses\" says so";
    let cookie = "set-cookie: a=1";
    check(
        rule,
        &format!("cache-control: max-age=5 | {cookie}"),
        Err(Unstorable::SetsCookie),
    );
    check(
        rule,
        &format!("cache-control: max-age=5, public | {cookie}"),
        Ok(()),
    );
    check(
        rule,
        &format!("cache-control: s-maxage=5 | {cookie}"),
        Ok(()),
    );
    let rule = "9111 3: \"some caches will not store a response that has neither a cache validator nor an explicit \
                expiration time\"";
    check(rule, "", Err(Unstorable::Useless));
    check(rule, "cache-control: public", Err(Unstorable::Useless));
    check(rule, "etag: a", Err(Unstorable::Useless));
    check(rule, "last-modified: @-9", Ok(()));
    check(rule, "expires: 0", Err(Unstorable::Useless));
    check(
        rule,
        "cache-control: max-age=5, no-cache",
        Err(Unstorable::Useless),
    );
    check(rule, "cache-control: no-cache | etag: \"a\"", Ok(()));
    check(rule, "cache-control: max-age=0, stale-if-error=9", Ok(()));
    let large = "cache-control: max-age=5 | content-length: 1000001";
    check("the limit of a record", large, Err(Unstorable::TooLarge));
    let lines = format!("cache-control: max-age=5 {}", "| x: y".repeat(256));
    check("the limit of fields", &lines, Err(Unstorable::TooLarge));
}

#[test]
fn operators_limits_decide_what_is_of_use() {
    let check = |response: &str, limits: Limits, expected: Result<(), Unstorable>| {
        let none = Fields::new();
        let request = RequestHead::new("GET", &none);
        let found = may_store(&request, &head(200, response), &limits);
        assert_eq!(found, expected, "{response} {limits:?}");
    };
    let stale = Limits {
        stale_if_error: Duration::from_secs(9),
        ..LIMITS
    };
    let never_fresh = Limits {
        max_fresh: Duration::ZERO,
        ..LIMITS
    };
    check("cache-control: max-age=0", LIMITS, Err(Unstorable::Useless));
    check("cache-control: max-age=0", stale, Ok(()));
    // A response that names no freshness is no cache's business without a validator.
    check("", stale, Err(Unstorable::Useless));
    check(
        "cache-control: max-age=5",
        never_fresh,
        Err(Unstorable::Useless),
    );
    check(
        "cache-control: max-age=5 | etag: \"a\"",
        never_fresh,
        Ok(()),
    );
}

#[test]
fn refusals_have_tokens() {
    let check = |response: &str, expected: &str| {
        let token = stores(200, response, ("GET", "")).map_err(Unstorable::token);
        assert_eq!(token, Err(expected), "{response}");
    };
    check("cache-control: no-store", "no-store");
    check("cache-control: private", "private");
    check("vary: *", "vary");
    check("content-range: x", "content-range");
    check("set-cookie: a", "set-cookie");
    check("", "no-lifetime");
    let token = |request| stores(200, "", request).map_err(Unstorable::token);
    assert_eq!(token(("GET", "authorization: x")), Err("authorization"));
    assert_eq!(token(("POST", "")), Err("method"));
    assert_eq!(token(("GET", "range: x")), Err("range"));
}

proptest! {
    /// What is for one client, or for nobody, is never stored, whatever else is said.
    #[test]
    fn private_responses_are_never_stored(lines in any_lines(), forbidding in "private|no-store", status in 200u16..600) {
        let lines = lines.into_iter().filter(|(name, _)| !name.contains("cache-control"));
        let mut response: Fields = lines.collect();
        response.append("cache-control", "public, max-age=60");
        response.append("Cache-Control", forbidding);
        let times = Times { requested: SENT, received: SENT };
        let none = Fields::new();
        let request = RequestHead::new("GET", &none);
        prop_assert!(may_store(&request, &ResponseHead::new(status, &response, times), &LIMITS).is_err());
    }
}
