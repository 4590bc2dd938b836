//! The protocol over HTTP.

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use brink_protocol::Catalog;
use tower::ServiceExt;

use super::*;
use crate::testing::{Harness, MODEL, Options, request, vector};

async fn send(
    router: Router,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> (Response<()>, Vec<u8>) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(Body::from(body));
    let response = router
        .oneshot(request.expect("a request"))
        .await
        .expect("never fails");
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.expect("a whole body");
    (Response::from_parts(parts, ()), body.to_vec())
}

type Response<T> = axum::http::Response<T>;

async fn embed(body: Vec<u8>) -> (Response<()>, InferReply) {
    let harness = Harness::new(Options::default());
    let (response, body) = send(
        router(harness.service.clone()),
        Method::POST,
        INFER_PATH,
        body,
    )
    .await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], MEDIA_TYPE);
    (response, message::decode(&body).expect("a reply"))
}

#[tokio::test]
async fn catalogue_lists_the_models() {
    let harness = Harness::new(Options::default());
    let (response, body) = send(
        router(harness.service.clone()),
        Method::GET,
        CATALOG_PATH,
        vec![],
    )
    .await;
    assert_eq!(response.status(), StatusCode::OK);
    let catalog: Catalog = message::decode(&body).expect("a catalogue");
    assert!(catalog.find(MODEL).is_some());
}

#[tokio::test]
async fn answers_and_faults_have_their_statuses() {
    let (response, reply) = embed(message::encode(&request(["w1"]))).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(reply.expect("an answer").items[0].output, vector("w1"));

    let (response, reply) = embed(b"no message".to_vec()).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(reply.expect_err("a fault").code, FaultCode::BadRequest);

    let other = brink_protocol::InferRequest {
        model: "other".to_owned(),
        ..request(["w1"])
    };
    let (response, _) = embed(message::encode(&other)).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn body_above_the_limit_is_refused_as_such() {
    let (response, reply) = embed(vec![0; MAX_MESSAGE_BYTES + 1]).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(reply.expect_err("a fault").code, FaultCode::BadRequest);
}

#[test]
fn time_to_come_back_is_rounded_up_to_seconds() {
    let fault = Fault {
        code: FaultCode::Overloaded,
        message: String::new(),
        item: None,
        retry_after_ms: Some(1_001),
    };
    let response = refuse(StatusCode::SERVICE_UNAVAILABLE, fault);
    assert_eq!(response.headers()[header::RETRY_AFTER], "2");
}
