//! When a stored response answers (RFC 9111 §3, §4.2 and §5.2; RFC 5861; RFC 9213).

use super::site::{Front, Seen, answer};

pub(super) async fn all(front: &Front) {
    what_is_fresh_is_reused(front).await;
    what_is_stale_is_not(front).await;
    what_may_not_be_stored_is_asked_for_each_time(front).await;
    request_directives_are_heeded(front).await;
    stale_windows_are_used(front).await;
    variants_are_told_apart(front).await;
    policy_has_the_last_word(front).await;
}

/// RFC 9111 §4.2: "a response is fresh if its age has not yet exceeded its freshness lifetime".
async fn what_is_fresh_is_reused(front: &Front) {
    let fresh = [
        "cache-control: max-age=60",
        "cache-control: s-maxage=60, max-age=0",
        "cdn-cache-control: max-age=60\ncache-control: no-store",
        "expires: Mon, 01 Jan 2080 00:00:00 GMT",
        "cache-control: public, max-age=60\nset-cookie: a=b",
        "cache-control: max-age=60\nage: 30",
    ];
    for lines in fresh {
        let site = front.site("/");
        site.ok(lines, "one");
        let first = site.get("").await.is(200, "one").told();
        first.status("fwd=miss; stored");
        let again = site.get("").await.is(200, "one").untold().status("hit");
        let age: u64 = again.header("age").parse().unwrap();
        assert!(age < 60, "{lines}: {age}");
        assert_eq!(again.header("brink-items"), "hit=1");
        assert!(again.header("brink-policy").ends_with("rule=\"origins\""));
    }
    // "A cache can ... reuse ... permanent redirects, negative results": RFC 9110 §15.1.
    for status in [203, 301, 308, 404, 410, 501] {
        let site = front.site("/");
        site.origin(answer(status, "cache-control: max-age=60", "kept"));
        site.get("").await.is(status, "kept").told();
        site.get("").await.is(status, "kept").untold();
    }
    // RFC 9211 §2.8: the key, for those who ask. Two clients of one tenant are told the same one.
    let site = front.site("/");
    site.ok("cache-control: max-age=60", "one");
    let first = site.get("brink-debug: key").await.is(200, "one").told();
    assert_eq!(first.asked[0].header("brink-debug"), "");
    let key = |seen: &Seen| {
        let status = seen.header("cache-status").to_owned();
        status.split("key=").nth(1).map(str::to_owned)
    };
    let told = key(&first).unwrap();
    let again = site.get("brink-debug: key").await.untold();
    assert!(key(&again).unwrap().starts_with(&told[..66]));
    assert_eq!(key(&site.get("").await.untold()), None);
    // HEAD is answered by what GET stored (RFC 9111 §4), with the length of the body it lacks.
    let site = front.site("/");
    site.ok("cache-control: max-age=60", "four");
    site.get("").await.is(200, "four");
    let head = site.ask("HEAD", "", "", "").await.is(200, "").untold();
    assert_eq!(head.header("content-length"), "4");
}

async fn what_is_stale_is_not(front: &Front) {
    let stale = [
        // §5.2.2.1: stale "after its age is greater than the specified number of seconds".
        "cache-control: max-age=60\nage: 60",
        "cache-control: max-age=0\netag: \"a\"",
        // §5.3: an invalid date means "already expired".
        "expires: 0\netag: \"a\"",
        // §5.2.2.4: no-cache "MUST NOT be used ... without forwarding it for validation".
        "cache-control: max-age=60, no-cache\netag: \"a\"",
        // §4.2.2: no heuristics here.
        "last-modified: Mon, 01 Jan 2024 00:00:00 GMT",
    ];
    for lines in stale {
        let site = front.site("/");
        site.ok(lines, "one").ok(lines, "two");
        site.get("").await.is(200, "one").told();
        site.get("").await.is(200, "two").told();
    }
}

/// RFC 9111 §3: "A cache MUST NOT store a response to a request unless ...".
async fn what_may_not_be_stored_is_asked_for_each_time(front: &Front) {
    let refused = [
        ("", "cache-control: no-store, max-age=60", "no-store"),
        ("", "cache-control: private, max-age=60", "private"),
        ("", "cache-control: max-age=60\nvary: *", "vary"),
        (
            "",
            "cache-control: max-age=60\nset-cookie: a=b",
            "set-cookie",
        ),
        // §3.5: Authorization needs public, s-maxage or must-revalidate.
        (
            "authorization: Basic YTpi",
            "cache-control: max-age=60",
            "authorization",
        ),
        (
            "x-api-key: secret",
            "cache-control: max-age=60",
            "authorization",
        ),
        ("", "", "no-lifetime"),
    ];
    for (request, lines, detail) in refused {
        let site = front.site("/");
        site.ok(lines, "one").ok(lines, "two");
        let first = site.get(request).await.is(200, "one").told();
        first.status(&format!("fwd=miss; detail={detail}"));
        site.get(request).await.is(200, "two").told();
    }
    for allowed in [
        "public, max-age=60",
        "s-maxage=60",
        "max-age=60, must-revalidate",
    ] {
        let site = front.site("/");
        site.ok(&format!("cache-control: {allowed}"), "one");
        site.get("authorization: Basic YTpi").await.is(200, "one");
        site.get("").await.is(200, "one").untold();
    }
}

