//! GET, HEAD and QUERY: the same results, for caches that are not ours.

use std::time::Duration;

use brink_cache::UnixSeconds;
use brink_gateway::error::ApiError;
use brink_gateway::head::Head;
use brink_gateway::hit::{self, Begun, Known, Settled};
use brink_gateway::items::Prefixes;
use brink_gateway::reply::{Exchange, Reply};
use bytes::Bytes;
use http::StatusCode;

use crate::world::{At, NOW, World, catalog, host};

const BODY: &str = r#"{"model": "m", "input": "1"}"#;

/// Asks, computes what is missing and stores it.
fn ask(world: &mut World, head: &str, body: &str, now: UnixSeconds) -> Result<Reply, ApiError> {
    let head = Head::parse(head.as_bytes()).unwrap();
    let known = Known {
        catalog: Some(&catalog()),
        prefixes: &Prefixes::default(),
        in_force: &world.policy.clone(),
        max_body_bytes: 1_000_000,
    };
    let pending = match hit::begin(
        &head,
        Bytes::copy_from_slice(body.as_bytes()),
        known,
        &At(now),
    )? {
        Begun::Pending(pending) => pending,
        other => panic!("{other:?}"),
    };
    let reply = match pending.settle(world, &At(now))? {
        Settled::Answered(reply) | Settled::Stale(reply, _) => reply,
        Settled::Missing(missing) => {
            let call = missing.upstream_call("id", Duration::ZERO).whole();
            let answer = missing.complete(host(&call), &At(now))?;
            world.keep(&answer.store);
            answer.reply
        }
    };
    Ok(reply.finish(&Exchange::of(&head, "https://a.example")))
}

fn get(world: &mut World, head: &str, now: UnixSeconds) -> Reply {
    ask(
        world,
        &format!("GET /v1/embeddings?model=m&input=1{head}"),
        "",
        now,
    )
    .unwrap()
}

fn after(seconds: u64) -> UnixSeconds {
    UnixSeconds(NOW.0 + seconds)
}

#[test]
fn every_method_finds_what_another_one_stored() {
    let mut world = World::default();
    let posted = ask(&mut world, "POST /v1/embeddings", BODY, NOW).unwrap();
    assert_eq!(
        (posted.header("etag"), posted.header("cache-control")),
        (None, None)
    );
    let query = "QUERY /v1/embeddings\ncontent-type: application/json; charset=utf-8";
    let asked = ask(&mut world, query, BODY, NOW).unwrap();
    let got = get(&mut world, "", NOW);
    for reply in [&asked, &got] {
        assert_eq!(reply.header("brink-items"), Some("hit=1"));
        assert_eq!(reply.body, posted.body);
    }
    assert_eq!(asked.header("etag"), got.header("etag"));
}

#[test]
fn a_client_that_has_the_answer_gets_304() {
    let mut world = World::default();
    let first = get(&mut world, "", NOW);
    let tag = first.header("etag").unwrap().to_owned();
    assert!(tag.starts_with("W/\""));
    for given in [tag.clone(), format!("\"x\", {tag}"), "*".to_owned()] {
        let reply = get(&mut world, &format!("\nif-none-match: {given}"), after(9));
        assert_eq!(reply.status, StatusCode::NOT_MODIFIED, "{given}");
        assert!(reply.body.is_empty());
        assert_eq!(reply.header("content-length"), None);
        // RFC 9110 §15.4.5: the fields that would update what the client has.
        assert_eq!(reply.header("etag"), Some(tag.as_str()));
        assert_eq!(reply.header("vary"), Some("authorization, origin"));
        assert_eq!(reply.header("cache-control"), Some("private, max-age=69"));
        assert_eq!(reply.header("age"), Some("9"));
    }
    let reply = get(&mut world, "\nif-none-match: \"other\"", NOW);
    assert_eq!(reply.status, StatusCode::OK);

    let post = format!("POST /v1/embeddings\nif-none-match: {tag}");
    let reply = ask(&mut world, &post, BODY, NOW).unwrap();
    assert_eq!(reply.status, StatusCode::OK, "it means nothing for POST");
}

