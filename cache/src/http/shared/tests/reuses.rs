//! Whether a stored response may answer, and how upstream is asked if not.

use super::*;

const FRESH: &str = "fresh";
const STALE: &str = "stale-while-revalidate";
const TAKEN_STALE: &str = "stale";
const ON_ERROR: &str = "validate, or on error";
const VALIDATE: &str = "validate";

/// The verdict in a word.
fn word(reuse: &Reuse) -> &'static str {
    match reuse {
        Reuse::Fresh => FRESH,
        Reuse::StaleWhileRevalidate => STALE,
        Reuse::Stale => TAKEN_STALE,
        Reuse::Validate {
            may_serve_on_error: true,
            ..
        } => ON_ERROR,
        Reuse::Validate { .. } => VALIDATE,
    }
}

fn terms(invalidated: Option<UnixSeconds>) -> Terms {
    Terms {
        limits: LIMITS,
        invalidated,
    }
}

fn verdict(response: &str, request: &str, age: u64) -> Verdict {
    let request = fields(request);
    let request = RequestHead::new("GET", &request);
    reuse(&head(200, response), &request, &terms(None), after(age))
}

#[test]
fn response_directives_decide() {
    let check = |rule: &str, control: &str, age: u64, expected: &str| {
        let found = verdict(&format!("cache-control: {control}"), "", age);
        assert_eq!(word(&found.reuse), expected, "{control} at {age}: {rule}");
    };
    let rule = "9111 4.2: \"response_is_fresh = (freshness_lifetime > current_age)\"";
    check(rule, "max-age=60", 59, FRESH);
    check(rule, "max-age=60", 60, VALIDATE);
    check(rule, "s-maxage=60, max-age=5", 59, FRESH);
    check(rule, "public", 0, VALIDATE);
    let rule = "9111 5.2.2.4: \"the response MUST NOT be used to satisfy any other request without forwarding it \
                for validation and receiving a successful response\"";
    check(rule, "max-age=60, no-cache", 0, VALIDATE);
    check(rule, "max-age=60, no-cache=\"set-cookie\"", 0, VALIDATE);
    check(rule, "max-age=60, no-cache, stale-if-error=60", 0, VALIDATE);
    let rule =
        "5861 3: \"caches MAY serve the response in which it appears after it becomes stale\"";
    check(rule, "max-age=60, stale-while-revalidate=30", 60, STALE);
    check(rule, "max-age=60, stale-while-revalidate=30", 89, STALE);
    check(rule, "max-age=60, stale-while-revalidate=30", 90, VALIDATE);
    let rule = "5861 4: \"when an error is encountered, a cached stale response MAY be used to satisfy the request\"";
    check(rule, "max-age=60, stale-if-error=30", 89, ON_ERROR);
    check(rule, "max-age=60, stale-if-error=30", 90, VALIDATE);
    let rule = "9111 5.2.2.2: \"if a cache is disconnected, the cache MUST generate an error response rather than \
                reuse the stale response\"";
    check(
        rule,
        "max-age=60, stale-if-error=30, must-revalidate",
        60,
        VALIDATE,
    );
    check(
        rule,
        "max-age=60, stale-if-error=30, proxy-revalidate",
        60,
        VALIDATE,
    );
    check(
        "must-revalidate is about stale ones",
        "max-age=60, must-revalidate",
        59,
        FRESH,
    );
}

#[test]
fn request_directives_decide_within_the_response() {
    let check = |rule: &str, (response, request): (&str, &str), age: u64, expected: &str| {
        let response = format!("cache-control: {response}");
        let found = verdict(&response, &format!("cache-control: {request}"), age);
        assert_eq!(
            word(&found.reuse),
            expected,
            "{response}, {request} at {age}: {rule}"
        );
    };
    let rule = "9111 5.2.1.1: \"the client prefers a response whose age is less than or equal to the specified \
                number of seconds\"";
    check(rule, ("max-age=60", "max-age=10"), 10, FRESH);
    check(rule, ("max-age=60", "max-age=10"), 11, VALIDATE);
    check(
        rule,
        ("max-age=60, stale-if-error=9", "max-age=10"),
        11,
        VALIDATE,
    );
    let rule = "9111 5.2.1.3: \"the client wants a response that will still be fresh for at least the specified \
                number of seconds\"";
    check(rule, ("max-age=60", "min-fresh=10"), 49, FRESH);
    check(rule, ("max-age=60", "min-fresh=10"), 50, VALIDATE);
    check(
        rule,
        ("max-age=60, stale-while-revalidate=30", "min-fresh=10"),
        55,
        VALIDATE,
    );
    let rule = "9111 5.2.1.2: \"the client is willing to accept a response that has exceeded its freshness lifetime \
                by no more than the specified number of seconds\"";
    check(rule, ("max-age=60", "max-stale=10"), 70, TAKEN_STALE);
    check(rule, ("max-age=60", "max-stale=10"), 71, VALIDATE);
    let rule = "9111 5.2.1.2: \"then the client will accept a stale response of any age\"";
    check(rule, ("max-age=60", "max-stale"), 9999, TAKEN_STALE);
    let rule = "9111 4.2.4: \"A cache MUST NOT generate a stale response if it is prohibited by an explicit \
                in-protocol directive\"";
    for forbidding in [
        "must-revalidate",
        "proxy-revalidate",
        "s-maxage=60",
        "no-cache",
    ] {
        let response = format!("max-age=60, {forbidding}");
        check(rule, (&response, "max-stale"), 60, VALIDATE);
    }
    let rule = "9111 5.2.1.4: \"the client prefers a stored response not be used to satisfy the request without \
                successful validation on the origin server\"";
    check(
        rule,
        ("max-age=60, stale-if-error=60", "no-cache"),
        0,
        VALIDATE,
    );
    let pragma = verdict("cache-control: max-age=60", "pragma: no-cache", 0);
    assert_eq!(word(&pragma.reuse), VALIDATE, "{rule}");
}

