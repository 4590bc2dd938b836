//! JSON that is POSTed to declared routes: whole answers, and embeddings input by input.

use serde_json::{Value, json};

use super::site::{Front, Seen, Site, answer};

pub(super) async fn all(front: &Front) {
    equal_bodies_share_an_answer(&front.json(0, "generic")).await;
    what_must_not_be_kept_is_not(&front.json(1, "generic")).await;
    only_repeatable_completions_are_kept(&front.json(2, "complete")).await;
    credentials_are_told_apart(&front.json(3, "generic")).await;
    inputs_are_known_one_by_one(&front.json(4, "openai")).await;
    answers_that_are_none_are_passed_or_refused(&front.json(5, "openai")).await;
    stale_results_stand_in(&front.json(6, "openai")).await;
    vectors_of_tei_are_known_one_by_one(&front.json(7, "tei")).await;
}

const JSON: &str = "content-type: application/json";

async fn equal_bodies_share_an_answer(site: &Site<'_>) {
    site.ok(JSON, "{\"n\":1}");
    let first = site.post("", &json!({"a": 1, "b": [1.0, "x"]})).await;
    let first = first.is(200, "{\"n\":1}").told();
    assert_eq!(first.asked[0].header("accept-encoding"), "");
    first.status("fwd=miss; stored");
    // Order of members, white space and the form of numbers mean nothing.
    let same = "{ \"b\": [1, \"\\u0078\"],\n \"a\": 1.0 }";
    let lines = format!("{JSON}\naccept-encoding: gzip");
    let hit = site
        .ask("POST", "", &lines, same)
        .await
        .is(200, "{\"n\":1}");
    let hit = hit.untold().status("hit");
    assert_eq!(hit.header("content-type"), "application/json");
    assert!(hit.header("brink-policy").ends_with("rule=\"posted\""));
    site.ok(JSON, "{\"n\":2}");
    site.post("", &json!({"a": 1, "b": [1, "y"]}))
        .await
        .is(200, "{\"n\":2}")
        .told();

    site.post(
        "cache-control: only-if-cached",
        &json!({"a": 1, "b": [1, "y"]}),
    )
    .await
    .untold();
    let refused = site
        .post("cache-control: only-if-cached", &json!({}))
        .await
        .untold();
    assert_eq!(refused.reply.status, 504);
    // What is no JSON object is the origin's to judge.
    site.origin(answer(422, "", "what?"));
    let passed = site
        .ask("POST", "", JSON, "[1, 2]")
        .await
        .is(422, "what?")
        .told();
    assert_eq!(passed.asked[0].body, "[1, 2]");
    passed.status("fwd=bypass; detail=no-json");
    // Other methods are of HTTP, and GET finds nothing that POST stored.
    site.ok("cache-control: max-age=60", "got");
    site.get("").await.is(200, "got").told();
}

async fn what_must_not_be_kept_is_not(site: &Site<'_>) {
    for (number, (answered, detail)) in [
        (
            answer(200, &format!("{JSON}\ncache-control: no-store"), "{}"),
            "no-store",
        ),
        (
            answer(200, &format!("{JSON}\ncache-control: private"), "{}"),
            "private",
        ),
        (
            answer(200, &format!("{JSON}\nset-cookie: a=b"), "{}"),
            "set-cookie",
        ),
        (
            answer(200, &format!("{JSON}\nvary: accept-language"), "{}"),
            "vary",
        ),
        (
            answer(200, "content-type: text/event-stream", "data: 1\n\n"),
            "content-type",
        ),
        (answer(503, JSON, "{}"), "status"),
    ]
    .into_iter()
    .enumerate()
    {
        let body = json!({"case": number});
        site.origin(answered);
        site.post("", &body)
            .await
            .told()
            .status(&format!("fwd=miss; detail={detail}"));
        site.ok(JSON, "{\"kept\":1}");
        site.post("", &body).await.is(200, "{\"kept\":1}").told();
    }
    // Errors that the policy names are kept for as long as it says.
    site.origin(answer(400, JSON, "{\"error\":1}"));
    site.post("", &json!({"wrong": 1}))
        .await
        .is(400, "{\"error\":1}")
        .told();
    site.post("", &json!({"wrong": 1}))
        .await
        .is(400, "{\"error\":1}")
        .untold();
    site.ok(JSON, "{\"x\":1}");
    let stored = site
        .post("cache-control: no-store", &json!({"never": 1}))
        .await
        .told();
    stored.status("fwd=request; detail=request-no-store");
    site.ok(JSON, "{\"x\":2}");
    site.post("", &json!({"never": 1}))
        .await
        .is(200, "{\"x\":2}")
        .told();
    site.ok(JSON, "{\"x\":3}");
    site.post("cache-control: no-cache", &json!({"never": 1}))
        .await
        .is(200, "{\"x\":3}")
        .told();
    site.post("", &json!({"never": 1}))
        .await
        .is(200, "{\"x\":3}")
        .untold();
}

