//! `POST /brink/v1/generate`: a text, frame by frame while it is written.
//!
//! A call that cannot begin is answered with its status and one frame. One that fails later has begun with
//! 200; its last frame says so. When the connection goes away, the body is dropped, and the text given up.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use brink_protocol::generate::{GenerateEvent, frame};
use brink_protocol::{Fault, MEDIA_TYPE, message};
use futures_util::stream;

use super::{bad_request, tell_when};
use crate::service::{GenerateStream, InferService};

pub(super) async fn generate(
    State(service): State<InferService>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return refuse(rejection.status(), bad_request(rejection.body_text())),
    };
    let begun = match message::decode(&body) {
        Ok(request) => service.generate(request).await,
        Err(error) => Err(bad_request(error.to_string())),
    };
    match begun {
        Ok(stream) => respond(StatusCode::OK, Body::from_stream(frames(stream))),
        Err(fault) => refused(fault),
    }
}

/// `POST /brink/v1/stream`: goes on with a text that is kept, or gives it up.
pub(super) async fn kept(
    State(service): State<InferService>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return refuse(rejection.status(), bad_request(rejection.body_text())),
    };
    let told = match message::decode(&body) {
        Ok(request) => service.read_kept(request),
        Err(error) => Err(bad_request(error.to_string())),
    };
    match told {
        Ok(Some(stream)) => respond(StatusCode::OK, Body::from_stream(frames(stream))),
        Ok(None) => respond(StatusCode::OK, Body::empty()),
        Err(fault) => refused(fault),
    }
}

/// Each event is sent at once; what happened while the connection was full is one event.
fn frames(stream: GenerateStream) -> impl stream::Stream<Item = Result<Bytes, std::io::Error>> {
    stream::unfold(stream, |mut stream| async move {
        let event = stream.next().await?;
        Some((Ok(Bytes::from(frame::encode(&event))), stream))
    })
}

fn refused(fault: Fault) -> Response {
    let status = StatusCode::from_u16(fault.code.status());
    refuse(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), fault)
}

fn refuse(status: StatusCode, fault: Fault) -> Response {
    let retry_after_ms = fault.retry_after_ms;
    let frame = frame::encode(&GenerateEvent::Failed(fault));
    let mut response = respond(status, Body::from(frame));
    tell_when(response.headers_mut(), retry_after_ms);
    response
}

fn respond(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let media_type = HeaderValue::from_static(MEDIA_TYPE);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, media_type);
    response
}
