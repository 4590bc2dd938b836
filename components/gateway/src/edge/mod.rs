//! The component's only door to the world: it reads bodies, opens the store and calls the
//! host. Every rule is elsewhere in this crate.

mod body;
mod catalog;
mod embed;
mod settings;
mod store;
mod upstream;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use brink_cache::UnixSeconds;
use bytes::Bytes;
use http::Method;
use http::header::ORIGIN;
use http::request::Parts;
use http_body_util::Full;
use spin_sdk::http::{IntoResponse, Request};
use spin_sdk::http_service;

use crate::error::ApiError;
use crate::reply::Reply;
use crate::route::Route;
use crate::{cors, models, request_id};
use settings::Settings;
use store::EdgeStore;

/// What an instance keeps between requests. Nothing here belongs to one client.
struct Edge {
    settings: Settings,
    store: EdgeStore,
    catalog: RefCell<catalog::Kept>,
}

#[http_service]
async fn gateway(request: Request) -> impl IntoResponse {
    let (parts, body) = request.into_parts();
    let id = request_id::of(&parts.headers);
    let origin = parts.headers.get(ORIGIN).cloned();
    let head = parts.method == Method::HEAD;

    let edge = Edge::of_this_instance().await;
    let allowed = edge
        .as_ref()
        .map_or("*", |edge| edge.settings.cors_allow_origin.as_str());
    let allow_origin = cors::allow_origin(allowed, origin.as_ref());
    let reply = match &edge {
        Ok(edge) => answer(edge.clone(), &parts, body, &id).await,
        Err(error) => Err(error.clone()),
    };
    let mut reply = reply.unwrap_or_else(Reply::from);
    if head {
        reply = reply.without_body();
    }
    into_response(reply.finish(&id, allow_origin.as_ref()))
}

async fn answer(
    edge: Rc<Edge>,
    head: &Parts,
    body: body::Incoming,
    id: &str,
) -> Result<Reply, ApiError> {
    match Route::find(&head.method, head.uri.path())? {
        Route::Preflight => Ok(cors::preflight(&head.headers)),
        Route::Models => Ok(models::list(&*edge.catalog().await?)),
        Route::Model(name) => models::get(&*edge.catalog().await?, &name),
        Route::Embeddings => embed::answer(edge, head, body, id).await,
    }
}

impl Edge {
    /// Opened once per instance: a store handle costs a round trip on some stores, and every
    /// variable is a call into the host.
    async fn of_this_instance() -> Result<Rc<Self>, ApiError> {
        thread_local!(static EDGE: RefCell<Option<Rc<Edge>>> = const { RefCell::new(None) });
        if let Some(edge) = EDGE.with_borrow(Clone::clone) {
            return Ok(edge);
        }
        let edge = Rc::new(Self {
            settings: Settings::read().await?,
            store: EdgeStore::open().await,
            catalog: RefCell::default(),
        });
        // An instance whose store did not open tries again with its next request.
        if edge.store.is_open() {
            EDGE.set(Some(edge.clone()));
        }
        Ok(edge)
    }
}

fn into_response(reply: Reply) -> http::Response<Full<Bytes>> {
    let mut response = http::Response::new(Full::new(reply.body));
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response
}

#[expect(
    clippy::disallowed_methods,
    reason = "the edge of the program: the one place that reads the wall clock"
)]
fn now() -> UnixSeconds {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    UnixSeconds(since_epoch.unwrap_or_default().as_secs())
}

/// Measures for `Server-Timing`.
struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(
        clippy::disallowed_methods,
        reason = "the edge of the program: the one place that reads the monotonic clock"
    )]
    fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the last lap or the start.
    fn lap(&mut self) -> Duration {
        let start = std::mem::replace(self, Self::start());
        self.0.duration_since(start.0)
    }
}