async fn only_repeatable_completions_are_kept(site: &Site<'_>) {
    let chat = |more: &Value| {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        let members = body.as_object_mut().unwrap();
        members.extend(more.as_object().unwrap().clone());
        body
    };
    for (more, kept) in [
        (json!({}), false),
        (json!({"temperature": 0.7}), false),
        (json!({"temperature": 0}), true),
        (json!({"temperature": 0, "user": "another"}), true),
        (json!({"seed": 1}), true),
        (json!({"temperature": 0, "stream": true}), false),
    ] {
        let body = chat(&more);
        site.ok(JSON, "{\"n\":1}").ok(JSON, "{\"n\":2}");
        site.post("", &body).await;
        let again = site.post("", &body).await;
        let expected = if kept { "hit" } else { "fwd=bypass" };
        let own = again.header("cache-status").to_owned();
        assert!(own.contains(expected), "{more}: {own}");
    }
    // What was not asked for above is answered now.
    site.front.drain(site);
}

async fn credentials_are_told_apart(site: &Site<'_>) {
    let body = json!({"q": 1});
    for (lines, text) in [
        ("authorization: Bearer a", "{\"of\":\"a\"}"),
        ("authorization: Bearer b", "{\"of\":\"b\"}"),
        ("cookie: s=1", "{\"of\":\"cookie\"}"),
        ("", "{\"of\":\"nobody\"}"),
    ] {
        site.ok(JSON, text);
        site.post(lines, &body).await.is(200, text).told();
        site.post(lines, &body).await.is(200, text).untold();
    }
}

fn embeddings(seen: &Seen) -> Vec<String> {
    let body = seen.reply.json();
    let data = body["data"].as_array().unwrap();
    for (index, item) in data.iter().enumerate() {
        assert_eq!(item["index"], index);
    }
    data.iter()
        .map(|item| item["embedding"].to_string())
        .collect()
}

async fn inputs_are_known_one_by_one(site: &Site<'_>) {
    let ask = |input: Value| json!({"model": "m", "input": input, "encoding_format": "float"});
    site.ok(
        JSON,
        r#"{"object":"list","data":[{"index":1,"embedding":[2.0]},{"index":0,"embedding":[1.0]}],"model":"m-1","usage":{"prompt_tokens":9,"total_tokens":9}}"#,
    );
    let body = ask(json!(["a", "b"]));
    let first = site.post("", &body).await.told();
    assert_eq!(
        first.asked[0].body,
        body.to_string(),
        "as the client sent it"
    );
    assert!(
        first
            .reply
            .text()
            .contains("\"index\":1,\"embedding\":[2.0]},{"),
        "as it came"
    );
    assert_eq!(first.header("brink-items"), "miss=2");

    // Known ones are not asked for again, repeated ones once, each at its own index.
    site.ok(
        JSON,
        r#"{"data":[{"index":0,"embedding":[3.0]}],"model":"m-1","usage":{"prompt_tokens":4,"total_tokens":4}}"#,
    );
    let partial = site
        .post("", &ask(json!(["b", "c", "a", "c"])))
        .await
        .told();
    assert_eq!(embeddings(&partial), ["[2.0]", "[3.0]", "[1.0]", "[3.0]"]);
    let sent: Value = serde_json::from_slice(&partial.asked[0].body).unwrap();
    assert_eq!(sent, ask(json!(["c"])));
    assert_eq!(partial.header("brink-items"), "hit=2, miss=1, collapsed=1");
    assert_eq!(partial.reply.json()["usage"]["prompt_tokens"], 4);
    partial.status("fwd=partial; stored");

    let hit = site.post("", &ask(json!(["c", "b"]))).await.untold();
    assert_eq!(embeddings(&hit), ["[3.0]", "[2.0]"]);
    assert_eq!(hit.reply.json()["model"], "m");
    hit.status("hit");
    let single = site.post("", &ask(json!("a"))).await.untold();
    assert_eq!(embeddings(&single), ["[1.0]"]);

    // Whatever changes the answer makes another key.
    let other = json!({"model": "m", "input": "a", "encoding_format": "base64"});
    site.ok(
        JSON,
        r#"{"data":[{"index":0,"embedding":"AACAPw=="}],"model":"m-1"}"#,
    );
    site.post("", &other).await.told();
    let text = site.post("", &other).await.untold();
    assert_eq!(embeddings(&text), ["\"AACAPw==\""]);
}

