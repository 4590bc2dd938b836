//! Validation, and what a 304 changes (RFC 9111 §4.3).

use super::site::{Front, answer};

pub(super) async fn all(front: &Front) {
    stored_responses_are_validated(front).await;
    a_304_updates_what_is_stored(front).await;
    conditions_of_clients_are_answered(front).await;
    answers_to_head_may_invalidate(front).await;
}

async fn stored_responses_are_validated(front: &Front) {
    let site = front.site("/");
    let date = "Mon, 01 Jan 2024 00:00:00 GMT";
    let stale = format!("cache-control: max-age=0\netag: \"a\"\nlast-modified: {date}");
    site.ok(&stale, "one");
    site.get("").await.is(200, "one");
    site.origin(answer(304, "etag: \"a\"", ""));
    // §4.3.1: both validators; and the client's own conditions are not passed on.
    let seen = site.get("if-none-match: \"x\"").await.is(200, "one").told();
    assert_eq!(seen.asked[0].header("if-none-match"), "\"a\"");
    assert_eq!(seen.asked[0].header("if-modified-since"), date);
    seen.status("fwd=stale; fwd-status=304");
    // Another answer takes the place of the stored one.
    site.ok("cache-control: max-age=60\netag: \"b\"", "two");
    site.get("")
        .await
        .is(200, "two")
        .status("fwd=stale; fwd-status=200; stored");
    site.get("").await.is(200, "two").untold();

    // §4.3.4: a 304 about another response must not update this one.
    let site = front.site("/");
    site.ok("cache-control: max-age=0\netag: \"a\"", "one");
    site.get("").await.is(200, "one");
    site.origin(answer(304, "etag: \"z\"", ""));
    site.ok("cache-control: max-age=60\netag: \"z\"", "two");
    let seen = site.get("").await.is(200, "two");
    assert_eq!(seen.asked.len(), 2);
    assert_eq!(seen.asked[1].header("if-none-match"), "");
}

/// §3.2 and §4.3.4.
async fn a_304_updates_what_is_stored(front: &Front) {
    let site = front.site("/");
    let lines =
        "cache-control: max-age=0\netag: \"a\"\nx-kept: 1\nx-changed: 1\ncontent-type: text/a";
    site.ok(lines, "one");
    site.get("").await.is(200, "one");
    let update = "etag: \"a\"\ncache-control: max-age=60\nx-changed: 2\nx-new: 3";
    site.origin(answer(304, update, ""));
    let updated = site.get("").await.is(200, "one").told();
    let again = site.get("").await.is(200, "one").untold().status("hit");
    for seen in [&updated, &again] {
        let value = |name| seen.header(name).to_owned();
        assert_eq!(
            [
                "x-kept",
                "x-changed",
                "x-new",
                "content-type",
                "content-length"
            ]
            .map(value),
            ["1", "2", "3", "text/a", "3"]
        );
    }
}

/// §4.3.2, RFC 9110 §13.2.2 and §15.4.5.
async fn conditions_of_clients_are_answered(front: &Front) {
    let site = front.site("/");
    let date = "Mon, 01 Jan 2024 00:00:00 GMT";
    let lines = format!(
        "cache-control: max-age=60\netag: \"a\"\nlast-modified: {date}\ncontent-type: text/a"
    );
    site.ok(&lines, "one");
    // The client has what is just being fetched: 304 for it, and the whole response for the store.
    let first = site.get("if-none-match: \"a\"").await.is(304, "").told();
    assert_eq!(first.asked[0].header("if-none-match"), "");
    first.status("fwd=miss; stored");
    let later = "Tue, 02 Jan 2024 00:00:00 GMT";
    let earlier = "Sun, 31 Dec 2023 00:00:00 GMT";
    for (condition, has) in [
        ("if-none-match: \"a\"".to_owned(), true),
        ("if-none-match: W/\"a\", \"b\"".to_owned(), true),
        ("if-none-match: *".to_owned(), true),
        ("if-none-match: \"b\"".to_owned(), false),
        (format!("if-modified-since: {date}"), true),
        (format!("if-modified-since: {later}"), true),
        (format!("if-modified-since: {earlier}"), false),
        ("if-modified-since: yesterday".to_owned(), false),
        // If-None-Match goes first.
        (
            format!("if-none-match: \"b\"\nif-modified-since: {later}"),
            false,
        ),
    ] {
        let seen = site.get(&condition).await.untold();
        let expected = if has { (304, "") } else { (200, "one") };
        let seen = seen.is(expected.0, expected.1);
        assert_eq!(seen.header("etag"), "\"a\"", "{condition}");
        assert_eq!(seen.header("content-type").is_empty(), has, "{condition}");
    }
}

/// §4.3.5.
async fn answers_to_head_may_invalidate(front: &Front) {
    let site = front.site("/");
    site.ok("cache-control: max-age=0\netag: \"a\"", "one");
    site.get("").await.is(200, "one");
    site.ok(
        "cache-control: max-age=60\netag: \"b\"\ncontent-length: 9",
        "",
    );
    let head = site.ask("HEAD", "", "", "").await.is(200, "").told();
    assert_eq!(head.asked[0].method, "HEAD");
    site.ok("cache-control: max-age=60\netag: \"b\"", "new");
    let seen = site.get("").await.is(200, "new").told();
    assert_eq!(
        seen.asked[0].header("if-none-match"),
        "",
        "nothing to validate"
    );
}
