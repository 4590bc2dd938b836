//! The component's only door to the world: it reads bodies, opens the store and calls the
//! host. Every rule is elsewhere in this crate.

mod bindings;
mod body;
mod catalog;
mod documents;
mod fast;
mod items;
mod origin;
mod passing;
mod settings;
mod store;
mod texts;
mod tokenize;
mod upstream;

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use brink_cache::tenant::bucket_key;
use brink_cache::{Key, UnixSeconds};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use spin_sdk::http::{IntoResponse, Request};
use spin_sdk::http_service;

use crate::destination::Destination;
use crate::error::ApiError;
use crate::head::Head;
use crate::hit::{self, Begun, Clock, Known};
use crate::in_force::InForce;
use crate::items::Prefixes;
use crate::rate::Admission;
use crate::reply::{Exchange, Reply};
use crate::route::Route;
use items::Told;
use passing::EdgeBody;
use settings::Settings;
use store::EdgeStore;

/// What an instance keeps between requests. Nothing here belongs to one client.
struct Edge {
    settings: Settings,
    store: EdgeStore,
    catalog: RefCell<catalog::Kept>,
    prefixes: Prefixes,
    in_force: RefCell<documents::Kept>,
    /// Keys of results that are being computed anew.
    refreshing: RefCell<HashSet<Key>>,
}

#[http_service]
async fn gateway(request: Request) -> impl IntoResponse {
    let (parts, body) = request.into_parts();
    let head = Head::new(
        parts.method.as_str(),
        parts.uri.path(),
        parts.uri.query(),
        &parts.headers,
    );
    let edge = Edge::of_this_instance().await;
    let allowed_origins = edge
        .as_ref()
        .map_or("*", |edge| edge.settings.cors_allow_origin.as_str());
    let exchange = Exchange::of(&head, allowed_origins);
    match edge {
        Ok(edge) => respond(edge, &head, body, &exchange).await,
        Err(error) => into_response(exchange.reply(Err(error)).finish(&exchange)),
    }
}

/// Answers a request if its tenant may ask now.
async fn respond(
    edge: Rc<Edge>,
    head: &Head<'_>,
    body: body::Incoming,
    exchange: &Exchange,
) -> http::Response<EdgeBody> {
    let in_force = edge.in_force().await;
    let destination = in_force.destination(head);
    let admission = match &destination {
        // A preflight has no tenant, and what is no route is told so for nothing.
        Err(_) | Ok(Destination::Own(Route::Preflight)) => None,
        Ok(_) => edge.admit(&in_force, head).await,
    };
    let admitted = admission.as_ref().map_or(Ok(()), Admission::check);
    let answer = match admitted.and(destination) {
        Err(error) => Err(error),
        Ok(Destination::Own(route)) => own(edge, route, head, body, &exchange.request_id).await,
        Ok(Destination::Origin(to)) => {
            match origin::answer(edge, head, body, to, &exchange.request_id).await {
                Err(error) => Err(error),
                Ok(mut response) => {
                    let told = admission.iter().flat_map(Admission::fields);
                    let cors = exchange.cors(in_force.takes_api_keys());
                    for (name, value) in told.chain(cors) {
                        add(response.headers_mut(), name, &value);
                    }
                    return response;
                }
            }
        }
    };
    let (answer, live) = match answer {
        Ok(Told::Live(head, live)) => (Ok(head), Some(live)),
        Ok(Told::Whole(reply)) => (Ok(reply), None),
        Err(error) => (Err(error), None),
    };
    let reply = exchange.reply(answer);
    let reply = match admission {
        Some(admission) => admission.tell(reply),
        None => reply,
    };
    match live {
        None => into_response(reply.finish(exchange)),
        Some(live) => {
            let response = into_response(reply.finish_head(exchange));
            response.map(|_| EdgeBody::Live(live))
        }
    }
}

/// Adds a field that an origin has not set itself; to `Vary` in any case, which is a list.
fn add(headers: &mut HeaderMap, name: &'static str, value: &str) {
    let Ok(value) = HeaderValue::from_str(value) else {
        return;
    };
    if name == "vary" {
        headers.append(name, value);
    } else {
        headers.entry(name).or_insert(value);
    }
}

