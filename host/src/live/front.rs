//! Parts requests for sockets from all others.

use std::net::SocketAddr;

use axum::body::Body;
use http::{Request, Response};

use super::door::{Door, Live};
use crate::server::{Answer, Observed, Observer, RequestBody, WEBSOCKET_PATH};

/// Everything that a listener answers: requests, and requests for sockets, whose requests are answered alike.
#[derive(Clone)]
pub struct Front<A> {
    answering: A,
    door: Option<Observed<Door<A>>>,
}

impl<A: Answer> Front<A> {
    /// Where `answering` answers all requests, those of sockets included, and observes them itself.
    pub fn new(answering: A, live: Live, observer: Observer) -> Self {
        let door = live.is_enabled().then(|| {
            let door = Door {
                live,
                answering: answering.clone(),
            };
            Observed::new(door, observer)
        });
        Self { answering, door }
    }
}

impl<A: Answer> Answer for Front<A> {
    async fn answer<B: RequestBody>(
        &self,
        request: Request<B>,
        client: SocketAddr,
    ) -> Response<Body> {
        match &self.door {
            Some(door) if request.uri().path() == WEBSOCKET_PATH => {
                // On the heap: few requests come here, and all others would carry the room for it.
                Box::pin(door.answer(request, client)).await
            }
            _ => self.answering.answer(request, client).await,
        }
    }
}
