//! Runs against an edge that is a few lines of this file.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Barrier, Mutex};

use super::*;

/// Answers when as many requests as the barrier wants have come, and keeps them.
#[derive(Clone)]
struct Scene {
    barrier: Arc<Barrier>,
    inside: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<(Value, HeaderMap)>>>,
}

impl Scene {
    fn new(together: usize) -> Self {
        Self {
            barrier: Arc::new(Barrier::new(together)),
            inside: Arc::default(),
            seen: Arc::default(),
        }
    }

    /// The URL of the edge.
    async fn start(&self) -> String {
        let router = Router::new().route("/v1/embeddings", post(answer));
        let router = router.with_state(self.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async { axum::serve(listener, router).await });
        format!("http://{address}")
    }
}

async fn answer(State(scene): State<Scene>, headers: HeaderMap, body: String) -> Response {
    let inside = scene.inside.fetch_add(1, Ordering::SeqCst) + 1;
    scene.barrier.wait().await;
    scene.inside.fetch_sub(1, Ordering::SeqCst);
    let body: Value = serde_json::from_str(&body).unwrap();
    let refused = body["input"] == "refuse this";
    scene.seen.lock().await.push((body, headers));
    if refused {
        return StatusCode::BAD_REQUEST.into_response();
    }
    ([("brink-items", format!("miss={inside}"))], "{}").into_response()
}

fn options(concurrency: usize) -> Options {
    Options {
        model: Some("new".to_owned()),
        concurrency: NonZeroUsize::new(concurrency).unwrap(),
        progress_every: Duration::from_secs(3600),
    }
}

fn list(text: String) -> List {
    List::new(std::io::Cursor::new(text))
}

#[tokio::test]
async fn as_many_requests_as_allowed_are_under_way_and_no_more() {
    const TOGETHER: usize = 3;
    let scene = Scene::new(TOGETHER);
    let edge = Edge::new(&scene.start().await, Some("sk-1")).unwrap();
    let lines: String = (0..30)
        .map(|number| format!("{{\"input\": \"text {number}\", \"model\": \"old\"}}\n"))
        .collect();
    let tally = run(list(lines), &edge, options(TOGETHER), &mut |told| {
        panic!("{told}")
    })
    .await;
    assert_eq!((tally.answered, tally.failures()), (30, 0));
    let seen = scene.seen.lock().await;
    let texts: std::collections::BTreeSet<_> = seen
        .iter()
        .map(|(body, headers)| {
            assert_eq!(body["model"], "new");
            assert_eq!(headers[AUTHORIZATION], "Bearer sk-1");
            assert_eq!(headers[CONTENT_TYPE], "application/json");
            body["input"].as_str().unwrap()
        })
        .collect();
    assert_eq!(texts.len(), 30, "each line is sent once");
}

#[tokio::test]
async fn lines_that_fail_are_told_and_the_rest_goes_on() {
    let scene = Scene::new(1);
    let edge = Edge::new(&scene.start().await, None).unwrap();
    let lines = [
        "{\"input\": \"refuse this\"}",
        "no JSON",
        "{\"input\": \"a\"}",
    ]
    .join("\n");
    let mut told = Vec::new();
    let tally = run(list(lines), &edge, options(1), &mut |line| told.push(line)).await;
    assert_eq!((tally.answered, tally.failed, tally.mistakes), (1, 1, 1));
    told.sort();
    assert_eq!(
        told,
        [
            "line 1 failed: 400 Bad Request: without a message",
            "line 2 is no request: it is no JSON at column 2, or a member occurs twice",
        ]
    );
}

#[tokio::test]
async fn an_edge_that_is_gone_fails_every_line_and_says_why() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let edge = Edge::new(&format!("http://{address}"), None).unwrap();
    let mut told = Vec::new();
    let lines = list("{}\n{}".to_owned());
    let tally = run(lines, &edge, options(4), &mut |line| told.push(line)).await;
    assert_eq!((tally.answered, tally.failed), (0, 2));
    assert!(told[0].contains("Connection refused"), "{told:?}");
}
