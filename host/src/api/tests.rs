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

mod generation {
    use brink_protocol::generate::frame::FrameReader;
    use brink_protocol::generate::{GenerateEvent, GenerateRequest, Prompt, Sampling};
    use brink_protocol::{GENERATE_PATH, GenerateEvent as Event};

    use super::*;
    use crate::testing::{WRITER, writer_service};

    fn ask() -> GenerateRequest {
        GenerateRequest {
            request_id: "r".to_owned(),
            tenant: "default".to_owned(),
            urgency: 3,
            model: WRITER.to_owned(),
            digest: crate::testing::DIGEST,
            timeout_ms: 60_000,
            share: None,
            sharing: None,
            keep: false,
            heartbeat_ms: 0,
            prompt: Prompt::Tokens(vec![4, 5, 6]),
            sampling: Sampling {
                max_tokens: Some(5),
                seed: Some(1),
                ..Sampling::default()
            },
        }
    }

    async fn call(body: Vec<u8>) -> (Response<()>, Vec<Event>) {
        let router = router(writer_service());
        let (response, body) = send(router, Method::POST, GENERATE_PATH, body).await;
        assert_eq!(response.headers()[header::CONTENT_TYPE], MEDIA_TYPE);
        let mut reader = FrameReader::default();
        reader.push(&body);
        let mut events = Vec::new();
        while let Some(event) = reader.next_event().expect("frames") {
            events.push(event);
        }
        assert!(reader.is_at_end());
        (response, events)
    }

    #[tokio::test]
    async fn text_is_streamed_to_its_end() {
        let (response, events) = call(message::encode(&ask())).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(matches!(
            events.first(),
            Some(GenerateEvent::Started {
                prompt_tokens: 3,
                ..
            })
        ));
        let Some(GenerateEvent::Finished { usage, .. }) = events.last() else {
            panic!("{events:?}")
        };
        assert!((1..=5).contains(&usage.completion_tokens));
    }

    #[tokio::test]
    async fn call_that_cannot_begin_has_its_status_and_one_frame() {
        let check = |request: GenerateRequest, status: StatusCode, code: FaultCode| async move {
            let (response, events) = call(message::encode(&request)).await;
            assert_eq!(response.status(), status);
            let [GenerateEvent::Failed(fault)] = &events[..] else {
                panic!("{events:?}")
            };
            assert_eq!(fault.code, code);
        };
        let other = GenerateRequest {
            model: "other".to_owned(),
            ..ask()
        };
        check(other, StatusCode::NOT_FOUND, FaultCode::UnknownModel).await;
        let hot = GenerateRequest {
            sampling: Sampling {
                temperature: 9.0,
                ..Sampling::default()
            },
            ..ask()
        };
        check(hot, StatusCode::BAD_REQUEST, FaultCode::BadRequest).await;
        let messages = GenerateRequest {
            prompt: Prompt::Messages(vec![brink_protocol::generate::Message {
                role: brink_protocol::generate::Role::User,
                content: "w1".to_owned(),
            }]),
            ..ask()
        };
        check(messages, StatusCode::BAD_REQUEST, FaultCode::BadRequest).await;
        let (response, events) = call(b"no message".to_vec()).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(events.len(), 1);
    }

    #[tokio::test]
    async fn models_are_asked_only_for_what_they_do() {
        let service = writer_service();
        let results = brink_protocol::InferRequest {
            model: WRITER.to_owned(),
            task: brink_cache::key::Task::Generate,
            ..request(["w1"])
        };
        let fault = service
            .infer(results)
            .await
            .expect_err("it gives no results");
        assert_eq!(fault.code, FaultCode::BadRequest);

        let harness = Harness::new(Options::default());
        let text = GenerateRequest {
            model: MODEL.to_owned(),
            ..ask()
        };
        let fault = harness
            .service
            .generate(text)
            .await
            .expect_err("it writes no text");
        assert!(
            fault.message.contains("writes no text"),
            "{}",
            fault.message
        );
    }

    #[tokio::test]
    async fn reader_that_goes_away_is_not_waited_for_at_the_end() {
        let service = writer_service();
        let endless = GenerateRequest {
            prompt: Prompt::Tokens(vec![crate::generate::ENDLESS, 4]),
            sampling: Sampling::default(),
            ..ask()
        };
        let mut stream = service.generate(endless).await.expect("room");
        assert!(stream.next().await.is_some());
        drop(stream);
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(600);
        service.shutdown(deadline).await;
        assert!(tokio::time::Instant::now() < deadline);
    }
}
