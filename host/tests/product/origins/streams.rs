//! Bodies pass as they come: nothing waits for the end.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::site::{Front, answer};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn pieces_of_an_answer_pass_before_the_next_ones_exist() {
    let front = Front::embedded().await;
    // Stored or not, and also where JSON was POSTed.
    for (number, (method, lines)) in [
        ("GET", "content-type: text/event-stream"),
        ("GET", "cache-control: max-age=60"),
        ("POST", "content-type: text/event-stream"),
    ]
    .into_iter()
    .enumerate()
    {
        let site = front.json(number, "complete");
        let (pieces, mut arriving) = mpsc::unbounded_channel::<&'static str>();
        let stream = futures_util::stream::poll_fn(move |cx| {
            let piece = arriving.poll_recv(cx);
            piece.map(|piece| piece.map(|piece| Ok::<_, Infallible>(Bytes::from(piece))))
        });
        site.origin(answer(200, lines, Body::from_stream(stream)));
        let body = r#"{"messages": [], "stream": true}"#;
        let request = Request::builder().method(method).uri(&site.path);
        let body = if method == "GET" { "" } else { body };
        let request = request.body(Bytes::from(body)).unwrap();
        pieces.send("data: 1\n\n").unwrap();
        let mut response = timeout(PATIENCE, front.open(request)).await.unwrap();
        assert_eq!(response.status(), 200);
        for (piece, next) in [
            ("data: 1\n\n", "data: 2\n\n"),
            ("data: 2\n\n", "data: 3\n\n"),
        ] {
            let frame = timeout(PATIENCE, response.frame()).await.unwrap();
            let data = frame.unwrap().unwrap().into_data().unwrap();
            assert_eq!(data, piece);
            // Only now does it exist.
            pieces.send(next).unwrap();
        }
        drop(pieces);
        let rest = timeout(PATIENCE, response.collect()).await.unwrap();
        assert_eq!(rest.unwrap().to_bytes(), "data: 3\n\n");
    }
}
