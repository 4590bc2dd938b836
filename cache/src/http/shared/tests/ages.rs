//! Ages and lifetimes.

use super::*;

#[test]
fn age_is_the_larger_of_two_estimates() {
    let check = |rule: &str, lines: &str, (delay, resident): (u64, u64), expected: u64| {
        let times = Times {
            requested: SENT,
            received: after(delay),
        };
        let head = ResponseHead::new(200, &fields(lines), times);
        let age = head.age(after(delay + resident));
        assert_eq!(age.as_secs(), expected, "{lines:?}: {rule}");
    };
    let rule = "9111 4.2.3: \"apparent_age = max(0, response_time - date_value)\"";
    check(rule, "date: @-10", (0, 0), 10);
    check(rule, "date: @-10", (5, 0), 15);
    check(rule, "date: @3600", (0, 0), 0);
    let rule = "9111 4.2.3: \"corrected_age_value = age_value + response_delay\"";
    check(rule, "date: @0 | age: 30", (0, 0), 30);
    check(rule, "date: @0 | age: 30", (5, 0), 35);
    let rule = "9111 4.2.3: \"corrected_initial_age = max(apparent_age, corrected_age_value)\"";
    check(rule, "date: @-10 | age: 30", (5, 0), 35);
    check(rule, "date: @-60 | age: 30", (5, 0), 65);
    let rule = "9111 4.2.3: \"current_age = corrected_initial_age + resident_time\"";
    check(rule, "date: @0 | age: 30", (5, 100), 135);
    let rule = "9111 5.1: \"a cache encountering a message with a list-based Age field value SHOULD use the \
                first member of the field value, discarding subsequent ones\"";
    check(rule, "age: 30, 90", (0, 0), 30);
    check(rule, "age: 30 | age: 90", (0, 0), 30);
    let rule = "9111 5.1: where the value \"is invalid (e.g., it contains something other than a \
                non-negative integer), a cache SHOULD ignore the field\"";
    for age in ["-30", "30.5", "abc", "", "\"30\"", "30;x", "30 90"] {
        check(rule, &format!("age: {age}"), (0, 0), 0);
    }
    let rule = "9111 1.2.2: \"the cache MUST consider the value to be 2147483648\"";
    check(rule, "age: 99999999999999999999999", (0, 0), 1 << 31);
    let rule = "9110 6.6.1: \"A recipient with a clock that receives a response message without a Date header \
                field MUST record the time it was received\"";
    check(rule, "", (5, 7), 12);
    let rule = "9110 6.6.1: \"an invalid Date header field value MAY replace that value with the time that \
                response was received\"";
    check(rule, "date: yesterday", (5, 7), 12);
}

#[test]
fn missing_date_is_written_into_the_response() {
    let check = |rule: &str, lines: &str| {
        let head = head(200, lines);
        let date = head.fields.joined("date");
        assert_eq!(date.as_deref(), Some(&*at(0)), "{lines:?}: {rule}");
    };
    let rule = "9110 6.6.1: \"and append a corresponding Date header field to the message's header section \
                if it is cached or forwarded downstream\"";
    check(rule, "");
    check(rule, "date: 0");
    check("a valid date stays", "date: @0");
}

#[test]
fn fields_that_no_store_may_keep_are_left_out() {
    let check = |rule: &str, lines: &str, expected: &str| {
        let mut kept = head(200, lines).fields;
        kept.remove("date");
        assert_eq!(kept, fields(expected), "{lines}: {rule}");
    };
    let rule = "9111 3.1: \"Caches MAY either store trailer fields separate from header fields or discard them\"";
    check(rule, "trailer: a | a: 1", "a: 1");
    let rule = "9111 3.1: \"This MAY be implemented by doing so before storage\"";
    check(rule, "connection: a | a: 1 | b: 2", "b: 2");
    check(rule, "upgrade: a | b: 2 | b: 3", "b: 2 | b: 3");
}

#[test]
fn clocks_that_jump_make_no_wild_ages() {
    let check = |requested: u64, received: u64, now: u64, expected: u64| {
        let times = Times {
            requested: UnixSeconds(requested),
            received: UnixSeconds(received),
        };
        let age = ResponseHead::new(200, &Fields::new(), times).age(UnixSeconds(now));
        assert_eq!(age.as_secs(), expected, "{requested} {received} {now}");
    };
    check(100, 90, 90, 0);
    check(100, 110, 50, 10);
    check(100, 90, 50, 0);
}

