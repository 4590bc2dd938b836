//! The host's calls over HTTP: what [`brink_protocol`] describes, and nothing else.
//!
//! A handler only translates: body in, service call, answer out. The same router serves a socket
//! and calls from the components in this process.

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Extension, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use brink_protocol::limits::MAX_MESSAGE_BYTES;
use brink_protocol::{
    CATALOG_PATH, Fault, FaultCode, GENERATE_PATH, INFER_PATH, InferReply, InferRequest,
    MEDIA_TYPE, STREAM_PATH, TOKENIZE_PATH, TokenizeReply, message,
};
use serde::Serialize;

mod generate;

use crate::service::InferService;
use crate::telemetry::{SpanKind, Trace};

/// The routes of the protocol.
pub fn router(service: InferService) -> Router {
    Router::new()
        .route(CATALOG_PATH, get(catalog))
        .route(INFER_PATH, post(infer))
        .route(TOKENIZE_PATH, post(tokenize))
        .route(GENERATE_PATH, post(generate::generate))
        .route(STREAM_PATH, post(generate::kept))
        .layer(DefaultBodyLimit::max(MAX_MESSAGE_BYTES))
        .with_state(service)
}

/// `GET /brink/v1/catalog`: which models there are.
async fn catalog(State(service): State<InferService>) -> Response {
    respond(StatusCode::OK, &service.catalog())
}

/// `POST /brink/v1/infer`: the results of a call's inputs.
async fn infer(
    State(service): State<InferService>,
    trace: Option<Extension<Trace>>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let trace = trace.map(|Extension(trace)| trace);
    let body = match body {
        Ok(body) => body,
        // The body is too large, too slow or cut off; the rejection knows the status.
        Err(rejection) => return refuse(rejection.status(), bad_request(rejection.body_text())),
    };
    let reply: InferReply = match message::decode(&body) {
        Ok(request) => traced(&service, request, trace).await,
        Err(error) => Err(bad_request(error.to_string())),
    };
    match reply {
        Ok(_) => respond(StatusCode::OK, &reply),
        Err(fault) => {
            let status = StatusCode::from_u16(fault.code.status());
            refuse(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), fault)
        }
    }
}

/// `POST /brink/v1/tokenize`: the tokens of some texts.
async fn tokenize(
    State(service): State<InferService>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => {
            let reply = Err(bad_request(rejection.body_text()));
            return respond::<TokenizeReply>(rejection.status(), &reply);
        }
    };
    let reply: TokenizeReply = match message::decode(&body) {
        Ok(request) => service.tokenize(request).await,
        Err(error) => Err(bad_request(error.to_string())),
    };
    let status = match &reply {
        Ok(_) => StatusCode::OK,
        Err(fault) => {
            StatusCode::from_u16(fault.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
        }
    };
    respond(status, &reply)
}

/// The service's answer, as a span of the caller's trace if that is recorded. The server has put the trace into the
/// request's extensions, and the component's way out has where the call stays in this process.
async fn traced(service: &InferService, request: InferRequest, trace: Option<Trace>) -> InferReply {
    let span = trace
        .as_ref()
        .and_then(|trace| trace.span("infer", SpanKind::Internal));
    let Some(mut span) = span else {
        return service.infer(request).await;
    };
    let model = request.model.clone();
    let reply = service.infer_under(request, Some(span.trace())).await;
    match &reply {
        Ok(answer) => {
            // Only now it is one of ours.
            span.set("brink.model", model);
            span.set_items(&answer.items.iter().map(|item| item.outcome).collect());
        }
        Err(fault) => span.fail(fault.code.name()),
    }
    span.end();
    reply
}

fn bad_request(message: String) -> Fault {
    Fault {
        code: FaultCode::BadRequest,
        message,
        item: None,
        retry_after_ms: None,
    }
}

fn refuse(status: StatusCode, fault: Fault) -> Response {
    let retry_after_ms = fault.retry_after_ms;
    let mut response = respond(status, &InferReply::Err(fault));
    tell_when(response.headers_mut(), retry_after_ms);
    response
}

/// The header has whole seconds (RFC 9110 §10.2.3): rounded up, nobody comes back too early.
fn tell_when(headers: &mut HeaderMap, retry_after_ms: Option<u32>) {
    if let Some(ms) = retry_after_ms {
        let seconds = u64::from(ms).div_ceil(1000);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
}

fn respond<T: Serialize>(status: StatusCode, answer: &T) -> Response {
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE))];
    (status, content_type, message::encode(answer)).into_response()
}

#[cfg(test)]
mod tests;
