//! Answers from an axum router: the inference API and the admin pages.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use tower::ServiceExt;

use super::connection::{Answer, RequestBody};

/// A router behind a listener.
#[derive(Clone)]
pub struct Routes(pub Router);

impl Answer for Routes {
    async fn answer<B: RequestBody>(
        &self,
        request: Request<B>,
        _client: SocketAddr,
    ) -> Response<Body> {
        let answered = self.0.clone().oneshot(request.map(Body::new)).await;
        answered.unwrap_or_else(|never| match never {})
    }
}