#[test]
fn explicit_freshness_counts_within_the_operators_limit() {
    let check = |rule: &str, lines: &str, max_fresh: u64, expected: u64| {
        let limits = Limits {
            max_fresh: Duration::from_secs(max_fresh),
            ..LIMITS
        };
        let fresh = head(200, lines).lifetimes(&limits).fresh;
        assert_eq!(fresh.as_secs(), expected, "{lines:?}: {rule}");
    };
    let rule = "9111 4.2.1: \"use its value minus the value of the Date response header field\"";
    check(rule, "expires: @60 | date: @0", 900, 60);
    check(rule, "expires: @60 | date: @-60", 900, 120);
    let rule = "9111 4.2.1: \"using the time the message was received if it is not present\"";
    check(rule, "expires: @60", 900, 60);
    check(rule, "expires: @-60", 900, 0);
    let rule = "9111 5.3: \"MUST interpret invalid date formats, especially the value \"0\", as representing \
                a time in the past\"";
    for expires in ["0", "", "-1", "soon", "Sun, 06 Nov 1994 08:50:37 UTC"] {
        check(rule, &format!("expires: {expires}"), 900, 0);
    }
    let rule =
        "9111 5.3: \"a recipient MUST ignore the Expires header field\" beside max-age or s-maxage";
    check(rule, "expires: @60 | cache-control: max-age=5", 900, 5);
    check(rule, "expires: @60 | cache-control: s-maxage=5", 900, 5);
    check(rule, "expires: @60 | cache-control: max-age=x", 900, 0);
    let rule = "9213 2.2: a cache \"MUST ignore the Cache-Control and Expires header fields\"";
    check(rule, "expires: @60 | cdn-cache-control: public", 900, 0);
    check(
        rule,
        "cache-control: max-age=5 | cdn-cache-control: max-age=9",
        900,
        9,
    );
    let rule = "9110 5.3: several lines are one list";
    check(
        rule,
        "cache-control: public | cache-control: max-age=5",
        900,
        5,
    );
    let rule = "no heuristics: 9111 4.2.2 is a MAY";
    check(rule, "last-modified: @-60", 900, 0);
    let rule = "the operator's limit";
    check(rule, "cache-control: max-age=60", 30, 30);
    check(rule, "expires: @60", 30, 30);
}

#[test]
fn stale_windows_are_the_responses_or_the_operators() {
    let check = |rule: &str, value: &str, (swr, sie): (u64, u64)| {
        let limits = Limits {
            stale_while_revalidate: Duration::from_secs(7),
            stale_if_error: Duration::from_secs(8),
            ..LIMITS
        };
        let found = head(200, &format!("cache-control: {value}")).lifetimes(&limits);
        let found = (found.stale_while_revalidate, found.stale_if_error);
        let expected = (Duration::from_secs(swr), Duration::from_secs(sie));
        assert_eq!(found, expected, "{value}: {rule}");
    };
    let rule = "9111 4.2.4: stale use may be permitted by \"configuration in accordance with an out-of-band contract\"";
    check(rule, "max-age=60", (7, 8));
    let rule = "5861 3 and 4: what the response says";
    check(rule, "max-age=60, stale-while-revalidate=1", (1, 8));
    check(rule, "max-age=60, stale-if-error=2", (7, 2));
    check(
        rule,
        "max-age=60, stale-while-revalidate=0, stale-if-error=0",
        (0, 0),
    );
    let rule = "9111 4.2.4: \"A cache MUST NOT generate a stale response if it is prohibited by an explicit \
                in-protocol directive (e.g., by a no-cache response directive, a must-revalidate response \
                directive, or an applicable s-maxage or proxy-revalidate response directive\"";
    for directive in [
        "no-cache",
        "must-revalidate",
        "proxy-revalidate",
        "s-maxage=9",
    ] {
        check(rule, &format!("max-age=60, {directive}"), (0, 0));
    }
    check(
        rule,
        "must-revalidate, stale-while-revalidate=1, stale-if-error=2",
        (0, 0),
    );
    check(
        "explicit for shared caches",
        "s-maxage=9, stale-if-error=2",
        (0, 2),
    );
}

#[test]
fn incomplete_responses_are_noticed() {
    let check = |rule: &str, lines: &str, expected: bool| {
        let found = stored(lines, "12345").is_complete();
        assert_eq!(found, expected, "{lines}: {rule}");
    };
    let rule = "9111 3.3: \"a cache MUST NOT store incomplete or partial-content responses if it does not \
                support the Range and Content-Range header fields\"";
    check(rule, "content-length: 5", true);
    check(rule, "", true);
    check(rule, "content-length: 6", false);
    check(rule, "content-length: 4", false);
    let rule = "9110 8.6: \"the same decimal value repeated as a comma-separated list\"";
    check(rule, "content-length: 5, 5", true);
    check(rule, "content-length: 5 | content-length: 5", true);
    check(rule, "content-length: 5, 6", false);
    for broken in ["", "x", "+5", "5.0", "0x5", "99999999999999999999999"] {
        check(
            "9110 8.6: no decimal number",
            &format!("content-length: {broken}"),
            false,
        );
    }
}

proptest! {
    /// Time only adds to an age, whatever a response says and whatever clocks did before.
    #[test]
    fn age_never_decreases(head in any_head(), now in any_seconds(), later in any_seconds()) {
        let (now, later) = (now.min(later), now.max(later));
        prop_assert!(head.age(UnixSeconds(now)) <= head.age(UnixSeconds(later)));
        prop_assert!(head.age(UnixSeconds(now)) >= head.corrected_initial_age());
    }

    /// No response is fresh for longer than the operator allows.
    #[test]
    fn operators_limit_holds(head in any_head(), max_fresh in 0u64..1000) {
        let limits = Limits { max_fresh: Duration::from_secs(max_fresh), ..LIMITS };
        let fresh = head.lifetimes(&limits).fresh;
        prop_assert!(fresh <= limits.max_fresh);
    }
}