#[test]
fn age_and_freshness_left_are_told() {
    let check = |response: &str, now: u64, age: u64, ttl: i64| {
        let found = verdict(response, "", now);
        assert_eq!(
            (found.age.as_secs(), found.ttl),
            (age, ttl),
            "{response} at {now}"
        );
    };
    check("cache-control: max-age=60", 10, 10, 50);
    check("cache-control: max-age=60 | age: 20", 10, 30, 30);
    check("cache-control: max-age=60", 70, 70, -10);
    check("", 5, 5, -5);
}

#[test]
fn upstream_is_asked_by_the_stored_validators() {
    let check = |rule: &str, response: &str, expected: &str| {
        let Reuse::Validate { conditions, .. } = verdict(response, "", 0).reuse else {
            panic!("{response} is stale");
        };
        assert_eq!(conditions, fields(expected), "{response}: {rule}");
    };
    let rule = "9111 4.3.1: \"MUST send the relevant entity tags\"";
    check(rule, "etag: \"a\"", "if-none-match: \"a\"");
    check(rule, "etag: W/\"a\"", "if-none-match: W/\"a\"");
    let rule = "9111 4.3.1: \"SHOULD send the Last-Modified value (using If-Modified-Since)\"";
    check(rule, "last-modified: @-9", "if-modified-since: @-9");
    let both = "if-none-match: \"a\" | if-modified-since: @-9";
    check(rule, "etag: \"a\" | last-modified: @-9", both);
    check(
        "what is no validator is not sent",
        "etag: a | last-modified: x",
        "",
    );
    check("Date is no validator", "date: @0", "");
}

#[test]
fn invalidated_groups_force_a_validation() {
    let rule = "9111 4.4: \"in need of a mandatory validation before they can be sent in response to a subsequent request\"";
    let check = |invalidated: u64, expected: &str| {
        let response = head(200, "cache-control: max-age=60, stale-if-error=60");
        let none = Fields::new();
        let request = RequestHead::new("GET", &none);
        let terms = terms(Some(UnixSeconds(invalidated)));
        let found = reuse(&response, &request, &terms, after(1));
        assert_eq!(word(&found.reuse), expected, "{rule}");
    };
    check(SENT.0 - 1, FRESH);
    check(SENT.0, VALIDATE);
    check(SENT.0 + 1, VALIDATE);
}

#[test]
fn errors_of_the_server_are_told_from_answers() {
    let rule = "5861 4: \"an error is any situation that would result in a 500, 502, 503, or 504 HTTP response \
                status code being returned\"";
    let check = |status: u16, expected: bool| {
        assert_eq!(counts_as_error(status), expected, "{status}: {rule}");
    };
    for status in [500, 502, 503, 504] {
        check(status, true);
    }
    for status in [200, 304, 404, 499, 501, 505] {
        check(status, false);
    }
}

/// Directives of a client.
fn any_request() -> impl Strategy<Value = String> {
    let directive = "|no-cache|max-stale|(max-age|max-stale|min-fresh)=[0-9]{1,6}|max-age=9[0-9], max-stale=[0-9]{2}|min-fresh=[0-9]{1,3}, max-stale=[0-9]{1,3}";
    directive.prop_map(|directive| format!("cache-control: {directive}"))
}

proptest! {
    /// Growing older never makes a response more usable, whoever asks.
    #[test]
    fn usability_never_rises_with_age(head in any_head(), request in any_request(), now in any_seconds(), later in any_seconds()) {
        let (now, later) = (now.min(later), now.max(later));
        let request = fields(&request);
        let request = RequestHead::new("GET", &request);
        let limits = Limits {
            stale_while_revalidate: Duration::from_secs(100),
            stale_if_error: Duration::from_secs(1000),
            ..LIMITS
        };
        let rank = |now| {
            let found = reuse(&head, &request, &Terms { limits, invalidated: None }, UnixSeconds(now));
            let words = [VALIDATE, ON_ERROR, TAKEN_STALE, STALE, FRESH];
            words.iter().position(|known| *known == word(&found.reuse))
        };
        prop_assert!(rank(later) <= rank(now));
    }

    /// No age, no directive and no limit makes an invalidated response usable.
    #[test]
    fn invalidated_responses_are_never_used(head in any_head(), request in any_request(), now in any_seconds(), late in 0u64..=600) {
        let request = fields(&request);
        let request = RequestHead::new("GET", &request);
        let at = UnixSeconds(head.times.requested.0.saturating_add(late));
        let found = reuse(&head, &request, &terms(Some(at)), UnixSeconds(now));
        prop_assert_eq!(word(&found.reuse), VALIDATE);
        let before = Record::Invalidated { at };
        prop_assert!(!Record::is_storable_now(Some(&before), head.times.requested));
    }
}
