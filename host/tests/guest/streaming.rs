//! Bodies pass through guests without being gathered.

use std::{convert::Infallible, sync::Mutex};

use brink_host::guest::LocalUpstream;
use http::{Request, Response};

use crate::support::{Setup, chunks, next_chunk, send_chunk};

#[tokio::test]
async fn events_arrive_before_the_upstream_sends_the_next_one() {
    let (sender, body) = chunks();
    let body = std::sync::Arc::new(Mutex::new(Some(body)));
    let feed = tower::service_fn(move |_| {
        let body = body.lock().unwrap().take().expect("asked once");
        let response = Response::builder().header("content-type", "text/event-stream");
        std::future::ready(Ok::<_, Infallible>(response.body(body).unwrap()))
    });
    let setup = Setup {
        component: "allowed_outbound_hosts = ['http://feed.internal']",
        upstreams: vec![LocalUpstream::new("feed.internal", feed)],
        ..Setup::default()
    };
    let host = setup.build().await;
    let response = host
        .call("/stream?url=http://feed.internal/")
        .await
        .unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        send_chunk(&sender, event.as_bytes()).await;
        assert_eq!(next_chunk(&mut body).await.unwrap().unwrap(), event);
    }
    drop(sender);
    assert!(next_chunk(&mut body).await.is_none());
    drop(body);
    host.settle().await;
}

#[tokio::test]
async fn a_large_body_is_echoed_while_it_is_sent() {
    let host = Setup::default().build().await;
    let (sender, body) = chunks();
    let request = Request::post("/echo").body(body).unwrap();
    let first = vec![b'a'; 64 << 10];
    send_chunk(&sender, &first).await;
    let mut body = host.send(request).await.unwrap().into_body();
    let mut received = 0;
    while received < first.len() {
        received += next_chunk(&mut body).await.unwrap().unwrap().len();
    }
    send_chunk(&sender, b"second").await;
    assert_eq!(next_chunk(&mut body).await.unwrap().unwrap(), "second");
    drop(sender);
    assert!(next_chunk(&mut body).await.is_none());
}