#[test]
fn a_result_that_is_computed_anew_has_another_tag_and_another_form_too() {
    let mut world = World::default();
    let tag = |reply: &Reply| reply.header("etag").unwrap().to_owned();
    let first = tag(&get(&mut world, "", NOW));
    let other_form = ask(
        &mut world,
        "GET /v1/embeddings?model=m&input=1&encoding_format=base64",
        "",
        NOW,
    );
    assert_ne!(tag(&other_form.unwrap()), first);
    let shorter = ask(
        &mut world,
        "GET /v1/embeddings?model=m&input=1&dimensions=1",
        "",
        NOW,
    );
    assert_ne!(tag(&shorter.unwrap()), first);
    assert_ne!(tag(&get(&mut world, "", after(100))), first);
}

#[test]
fn lifetimes_are_told_to_others_as_the_policy_has_them() {
    let mut world = World::under(
        "fresh = \"100s\"\nstale_while_revalidate = \"20s\"\nstale_if_error = \"30s\"\nscope = \"public\"\nsurrogate_keys = [\"model:{model}\", \"a\"]",
    );
    let first = get(&mut world, "", NOW);
    let bounded = "public, max-age=60, stale-while-revalidate=20, stale-if-error=30";
    assert_eq!(
        first.header("cache-control"),
        Some(bounded),
        "by the deployment"
    );
    let reply = get(&mut world, "", after(60));
    let lifetimes = "max-age=100, stale-while-revalidate=20, stale-if-error=30";
    assert_eq!(reply.header("age"), Some("60"));
    assert_eq!(
        reply.header("cache-control"),
        Some(format!("public, {lifetimes}").as_str())
    );
    assert_eq!(reply.header("cdn-cache-control"), Some(lifetimes));
    assert_eq!(reply.header("vary"), Some("origin"));
    assert_eq!(reply.header("cache-groups"), Some("\"model:m\", \"a\""));

    let mut world = World::under("store = false\nreason = \"test\"");
    let reply = get(&mut world, "", NOW);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
}

#[test]
fn a_query_says_what_its_content_is() {
    let mut world = World::default();
    let mut status = |head: &str| {
        ask(&mut world, head, BODY, NOW)
            .unwrap_err()
            .status
            .as_u16()
    };
    assert_eq!(status("QUERY /v1/embeddings"), 400);
    assert_eq!(
        status("QUERY /v1/embeddings\ncontent-type: text/plain"),
        415
    );
}

#[test]
fn head_has_the_length_of_the_body_it_lacks() {
    let mut world = World::default();
    let got = get(&mut world, "", NOW);
    let head = ask(&mut world, "HEAD /v1/embeddings?model=m&input=1", "", NOW).unwrap();
    assert!(head.body.is_empty());
    assert_eq!(head.header("content-length"), got.header("content-length"));
    assert_eq!(head.header("etag"), got.header("etag"));
}

#[test]
fn a_long_text_is_found_by_its_digest_and_nothing_is_computed_for_one_that_is_not_stored() {
    let mut world = World::default();
    let long = "7 ".repeat(600);
    let digest = |text: &str| blake3::hash(text.as_bytes()).to_hex();
    let by_digest = |text: &str| {
        let digest = digest(text);
        format!("GET /v1/embeddings?model=m&input_blake3={digest}")
    };
    let error = ask(&mut world, &by_digest(&long), "", NOW).unwrap_err();
    assert_eq!(
        (error.status.as_u16(), error.code),
        (404, "input_not_stored")
    );
    assert_eq!(error.param.as_deref(), Some("input[0]"));

    let body = serde_json::json!({"model": "m", "input": long}).to_string();
    let posted = ask(&mut world, "POST /v1/embeddings", &body, NOW).unwrap();
    let got = ask(&mut world, &by_digest(&long), "", NOW).unwrap();
    assert_eq!(got.header("brink-items"), Some("hit=1"));
    assert_eq!(got.body, posted.body);
    assert!(got.header("etag").is_some() && got.header("cache-control").is_some());

    // Whatever else is asked for with it: a text that is not there cannot be computed.
    let mixed = format!(
        "{}&input=2",
        by_digest("another text of which only this is known")
    );
    let error = ask(&mut world, &mixed, "", NOW).unwrap_err();
    assert_eq!(error.code, "input_not_stored");
}
