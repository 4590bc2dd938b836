//! A limit on requests in flight: beyond it, a refusal at once instead of a queue.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use brink_protocol::refusal::ErrorForm;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::{Answer, RequestBody};
use super::refusal::Refusal;

/// Answers through another answer while there is room.
#[derive(Clone)]
pub struct Limited<A> {
    inner: A,
    limit: usize,
    slots: Arc<Semaphore>,
}

impl<A> Limited<A> {
    /// At most `limit` requests at a time, each counted until its answer's last byte.
    pub fn new(inner: A, limit: usize) -> Self {
        Self {
            inner,
            limit,
            slots: Arc::new(Semaphore::new(limit)),
        }
    }
}

impl<A: Answer> Answer for Limited<A> {
    async fn answer<B: RequestBody>(
        &self,
        request: Request<B>,
        client: SocketAddr,
    ) -> Response<Body> {
        let Ok(slot) = self.slots.clone().try_acquire_owned() else {
            let form = ErrorForm::of(request.uri().path());
            return Refusal::overloaded(self.limit).into_response(form);
        };
        let response = self.inner.answer(request, client).await;
        // A complete body needs no further work of ours; only a stream keeps its place.
        if response.body().is_end_stream() || response.body().size_hint().exact().is_some() {
            return response;
        }
        response.map(|body| Body::new(Held { body, _slot: slot }))
    }
}

/// A body that keeps its request's place until it ends or is dropped.
struct Held {
    body: Body,
    _slot: OwnedSemaphorePermit,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
