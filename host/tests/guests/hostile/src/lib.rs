//! A component that misbehaves on request: the host's tests prove with it that a
//! guest harms nobody else. Each route is one behaviour; arguments come in the query.
#![cfg(target_family = "wasm")]

mod behaviour;
mod door;

use spin_sdk::{
    http::{BoxBody, FullBody, IntoResponse, Request, Response, box_body},
    http_service,
};

#[http_service]
async fn serve(request: Request) -> impl IntoResponse {
    let path = request.uri().path().to_owned();
    let query = Query(request.uri().query().unwrap_or_default().to_owned());
    let answer = match path.as_str() {
        "/hello" => Ok(text("hello")),
        "/loop" => behaviour::loop_forever(),
        "/hog" => behaviour::hog_memory(),
        "/trap" => panic!("trap on request"),
        "/trap-after-head" => Ok(behaviour::trap_after_head(query)),
        "/loop-after-response" => Ok(behaviour::loop_after_response(query)),
        "/echo" => Ok(http::Response::new(box_body(request.into_body()))),
        "/length" => behaviour::length(request).await,
        "/headers" => Ok(behaviour::headers(&request)),
        "/kv/set" => behaviour::kv_set(&query).await,
        "/kv/get" => behaviour::kv_get(&query).await,
        "/var" => behaviour::variable(&query).await,
        "/file" => behaviour::file(&query),
        "/outbound" | "/stream" => behaviour::outbound(&query).await,
        "/background" => Ok(behaviour::background(query)),
        _ if path.starts_with("/door/") => Ok(text("http")),
        _ => Ok(with_status(404, "no such behaviour")),
    };
    answer.unwrap_or_else(|error| with_status(500, format!("{error:#}")))
}

/// A query without escapes: `a=1&b=2`. A value may hold `=`, for URLs.
struct Query(String);

impl Query {
    fn get(&self, name: &str) -> &str {
        let pairs = self.0.split('&').filter_map(|pair| pair.split_once('='));
        let value = pairs.into_iter().find(|(key, _)| *key == name);
        value.map_or("", |(_, value)| value)
    }
}

fn text(body: impl Into<bytes::Bytes>) -> Response<BoxBody> {
    with_status(200, body)
}

fn with_status(status: u16, body: impl Into<bytes::Bytes>) -> Response<BoxBody> {
    let body = body.into();
    let length = http::HeaderValue::from(body.len());
    let mut response = Response::new(box_body(FullBody::new(body)));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    response
        .headers_mut()
        .insert(http::header::CONTENT_LENGTH, length);
    response
}
