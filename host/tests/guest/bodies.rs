//! Limits of request bodies: the host's answer, not the guest's.

use std::time::Duration;

use brink_host::guest::{BodyFault, BodyLimits, GuestConfig, GuestError};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;

use crate::support::{Host, Setup, chunks, count, read, send_chunk};

const LIMITS: BodyLimits = BodyLimits {
    max_bytes: 200 << 10,
    idle_timeout: Duration::from_millis(200),
    total_timeout: Duration::from_secs(60),
};

async fn host() -> Host {
    let mut setup = Setup::default();
    setup.config = GuestConfig {
        request_body: LIMITS,
        ..setup.config
    };
    setup.build().await
}

fn post<B>(body: B) -> Request<B> {
    Request::post("/length").body(body).unwrap()
}

#[tokio::test]
async fn a_body_up_to_the_limit_reaches_the_guest() {
    let host = host().await;
    for size in [0, 1, 64 << 10, 200 << 10] {
        let body = Full::new(Bytes::from(vec![b'x'; size]));
        let (status, text) = read(host.send(post(body)).await.unwrap()).await;
        assert_eq!((status, text), (StatusCode::OK, size.to_string()));
    }
}

#[tokio::test]
async fn a_body_that_announces_too_much_is_refused_without_an_instance() {
    let host = host().await;
    let body = Full::new(Bytes::from(vec![b'x'; (200 << 10) + 1]));
    let error = host.send(post(body)).await.err().unwrap();
    assert_eq!(error.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(count(&host.stats().requests), 0);
}

#[tokio::test]
async fn a_body_that_turns_out_too_large_is_refused_in_place_of_the_guests_error() {
    let host = host().await;
    let (sender, body) = chunks();
    let feed = async {
        for _ in 0..5 {
            send_chunk(&sender, &[b'x'; 50 << 10]).await;
        }
        // Keeps the body open: only the limit can end it.
        std::future::pending::<()>().await
    };
    let result =
        tokio::select! { result = host.send(post(body)) => result, () = feed => unreachable!() };
    let error = result.err().unwrap();
    assert!(
        matches!(error, GuestError::Body(BodyFault::TooLarge { .. })),
        "{error:?}"
    );
    host.settle().await;
}

#[tokio::test]
async fn a_slow_small_body_times_out_and_never_holds_an_instance() {
    let host = host().await;
    let (sender, body) = chunks();
    send_chunk(&sender, b"slow").await;
    let error = host.send(post(body)).await.err().unwrap();
    assert_eq!(error.status(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(count(&host.stats().requests), 0);
}

#[tokio::test]
async fn a_slow_large_body_times_out_too() {
    let host = host().await;
    let (sender, body) = chunks();
    send_chunk(&sender, &[b'x'; 100 << 10]).await;
    let error = host.send(post(body)).await.err().unwrap();
    assert_eq!(error.status(), StatusCode::REQUEST_TIMEOUT);
    host.settle().await;
    host.says_hello().await;
}
