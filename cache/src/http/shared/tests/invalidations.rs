//! What the answer to an unsafe request makes invalid.

use super::*;

const TARGET: &str = "https://example.com/a/b?c=1";

#[test]
fn unsafe_requests_that_succeed_invalidate() {
    let check = |rule: &str, method: &str, status: u16, expected: bool| {
        let found = invalidates(method, status, TARGET, &Fields::new());
        assert_eq!(found == [TARGET], expected, "{method} {status}: {rule}");
        assert_eq!(found.is_empty(), !expected);
    };
    let rule = "9111 4.4: \"A cache MUST invalidate the target URI when it receives a non-error status code in response \
                to an unsafe request method (including methods whose safety is unknown)\"";
    for method in ["POST", "PUT", "DELETE", "PATCH", "FOO", "get"] {
        check(rule, method, 200, true);
    }
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY"] {
        check(rule, method, 200, false);
    }
    let rule = "9111 4.4: \"A \"non-error response\" is one with a 2xx (Successful) or 3xx (Redirection) status code\"";
    for (status, expected) in [(201, true), (204, true), (303, true), (399, true)] {
        check(rule, "POST", status, expected);
    }
    for (status, expected) in [(199, false), (400, false), (404, false), (500, false)] {
        check(rule, "POST", status, expected);
    }
}

#[test]
fn locations_of_the_same_origin_are_invalidated() {
    let check = |rule: &str, lines: &str, expected: &[&str]| {
        let found = invalidates("POST", 201, TARGET, &fields(lines));
        let (target, others) = found.split_first().unwrap();
        assert_eq!(
            (target.as_str(), others),
            (
                TARGET,
                &expected
                    .iter()
                    .map(|uri| uri.to_string())
                    .collect::<Vec<_>>()[..]
            ),
            "{lines}: {rule}"
        );
    };
    let rule = "9111 4.4: \"the URI(s) in the Location and Content-Location response header fields (if present) are \
                candidates for invalidation\"";
    check(rule, "location: /x", &["https://example.com/x"]);
    check(
        rule,
        "content-location: https://example.com/y?z",
        &["https://example.com/y?z"],
    );
    let both = ["https://example.com/x", "https://example.com/a/y"];
    check(rule, "content-location: y | location: /x#f", &both);
    let rule = "9111 4.4: \"a cache MUST NOT trigger an invalidation under these conditions if the origin of the URI to \
                be invalidated differs from that of the target URI\"";
    for other in [
        "https://evil.com/x",
        "http://example.com/x",
        "https://example.com:8443/x",
        "//evil.com/x",
        "https://example.com.evil.com/x",
        "https://example.com@evil.com/x",
        "mailto:a@example.com",
    ] {
        check(rule, &format!("location: {other}"), &[]);
    }
    let rule = "9110 4.2.3: the same URI in another form";
    check(
        rule,
        "location: HTTPS://Example.COM:443/x",
        &["https://example.com/x"],
    );
    check(
        "each once",
        "location: /x | content-location: ../x",
        &["https://example.com/x"],
    );
    check("each once", "location: ?c=1", &[]);
    let many = "location: 1 | location: 2 | location: 3 | location: 4";
    let first = [
        "https://example.com/a/1",
        "https://example.com/a/2",
        "https://example.com/a/3",
    ];
    check("at most four", many, &first);
}

#[test]
fn groups_are_invalidated_by_unsafe_requests_that_succeed() {
    let rule = "9875 3: only where the method is unsafe and the status is no error";
    let check = |method: &str, status: u16, expected: &[&str]| {
        let response = fields("cache-group-invalidation: \"a\" | cache-group-invalidation: \"b\"");
        let found = invalidation::groups(method, status, &response);
        assert_eq!(found, expected, "{method} {status}: {rule}");
    };
    check("POST", 200, &["a", "b"]);
    check("GET", 200, &[]);
    check("POST", 500, &[]);
    assert_eq!(head(200, "cache-groups: \"x\", \"y\"").groups(), ["x", "y"]);
    assert_eq!(head(200, "").groups(), [""; 0]);
}

proptest! {
    /// Whatever a response says, only its own origin is reached, and not much of it.
    #[test]
    fn other_origins_are_out_of_reach(references in prop::collection::vec("(https?:)?[a-z/.@:%é\\\\]{0,16}", 0..6)) {
        let response = references.into_iter().map(|reference| ("location", reference)).collect();
        let found = invalidates("POST", 200, TARGET, &response);
        prop_assert!(found.len() <= invalidation::MAX_INVALIDATED);
        prop_assert!(found.iter().all(|uri| uri.starts_with("https://example.com/")));
    }
}
