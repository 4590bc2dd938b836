//! Equal requests in flight: one asks, and the others wait for what it brings.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::site::{Front, Site, answer};

const PATIENCE: Duration = Duration::from_secs(60);
const MANY: usize = 8;

/// Sends equal requests, holds the origin's answers until all are under way, lets so many go, and gives what
/// the clients got: bodies and `Cache-Status`.
async fn at_once(site: &Site<'_>, method: &str, body: &'static str) -> Vec<(String, String)> {
    let held = site.hold();
    let ask = || async {
        let request = Request::builder().method(method).uri(&site.path);
        let request = request.header("content-type", "application/json");
        let request = request.body(Bytes::from(body)).unwrap();
        let response = site.front.open(request).await;
        assert_eq!(response.status(), StatusCode::OK);
        let status = response.headers()["cache-status"].to_str().unwrap();
        let status = status.to_owned();
        let body = response.collect().await.unwrap().to_bytes();
        (String::from_utf8(body.to_vec()).unwrap(), status)
    };
    let release = async {
        site.front.busy(MANY).await;
        held.add_permits(MANY);
    };
    let all = join_all((0..MANY).map(|_| ask()));
    let (all, ()) = timeout(PATIENCE, async { tokio::join!(all, release) })
        .await
        .unwrap();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_requests_in_flight_are_one_for_the_origin() {
    let front = Front::embedded().await;
    let json = "content-type: application/json";
    let results = r#"{"data": [{"index": 1, "embedding": [2]}, {"index": 0, "embedding": [1]}]}"#;
    for (number, (kind, method, body, lines, answer)) in [
        ("generic", "GET", "", "cache-control: max-age=60", "one"),
        ("generic", "POST", "{\"a\": 1}", json, "one"),
        (
            "openai",
            "POST",
            "{\"input\": [\"a\", \"b\"]}",
            json,
            results,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let site = front.json(number, kind);
        site.ok(lines, answer);
        let all = at_once(&site, method, body).await;
        assert_eq!(site.asked().len(), 1, "{all:?}");
        assert!(all.iter().all(|(body, _)| !body.is_empty()));
        // One that came late may have found it stored already.
        let is_spared = |(_, status): &&(String, String)| {
            status.contains("; collapsed") || status.contains("; hit")
        };
        assert_eq!(all.iter().filter(is_spared).count(), MANY - 1, "{all:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_response_is_refreshed_once_for_all_instances() {
    let front = Front::embedded().await;
    let site = front.site("/lenient/");
    site.ok("cache-control: max-age=60\nage: 90", "one");
    site.get("").await.is(200, "one").told();
    // One answer: a second question would get a refusal of the test's origin.
    site.ok("cache-control: max-age=60", "two");
    let all = (0..MANY).map(|_| async {
        let request = Request::get(&site.path).body(Bytes::new()).unwrap();
        let response = front.open(request).await;
        response.collect().await.unwrap().to_bytes()
    });
    let bodies = join_all(all).await;
    assert!(bodies.iter().all(|body| body == "one" || body == "two"));
    front.idle().await;
    let last = site.get("").await;
    assert_eq!(last.asked.len(), 1, "all of it for eight stale answers");
    last.is(200, "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_in_line_for_what_is_not_stored() {
    let front = Front::embedded().await;
    let site = front.json(0, "generic");
    for _ in 0..2 * MANY {
        site.origin(answer(200, "cache-control: no-store", "one"));
    }
    let all = at_once(&site, "GET", "").await;
    assert_eq!(site.asked().len(), MANY);
    assert!(
        all.iter()
            .all(|(_, status)| status.contains("detail=no-store"))
    );
    // Known for a while: the next ones ask at once.
    let all = at_once(&site, "GET", "").await;
    assert_eq!(site.asked().len(), MANY, "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn leader_that_fails_or_goes_away_leaves_nobody_waiting() {
    let front = Front::embedded_with(super::site::policy_of, &[]).await;
    let site = front.json(0, "generic");
    site.origin(answer(500, "", "broken"));
    site.ok("cache-control: max-age=60", "one");
    let held = site.hold();
    held.add_permits(2);
    // It fails, and the next one leads.
    site.get("").await.is(500, "broken").told();
    site.get("").await.is(200, "one").told();

    // Its client goes away in the middle; the lease is too old after a while, and followers ask.
    let site = front.json(1, "generic");
    let held = site.hold();
    let request = || {
        let request = Request::get(&site.path).header("te", "trailers");
        request.body(Bytes::new()).unwrap()
    };
    let leader = timeout(Duration::from_millis(300), front.open(request()));
    assert!(leader.await.is_err(), "the origin holds its answer");
    site.ok("cache-control: max-age=60", "two");
    site.ok("cache-control: max-age=60", "two");
    held.add_permits(2);
    let follower = timeout(PATIENCE, front.open(request())).await.unwrap();
    let body = follower.collect().await.unwrap().to_bytes();
    assert_eq!(body, "two");
}