/// RFC 9111 §5.2.1.
async fn request_directives_are_heeded(front: &Front) {
    let site = front.site("/");
    let minute = "cache-control: max-age=60\nage: 10";
    site.ok(minute, "one");
    site.get("").await.is(200, "one");
    let control = |value: &str| format!("cache-control: {value}");
    site.get(&control("max-age=30")).await.untold();
    site.get(&control("min-fresh=30")).await.untold();
    site.get(&control("only-if-cached")).await.untold();
    for (index, refused) in ["max-age=5", "min-fresh=55", "no-cache"].iter().enumerate() {
        let body = ["two", "three", "four"][index];
        site.ok(minute, body);
        site.get(&control(refused)).await.is(200, body).told();
    }
    // §5.2.1.5: no-store keeps the answer out of the cache; what is there stays.
    site.ok(minute, "five");
    let passed = site.get(&control("no-store")).await.is(200, "five").told();
    passed.status("fwd=request; detail=request-no-store");
    site.get("").await.is(200, "four").untold();
    // §5.4: Pragma counts where there is no Cache-Control.
    site.ok(minute, "six");
    site.get("pragma: no-cache").await.is(200, "six").told();

    let site = front.site("/");
    let refused = site.get(&control("only-if-cached")).await.untold();
    assert_eq!(refused.reply.status, 504);
    assert_eq!(refused.header("content-type"), "application/problem+json");
    assert_eq!(refused.reply.json()["code"], "not_cached");

    let site = front.site("/");
    site.ok("cache-control: max-age=60\nage: 100", "one");
    site.get("").await.is(200, "one");
    site.get(&control("max-stale"))
        .await
        .is(200, "one")
        .untold();
    site.get(&control("max-stale=60"))
        .await
        .is(200, "one")
        .untold();
    site.ok(minute, "two");
    site.get(&control("max-stale=9"))
        .await
        .is(200, "two")
        .told();
}

/// RFC 5861.
async fn stale_windows_are_used(front: &Front) {
    let site = front.site("/");
    let old = "cache-control: max-age=60, stale-while-revalidate=60\nage: 90";
    site.ok(old, "one");
    site.get("").await.is(200, "one").told();
    site.ok("cache-control: max-age=60", "two");
    let stale = site.get("").await.is(200, "one");
    assert_eq!(stale.asked.len(), 1, "validated afterwards");
    stale.status("hit; detail=stale-while-revalidate");
    site.get("").await.is(200, "two").untold().status("hit");

    let site = front.site("/");
    let old = "cache-control: max-age=60, stale-if-error=60\nage: 90";
    site.ok(old, "one");
    site.get("").await.is(200, "one");
    for status in [500, 502, 503, 504] {
        site.origin(answer(status, "", "broken"));
        let stale = site.get("").await.is(200, "one").told();
        stale.status(&format!(
            "fwd=stale; fwd-status={status}; detail=stale-if-error"
        ));
    }
    // §4: not for errors that are the request's own.
    site.origin(answer(403, "", "not you"));
    site.get("").await.is(403, "not you").told();

    // A refresh that fails takes nothing away, whatever the failure says of itself.
    let site = front.site("/lenient/");
    site.ok("cache-control: max-age=60\nage: 90", "one");
    site.get("").await.is(200, "one");
    for _ in 0..2 {
        site.origin(answer(503, "cache-control: max-age=0", "broken"));
        site.get("").await.is(200, "one").told();
    }

    // §5.2.2.2: must-revalidate goes before every window, also the operator's.
    let site = front.site("/lenient/");
    let old = "cache-control: max-age=60, must-revalidate\nage: 90";
    site.ok(old, "one");
    site.get("").await.is(200, "one");
    site.origin(answer(503, "", "broken"));
    site.get("").await.is(503, "broken").told();
}

/// RFC 9111 §4.1.
async fn variants_are_told_apart(front: &Front) {
    let site = front.site("/");
    let vary = "cache-control: max-age=60\nvary: Accept-Language";
    site.ok(vary, "hello").ok(vary, "hallo");
    site.get("accept-language: en")
        .await
        .is(200, "hello")
        .told();
    site.get("accept-language: de")
        .await
        .is(200, "hallo")
        .told();
    site.get("accept-language: en")
        .await
        .is(200, "hello")
        .untold();
    site.get("accept-language: de")
        .await
        .is(200, "hallo")
        .untold();
    site.ok(vary, "salut");
    // Absent is another value than any.
    site.get("").await.is(200, "salut").told();
    site.get("").await.is(200, "salut").untold();
}

async fn policy_has_the_last_word(front: &Front) {
    let site = front.site("/never/");
    let minute = "cache-control: max-age=60";
    site.ok(minute, "one").ok(minute, "two");
    let first = site.get("").await.is(200, "one").told();
    assert!(first.header("brink-policy").ends_with("rule=\"never\""));
    first.status("fwd=bypass; detail=policy");
    site.get("").await.is(200, "two").told();

    // However it is spelled.
    for prefix in ["/n%65ver/", "//never/", "/%6eever/", "/never%2f"] {
        let site = front.site(prefix);
        site.ok(minute, "one");
        let seen = site.get("").await.is(200, "one").told();
        assert!(
            seen.header("brink-policy").ends_with("rule=\"never\""),
            "{prefix}"
        );
    }

    let site = front.site("/short/");
    let aged = "cache-control: max-age=60\nage: 20";
    site.ok(aged, "one").ok(aged, "two");
    site.get("").await.is(200, "one").told();
    site.get("").await.is(200, "two").told();

    // The operator's windows hold for responses that name none.
    let site = front.site("/lenient/");
    site.ok("cache-control: max-age=60\nage: 90", "one");
    site.get("").await.is(200, "one");
    site.ok("cache-control: max-age=60", "two");
    site.get("")
        .await
        .is(200, "one")
        .status("hit; detail=stale-while-revalidate");
    site.get("").await.is(200, "two").untold();
}
