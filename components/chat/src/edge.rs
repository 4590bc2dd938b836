//! The component.

use bytes::Bytes;
use spin_sdk::http::{FullBody, IntoResponse, Request};
use spin_sdk::http_service;

#[http_service]
async fn chat(request: Request) -> impl IntoResponse {
    let response = crate::answer(request.method(), request.uri().path(), request.headers());
    response.map(|body| FullBody::new(Bytes::from(body)))
}
