//! What goes through: fields, bodies, trailers and errors (RFC 9110 §7.6, RFC 9111 §3.3, RFC 8586).

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use http_body_util::StreamBody;

use super::site::{Front, answer};

pub(super) async fn all(front: &Front) {
    fields_of_the_connection_stay_there(front).await;
    dates_and_ages_are_right(front).await;
    parts_pass_and_are_not_stored(front).await;
    broken_and_large_bodies_are_not_stored(front).await;
    errors_are_problems(front).await;
    paths_stay_below_the_upstream(front).await;
}

async fn fields_of_the_connection_stay_there(front: &Front) {
    let site = front.site("/");
    site.ok(
        "cache-control: max-age=60\nconnection: x-hop\nx-hop: 1\nx-end: 2\nvia: 1.1 other\ncache-status: other; hit",
        "one",
    );
    let lines = "connection: x-mine\nx-mine: 1\nx-end: 2\nproxy-authorization: Basic YTpi\nvia: 1.0 client\nauthorization: Basic YTpi\nx-forwarded-for: 192.0.2.7\nx-forwarded-host: evil.example\nforwarded: host=evil.example\nx-original-url: /other\nx-http-method-override: DELETE";
    let seen = site.get(lines).await.is(200, "one").told();
    let asked = &seen.asked[0];
    for (name, value) in [
        ("x-mine", ""),
        ("proxy-authorization", ""),
        ("x-end", "2"),
        ("via", "1.0 client, 1.1 brink-edge"),
        ("cdn-loop", "brink-edge"),
        // No tenants: it is not ours.
        ("authorization", "Basic YTpi"),
        ("x-forwarded-for", ""),
        ("x-forwarded-host", ""),
        ("forwarded", ""),
        ("x-original-url", ""),
        ("x-http-method-override", ""),
        ("spin-path-info", ""),
        ("spin-client-addr", ""),
    ] {
        assert_eq!(asked.header(name), value, "{name}");
    }
    assert_eq!(asked.header("host"), front.origin.address.to_string());
    assert_eq!(asked.target, site.path);
    assert_eq!(seen.header("x-hop"), "");
    assert_eq!(seen.header("x-end"), "2");
    assert_eq!(seen.header("via"), "1.1 other, 1.1 brink-edge");
    // RFC 9211 §2: the cache nearest to the origin comes first.
    assert!(
        seen.header("cache-status")
            .starts_with("other; hit, brink-edge; fwd=miss")
    );

    let site = front.site("/");
    let loops = ["brink-edge"; 8].join(", ");
    let refused = site.get(&format!("cdn-loop: {loops}")).await.untold();
    assert_eq!(refused.reply.status, 508);
    site.ok("", "one");
    site.get("cdn-loop: brink-edge, other")
        .await
        .is(200, "one")
        .told();
}

async fn dates_and_ages_are_right(front: &Front) {
    let site = front.site("/");
    let date = "Mon, 01 Jan 2024 00:00:00 GMT";
    site.ok(&format!("cache-control: max-age=60\ndate: {date}"), "old");
    // §4.2.3: apparent_age = response_time - date_value, so it is stale from the start.
    let seen = site.get("").await.is(200, "old");
    assert_eq!(seen.header("date"), date);
    site.ok("cache-control: max-age=60\nage: 7", "new");
    site.get("").await.is(200, "new").told();
    let again = site.get("").await.is(200, "new").untold();
    let age: u64 = again.header("age").parse().unwrap();
    assert!((7..60).contains(&age), "{age}");
}

/// "A cache MUST NOT store incomplete or partial-content responses if it does not support the Range
/// and Content-Range header fields": RFC 9111 §3.3.
async fn parts_pass_and_are_not_stored(front: &Front) {
    let site = front.site("/");
    let part = "content-range: bytes 0-0/3\ncache-control: max-age=60";
    site.origin(answer(206, part, "o"));
    let seen = site.get("range: bytes=0-0").await.is(206, "o").told();
    assert_eq!(seen.asked[0].header("range"), "bytes=0-0");
    seen.status("fwd=bypass; detail=range");
    site.ok("cache-control: max-age=60", "one");
    site.get("").await.is(200, "one").told();
    site.get("").await.is(200, "one").untold();
    // Content that came unannounced reaches the origin, and nothing that is stored answers it.
    site.ok("cache-control: max-age=60", "found");
    let lines = "transfer-encoding: chunked";
    let seen = site.ask("GET", "", lines, "a query").await;
    let seen = seen.is(200, "found").told();
    assert_eq!(seen.asked[0].body, "a query");
    seen.status("fwd=bypass; detail=request-content");
    site.get("").await.is(200, "one").untold();
    site.origin(answer(412, "", ""));
    let seen = site.get("if-match: \"x\"").await.is(412, "").told();
    assert_eq!(seen.asked[0].header("if-match"), "\"x\"");
}

async fn broken_and_large_bodies_are_not_stored(front: &Front) {
    let site = front.site("/");
    let large = Bytes::from(vec![b'x'; 1_200_000]);
    site.origin(answer(200, "cache-control: max-age=60", large.clone()));
    let seen = site.get("").await.told();
    assert_eq!(seen.reply.body, large);
    site.ok("cache-control: max-age=60", "small");
    site.get("").await.is(200, "small").told();

    // Trailers are not asked for (`TE` ends here), and a message that could have them arrives whole.
    let site = front.site("/");
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    let frames = [
        Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"one"))),
        Ok(Frame::trailers(trailers)),
    ];
    let body = Body::new(StreamBody::new(futures_util::stream::iter(frames)));
    site.origin(answer(
        200,
        "cache-control: max-age=60\ntrailer: x-sum",
        body,
    ));
    let seen = site.get("te: trailers").await.is(200, "one").told();
    assert_eq!(seen.asked[0].header("te"), "");
    site.get("").await.is(200, "one").untold();
}

async fn errors_are_problems(front: &Front) {
    for (prefix, status, code) in [
        ("/gone/", 502, "origin_unreachable"),
        ("/denied/", 502, "origin_not_allowed"),
    ] {
        let seen = front.site(prefix).get("").await;
        assert_eq!(seen.reply.status, status);
        assert_eq!(seen.header("content-type"), "application/problem+json");
        assert_eq!(seen.reply.json()["code"], code);
    }
}

async fn paths_stay_below_the_upstream(front: &Front) {
    let site = front.site("/");
    for more in ["/../x", "/%2e%2e/x", "/a/..%2fx", "/.%5c..%5cx"] {
        let refused = site.ask("GET", more, "", "").await.untold();
        assert_eq!(refused.reply.status, 400, "{more}");
        assert_eq!(refused.reply.json()["code"], "path_refused");
    }
    site.ok("", "query");
    let seen = site.ask("GET", "/a%20b?x=/../&y=%2e", "", "").await;
    let seen = seen.is(200, "query").told();
    assert_eq!(
        seen.asked[0].target,
        format!("{}/a%20b?x=/../&y=%2e", site.path)
    );
}
