//! What takes responses out of the cache: unsafe methods (RFC 9111 §4.4), groups (RFC 9875), and
//! purges of operators.

use brink_cache::Marks;
use brink_cache::http::shared::date;
use brink_cache::purge::{self, Mark, Mode, Subject};
use brink_host::guest::keyvalue::KeyValue;

use serde_json::json;

use super::site::{Front, Seen, answer};

pub(super) async fn all(front: &Front) {
    unsafe_methods_invalidate(front).await;
    groups_are_invalidated_together(front).await;
}

const MINUTE: &str = "cache-control: max-age=60";

async fn unsafe_methods_invalidate(front: &Front) {
    // "MUST invalidate the target URI when it receives a non-error status code in response to an unsafe
    // request method (including methods whose safety is unknown)".
    for (method, status, invalidates) in [
        ("POST", 200, true),
        ("PUT", 204, true),
        ("DELETE", 302, true),
        ("PATCH", 200, true),
        ("UNKNOWN", 200, true),
        ("POST", 400, false),
        ("POST", 500, false),
        ("OPTIONS", 200, false),
    ] {
        let site = front.site("/");
        site.ok(MINUTE, "one");
        site.get("").await.is(200, "one");
        site.origin(answer(status, "", ""));
        let passed = site.ask(method, "", "", "body").await.told();
        assert_eq!(passed.reply.status, status, "{method}");
        assert_eq!(passed.asked[0].body, "body");
        passed.status("fwd=method; detail=method");
        site.ok(MINUTE, "two");
        let expected = if invalidates { "two" } else { "one" };
        site.get("").await.is(200, expected);
    }
    // Location and Content-Location of the same origin go with it, others do not.
    for (host, is_invalid) in [("", true), ("http://elsewhere.example", false)] {
        let site = front.site("/");
        site.ok(MINUTE, "one");
        site.ask("GET", "/made", "", "").await.is(200, "one");
        let location = format!("location: {host}{}/made", site.path);
        site.origin(answer(201, &location, ""));
        site.ask("POST", "", "", "").await.is(201, "");
        site.ok(MINUTE, "two");
        let expected = if is_invalid { "two" } else { "one" };
        site.ask("GET", "/made", "", "").await.is(200, expected);
    }
    // Whatever rule the change falls under, and whoever the stored response is for.
    for prefix in ["/apart/", "/public/"] {
        let site = front.site(prefix);
        let grouped = "cache-control: max-age=60\ncache-groups: \"g\"";
        site.ok(grouped, "one").ok(grouped, "other");
        site.get("").await.is(200, "one");
        site.ask("GET", "/other", "", "").await.is(200, "other");
        site.origin(answer(204, "cache-group-invalidation: \"g\"", ""));
        let put = site.ask("PUT", "", "", "").await.is(204, "");
        assert!(put.header("brink-policy").ends_with("rule=\"changes\""));
        site.ok(grouped, "two").ok(grouped, "other two");
        site.get("").await.is(200, "two").told();
        site.ask("GET", "/other", "", "")
            .await
            .is(200, "other two")
            .told();
    }
    // All variants go at once.
    let site = front.site("/");
    let vary = "cache-control: max-age=60\nvary: accept";
    site.ok(vary, "a").ok(vary, "b");
    site.get("accept: a").await.is(200, "a");
    site.get("accept: b").await.is(200, "b");
    site.origin(answer(200, "", ""));
    site.ask("POST", "", "", "").await.is(200, "");
    site.ok(vary, "new a").ok(vary, "new b");
    site.get("accept: a").await.is(200, "new a").told();
    site.get("accept: b").await.is(200, "new b").told();
}

/// RFC 9875 §2 and §3.
async fn groups_are_invalidated_together(front: &Front) {
    let site = front.site("/");
    let grouped = "cache-control: max-age=60\ncache-groups: \"scripts\", \"other\"";
    site.ok(grouped, "one").ok(MINUTE, "alone");
    site.ask("GET", "/a", "", "").await.is(200, "one");
    site.ask("GET", "/b", "", "").await.is(200, "alone");
    // "MUST NOT have any effect on responses to safe methods".
    site.ok("cache-group-invalidation: \"scripts\"", "safe");
    site.ask("GET", "/c", "", "").await.is(200, "safe");
    site.ask("GET", "/a", "", "").await.is(200, "one").untold();
    site.origin(answer(200, "cache-group-invalidation: \"scripts\"", ""));
    site.ask("POST", "/d", "", "").await.is(200, "");
    site.ok(grouped, "two");
    site.ask("GET", "/a", "", "").await.is(200, "two").told();
    site.ask("GET", "/b", "", "")
        .await
        .is(200, "alone")
        .untold();
}

/// Replaces all marks by one, as of when `seen` was answered.
fn purge(front: &Front, seen: &Seen, mode: Mode, subject: Subject) {
    let at = date::parse(seen.header("date")).unwrap();
    let mut marks = Marks::default();
    let mark = Mark { subject, at, mode };
    marks.add(&mark, at, purge::LONGEST_LIFETIME).unwrap();
    let document = marks.encode().into();
    front.store.set(purge::STORE_KEY, document).unwrap();
}

pub(super) async fn purges_by_model_reach_posted_json(front: &Front) {
    let json = "content-type: application/json";
    for (site, body, first, second) in [
        (
            front.json(8, "generic"),
            json!({"model": "purged", "a": 1}),
            "{\"n\":1}",
            "{\"n\":2}",
        ),
        (
            front.json(9, "tei"),
            json!({"model": "purged", "inputs": ["a"]}),
            "[[1]]",
            "[[2]]",
        ),
    ] {
        site.ok(json, first);
        let seen = site.post("", &body).await.is(200, first);
        let subject = Subject::Model("purged".to_owned());
        purge(front, &seen, Mode::Hard, subject);
        // Marks are read once a second.
        site.ok(json, second);
        while site.post("", &body).await.reply.text() == first {}
    }
}

pub(super) async fn purges_reach_origins(front: &Front) {
    for (mode, subject, expected) in [
        (
            Mode::Soft,
            Subject::SurrogateKey("site".to_owned()),
            "fwd=stale; fwd-status=200; stored",
        ),
        (Mode::Hard, Subject::All, "fwd=miss; stored"),
    ] {
        let site = front.site("/");
        site.ok(MINUTE, "one");
        let first = site.get("").await.is(200, "one");
        purge(front, &first, mode, subject);
        // Marks are read once a second.
        loop {
            site.ok(MINUTE, "two");
            let seen = site.get("").await;
            if seen.header("cache-status").contains(expected) {
                seen.is(200, "two").told();
                break;
            }
        }
    }
}