/// Answers a request to a route of our own.
async fn own(
    edge: Rc<Edge>,
    route: Route,
    head: &Head<'_>,
    body: body::Incoming,
    id: &str,
) -> Result<Told, ApiError> {
    let body = match route {
        ref route if route.has_body() => {
            // Nobody without a key makes us read megabytes.
            let in_force = edge.in_force().await;
            in_force.caller(head.get("authorization"))?;
            body::read_request(body, head, edge.settings.max_body_bytes).await?
        }
        _ => Bytes::new(),
    };
    match begin(&edge, head, body).await? {
        Begun::Answered(reply) => Ok(Told::Whole(reply)),
        Begun::Pending(pending) => items::answer(edge, *pending, id).await,
        Begun::Kept(asked) => texts::resume(&edge, &asked, id).await,
        Begun::Tokenize(asked) => tokenize::answer(&edge, *asked, id).await.map(Told::Whole),
        // The models were just fetched, and another policy may have come in between.
        Begun::CatalogNeeded(_) | Begun::Unbound(_) | Begun::Origin => {
            Err(ApiError::host_unavailable(upstream::RETRY_AFTER_MS))
        }
    }
}

/// Begins with the models at hand, and fetches them only for a request that needs them.
async fn begin(edge: &Rc<Edge>, head: &Head<'_>, body: Bytes) -> Result<Begun, ApiError> {
    let at_hand = edge
        .catalog
        .borrow()
        .fresh(SystemClock.now(), &edge.settings);
    let in_force = edge.in_force().await;
    let known = |catalog| Known {
        catalog,
        prefixes: &edge.prefixes,
        in_force: &in_force,
        max_body_bytes: edge.settings.max_body_bytes,
    };
    let known_now = known(at_hand.as_ref());
    match hit::begin(head, body, known_now, &SystemClock)? {
        Begun::CatalogNeeded(body) => {
            let catalog = edge.catalog().await?;
            hit::begin(head, body, known(Some(&catalog)), &SystemClock)
        }
        Begun::Unbound(unbound) => {
            let catalog = edge.catalog().await?;
            unbound.bind(head, &catalog, known(Some(&catalog)), &SystemClock)
        }
        begun => Ok(begun),
    }
}

impl Edge {
    /// Counts the request, if its tenant's are counted.
    async fn admit(&self, in_force: &InForce, head: &Head<'_>) -> Option<Admission> {
        let caller = in_force.counted(head.get("authorization"))?;
        let key = bucket_key(&caller.name);
        let stored = self.store.get(key.clone()).await;
        let admission = Admission::decide(&caller, &stored, SystemClock::now_ms())?;
        self.store.set(key, admission.state().to_vec()).await;
        Some(admission)
    }

    /// Opened once per instance: a store handle costs a round trip on some stores, and every
    /// variable is a call into the host.
    async fn of_this_instance() -> Result<Rc<Self>, ApiError> {
        thread_local!(static EDGE: RefCell<Option<Rc<Edge>>> = const { RefCell::new(None) });
        if let Some(edge) = EDGE.with_borrow(Clone::clone) {
            return Ok(edge);
        }
        let settings = Settings::read()?;
        let edge = Rc::new(Self {
            store: EdgeStore::open().await,
            catalog: RefCell::default(),
            prefixes: Prefixes::default(),
            in_force: RefCell::new(documents::Kept::new(&settings)),
            refreshing: RefCell::default(),
            settings,
        });
        // An instance whose store did not open tries again with its next request.
        if edge.store.is_open() {
            EDGE.set(Some(edge.clone()));
        }
        Ok(edge)
    }
}

fn into_response(reply: Reply) -> http::Response<EdgeBody> {
    let headers = reply.header_map();
    let mut response = http::Response::new(EdgeBody::from(reply.body));
    *response.status_mut() = reply.status;
    *response.headers_mut() = headers;
    response
}

/// The clocks of the host.
struct SystemClock;

impl SystemClock {
    /// Milliseconds since the Unix epoch.
    fn now_ms() -> u64 {
        u64::try_from(Self::since_epoch().as_millis()).unwrap_or(u64::MAX)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the edge of the program: the one place that reads the wall clock"
    )]
    fn since_epoch() -> Duration {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since_epoch.unwrap_or_default()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> UnixSeconds {
        UnixSeconds(Self::since_epoch().as_secs())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the edge of the program: the one place that reads the monotonic clock"
    )]
    fn monotonic(&self) -> Duration {
        thread_local!(static START: Instant = Instant::now());
        START.with(Instant::elapsed)
    }
}