async fn answers_that_are_none_are_passed_or_refused(site: &Site<'_>) {
    let ask = |input: Value| json!({"model": "m", "input": input});
    site.ok(JSON, r#"{"data":[{"index":0,"embedding":[1]}]}"#);
    site.post("", &ask(json!(["a"]))).await.told();
    // Results that are not for each input are never guessed at.
    site.ok(
        JSON,
        r#"{"data":[{"index":0,"embedding":[9]},{"index":1,"embedding":[9]}]}"#,
    );
    let refused = site.post("", &ask(json!(["a", "b"]))).await.told();
    assert_eq!(refused.reply.status, 502);
    assert_eq!(refused.reply.json()["code"], "bad_origin_answer");
    let odd = r#"{"data":[]}"#;
    site.ok(JSON, odd);
    let passed = site.post("", &ask(json!(["b"]))).await.is(200, odd).told();
    passed.status("fwd=miss; detail=no-results");
    // An error is one of the whole request.
    site.origin(answer(
        429,
        &format!("{JSON}\nretry-after: 7"),
        "{\"slow\":1}",
    ));
    let refused = site
        .post("", &ask(json!(["a", "b"])))
        .await
        .is(429, "{\"slow\":1}")
        .told();
    assert_eq!(refused.header("retry-after"), "7");
    // Inputs of a form that is not known are passed on.
    site.origin(answer(400, JSON, "{}"));
    let passed = site
        .post("", &ask(json!({"text": 1})))
        .await
        .is(400, "{}")
        .told();
    passed.status("fwd=bypass; detail=no-items");
}

async fn stale_results_stand_in(site: &Site<'_>) {
    let ask = json!({"model": "m", "input": ["a", "b"]});
    site.ok(
        JSON,
        r#"{"data":[{"index":0,"embedding":[1]},{"index":1,"embedding":[2]}]}"#,
    );
    site.post("", &ask).await.told();
    // A client that takes nothing older than now asks; the origin fails.
    site.origin(answer(503, "", "broken"));
    let broken = site
        .post("cache-control: no-cache", &ask)
        .await
        .is(503, "broken")
        .told();
    broken.status("fwd=request");
    let hit = site.post("", &ask).await.untold();
    assert_eq!(embeddings(&hit), ["[1]", "[2]"]);
}

async fn vectors_of_tei_are_known_one_by_one(site: &Site<'_>) {
    site.ok(JSON, "[[1.5],[2.5]]");
    site.post("", &json!({"inputs": ["a", "b"], "normalize": true}))
        .await
        .is(200, "[[1.5],[2.5]]");
    site.ok(JSON, "[[3.5]]");
    let partial = site
        .post("", &json!({"normalize": true, "inputs": ["b", "c"]}))
        .await;
    let partial = partial.is(200, "[[2.5],[3.5]]").told();
    assert_eq!(
        partial.asked[0].body,
        r#"{"inputs":["c"],"normalize":true}"#
    );
    site.post("", &json!({"inputs": "c", "normalize": true}))
        .await
        .is(200, "[[3.5]]")
        .untold();
}
