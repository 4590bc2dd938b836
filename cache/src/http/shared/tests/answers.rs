//! What clients get of a stored response.

use super::*;

fn answered(stored: &StoredResponse, method: &str, request: &str) -> Answer {
    let request = fields(request);
    answer(stored, &RequestHead::new(method, &request), after(5))
}

#[test]
fn conditions_of_clients_are_evaluated() {
    let check = |rule: &str, response: &str, request: &str, expected: u16| {
        for method in ["GET", "HEAD"] {
            let found = answered(&stored(response, "x"), method, request);
            assert_eq!(
                found.status, expected,
                "{response}, {method} {request}: {rule}"
            );
        }
    };
    let rule = "9110 13.2.2: \"if false for GET/HEAD, respond 304 (Not Modified)\"";
    check(rule, "etag: \"a\"", "if-none-match: \"a\"", 304);
    check(rule, "etag: \"a\"", "if-none-match: \"b\"", 200);
    check(
        rule,
        "etag: \"a\"",
        "if-none-match: \"b\" | if-none-match: W/\"a\"",
        304,
    );
    check(rule, "", "if-none-match: *", 304);
    check(rule, "", "if-none-match: \"a\"", 200);
    let rule = "9110 13.1.3: \"If the selected representation's last modification date is earlier or equal to the \
                date provided in the field value, the condition is false\"";
    check(rule, "last-modified: @-9", "if-modified-since: @-9", 304);
    check(rule, "last-modified: @-9", "if-modified-since: @-8", 304);
    check(rule, "last-modified: @-9", "if-modified-since: @-10", 200);
    let rule = "9110 13.1.3: \"A recipient MUST ignore If-Modified-Since if the request contains an If-None-Match \
                header field\"";
    let response = "etag: \"a\" | last-modified: @-9";
    check(
        rule,
        response,
        "if-none-match: \"b\" | if-modified-since: @0",
        200,
    );
    check(
        rule,
        response,
        "if-none-match: \"a\" | if-modified-since: @-99",
        304,
    );
    check(
        rule,
        response,
        "if-none-match: b | if-modified-since: @0",
        200,
    );
    let rule = "9110 13.1.3: \"the received field value is not a valid HTTP-date, the field value has more than one \
                member\"";
    check(rule, "last-modified: @-9", "if-modified-since: x", 200);
    check(
        rule,
        "last-modified: @-9",
        "if-modified-since: @0 | if-modified-since: @0",
        200,
    );
    let rule = "9111 4.3.2: \"a cache SHOULD use the stored response's Date field value (or, if no Date field is \
                present, the time that the stored response was received) to evaluate the conditional\"";
    check(rule, "date: @-9", "if-modified-since: @-9", 304);
    check(rule, "date: @-9", "if-modified-since: @-10", 200);
    check(rule, "", "if-modified-since: @0", 304);
    check("no condition", response, "", 200);
}

#[test]
fn conditions_are_about_successful_responses() {
    let rule = "9111 4.3.2: \"a stored 200 (OK) or 206 (Partial Content) response\"";
    let mut not_found = stored("etag: \"a\"", "gone");
    not_found.head.status = 404;
    let found = answered(&not_found, "GET", "if-none-match: \"a\"");
    assert_eq!((found.status, found.sends_body), (404, true), "{rule}");
}

#[test]
fn tags_that_are_no_text_never_match() {
    let mut response = stored("", "x");
    response.head.fields.insert("etag", "\"\u{fffd}\"");
    let request: Fields = [("if-none-match", &b"\"\xff\""[..])].into_iter().collect();
    let found = answer(&response, &RequestHead::new("GET", &request), SENT);
    assert_eq!(found.status, 200);
}

#[test]
fn not_modified_has_the_fields_that_guide_caches() {
    let rule =
        "9110 15.4.5: \"Content-Location, Date, ETag, and Vary\", \"Cache-Control and Expires\"";
    let check = |response: &str, request: &str, expected: &str| {
        let found = answered(&stored(response, "x"), "GET", request);
        assert_eq!(found.status, 304);
        assert!(!found.sends_body);
        let names: Vec<_> = found.fields.iter().map(|(name, _)| name).collect();
        assert_eq!(names.join(" "), expected, "{response}: {rule}");
    };
    check(
        "content-type: a | content-location: /b | date: @0 | etag: \"a\" | vary: x | cache-control: max-age=5 \
         | expires: @5 | last-modified: @0 | set-cookie: a | content-length: 1 | cdn-cache-control: max-age=9",
        "if-none-match: \"a\"",
        "content-location date etag vary cache-control expires cdn-cache-control age",
    );
    // "Last-Modified might be useful if the response does not have an ETag field"
    check(
        "last-modified: @0",
        "if-modified-since: @0",
        "last-modified date age",
    );
}

#[test]
fn answers_tell_age_and_length() {
    let check = |rule: &str,
                 response: &StoredResponse,
                 method: &str,
                 (name, expected): (&str, Option<&str>)| {
        let found = answered(response, method, "");
        assert_eq!(
            found.fields.joined(name).as_deref(),
            expected,
            "{method} {name}: {rule}"
        );
        assert_eq!(
            found.sends_body,
            method == "GET" && found.status != 204,
            "{method}"
        );
    };
    let rule = "9111 4: \"a cache MUST generate an Age header field (Section 5.1), replacing any present in the response with a \
                value equal to the stored response's current_age\"";
    check(rule, &stored("age: 20", "x"), "GET", ("age", Some("25")));
    check(
        rule,
        &stored("age: 20 | age: 30", "x"),
        "HEAD",
        ("age", Some("25")),
    );
    check(rule, &stored("", "x"), "GET", ("age", Some("5")));
    let rule = "9111 1.2.2: what is too large is 2147483648";
    check(
        rule,
        &stored("age: 99999999999", "x"),
        "GET",
        ("age", Some("2147483648")),
    );
    let rule = "9110 9.3.2: \"SHOULD send the same header fields in response to a HEAD request as it would have sent \
                if the request method had been GET\"";
    for method in ["GET", "HEAD"] {
        check(
            rule,
            &stored("", "12345"),
            method,
            ("content-length", Some("5")),
        );
        check(
            rule,
            &stored("content-type: a", ""),
            method,
            ("content-type", Some("a")),
        );
        check(rule, &stored("", ""), method, ("content-length", Some("0")));
    }
    let rule = "9110 8.6: \"A server MUST NOT send a Content-Length header field in any response with a status code \
                of 1xx (Informational) or 204 (No Content)\"";
    let mut no_content = stored("content-length: 0", "");
    no_content.head.status = 204;
    check(rule, &no_content, "GET", ("content-length", None));
}

proptest! {
    /// Whatever is stored and asked, an answer is the stored one or says that it is not modified.
    #[test]
    fn answers_are_stored_or_not_modified(head in any_head(), lines in any_lines(), now in any_seconds()) {
        let stored = StoredResponse { head, body: Bytes::from_static(b"x") };
        let request = lines.into_iter().map(|(name, value)| (name.replace("etag", "if-none-match"), value)).collect();
        let found = answer(&stored, &RequestHead::new("GET", &request), UnixSeconds(now));
        prop_assert!(found.status == stored.head.status || (found.status == 304 && !found.sends_body));
        prop_assert_eq!(found.fields.all("age").count(), 1);
    }
}
