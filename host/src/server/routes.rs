//! Answers from an axum router: the inference API and the admin pages.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use tower::ServiceExt;

use super::connection::Answer;

/// A router behind a listener.
#[derive(Clone)]
pub struct Routes(pub Router);

impl Answer for Routes {
    async fn answer(&self, request: Request<Incoming>, _client: SocketAddr) -> Response<Body> {
        let answered = self.0.clone().oneshot(request.map(Body::new)).await;
        answered.unwrap_or_else(|never| match never {})
    }
}
