//! Opens sockets: who may, how many, and how.
//!
//! Whether a caller may ask is not decided here. The handshake's fields are put into an ordinary request
//! ([`PROBE`]), which goes the way of all requests; whoever is refused there gets that very answer instead of a socket. So
//! API keys, limits of rates and allowed origins are those of HTTP, whatever component answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use brink_protocol::refusal::ErrorForm;
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, CONNECTION, HOST, HeaderName, ORIGIN,
    SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE, USER_AGENT,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ask::Caller;
use super::command::Ask;
use super::config::LiveConfig;
use super::handshake::{self, Handshake, HandshakeFault};
use super::metrics::{Ended, LiveMetrics, OpenSocket, Upgrade};
use super::seats::{Full, Seat, Seats};
use super::session::{Parts, Session, Stop};
use super::socket::{Compression, Upgraded, accept_key};
use super::tenants::StoredTenants;
use crate::server::{Answer, Refusal, RequestBody};

/// What a caller must be allowed to ask for: the list of models, which every client may read that may ask for anything.
const PROBE: &str = "/v1/models";
/// Most of its answer that is read. Reading it to its end lets the component's instance be used again.
const MAX_PROBE_BYTES: usize = 1 << 20;
/// Longest time until the connection is the socket's: the answer of a few lines has to be sent.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
/// Fields of the handshake that all requests of the socket have.
const KEPT: [HeaderName; 2] = [HOST, USER_AGENT];

/// All sockets of a host.
#[derive(Clone)]
pub struct Live {
    config: Arc<LiveConfig>,
    metrics: LiveMetrics,
    seats: Arc<Seats>,
    tenants: Arc<StoredTenants>,
    sessions: TaskTracker,
    stop: Stop,
}

impl Live {
    /// None yet. `drain` is cancelled when shutting down begins.
    pub fn new(
        config: LiveConfig,
        metrics: LiveMetrics,
        tenants: StoredTenants,
        drain: CancellationToken,
    ) -> Self {
        Self {
            seats: Seats::new(&config),
            config: Arc::new(config),
            metrics,
            tenants: Arc::new(tenants),
            sessions: TaskTracker::new(),
            stop: Stop {
                drain,
                cut: CancellationToken::new(),
            },
        }
    }

    /// Whether the path of sockets is the host's.
    pub(super) fn is_enabled(&self) -> bool {
        self.config.enabled
    }

    /// Waits until every socket has ended, once draining has begun. Returns how many were cut off at the deadline.
    pub async fn ended(&self, deadline: tokio::time::Instant) -> usize {
        self.sessions.close();
        let waited = tokio::time::timeout_at(deadline, self.sessions.wait()).await;
        let cut = self.sessions.len();
        if waited.is_err() {
            self.stop.cut.cancel();
            self.sessions.wait().await;
        }
        cut
    }
}

/// Answers requests for sockets, whose requests `answering` answers.
#[derive(Clone)]
pub(super) struct Door<A> {
    pub(super) live: Live,
    pub(super) answering: A,
}

impl<A: Answer> Answer for Door<A> {
    async fn answer<B: RequestBody>(
        &self,
        mut request: Request<B>,
        client: SocketAddr,
    ) -> Response<Body> {
        let upgrade = hyper::upgrade::on(&mut request);
        let (head, _) = request.into_parts();
        let opened = self.open(&head, upgrade, client).await;
        let (response, outcome) = opened.unwrap_or_else(|refused| (refused.0, refused.1));
        self.live.metrics.upgrade(outcome);
        response
    }
}

/// The answer to somebody who gets no socket. Boxed, for an answer is large.
struct Refused(Response<Body>, Upgrade);

impl<A: Answer> Door<A> {
    async fn open(
        &self,
        head: &http::request::Parts,
        upgrade: OnUpgrade,
        client: SocketAddr,
    ) -> Result<(Response<Body>, Upgrade), Box<Refused>> {
        if self.live.stop.drain.is_cancelled() {
            return Err(refused(draining(), Upgrade::Draining));
        }
        let handshake = handshake::read(head).map_err(malformed)?;
        let caller = Arc::new(Caller {
            address: client,
            headers: kept(&head.headers, &handshake),
        });
        self.probe(&caller, head.headers.get(ORIGIN)).await?;
        let mut seat = self.seat(&handshake)?;
        let offers = handshake.compression.as_deref();
        let compression = offers
            .and_then(Compression::agree)
            .filter(|_| seat.compress());
        let response = switching(&handshake, compression.as_ref());
        let outcome = match compression {
            Some(_) => Upgrade::Compressed,
            None => Upgrade::Opened,
        };
        self.serve(upgrade, caller, compression, seat);
        Ok((response, outcome))
    }

    /// Whether this caller may ask, and the page that it asks from.
    async fn probe(
        &self,
        caller: &Caller,
        origin: Option<&HeaderValue>,
    ) -> Result<(), Box<Refused>> {
        let mut headers = HeaderMap::new();
        headers.extend(origin.map(|origin| (ORIGIN, origin.clone())));
        let request = caller.request(Ask {
            method: Method::GET,
            path: PathAndQuery::from_static(PROBE),
            headers,
            body: Bytes::new(),
            wants_head: false,
        });
        let response = self.answering.answer(request, caller.address).await;
        if !response.status().is_success() {
            return Err(Box::new(Refused(response, Upgrade::Unwelcome)));
        }
        let granted = response.headers().get(ACCESS_CONTROL_ALLOW_ORIGIN);
        let may = origin.is_none_or(|origin| {
            granted.is_some_and(|granted| granted == "*" || granted == origin)
        });
        let _ = Limited::new(response.into_body(), MAX_PROBE_BYTES)
            .collect()
            .await;
        if may {
            Ok(())
        } else {
            Err(refused(foreign_origin(), Upgrade::Origin))
        }
    }

    fn seat(&self, handshake: &Handshake) -> Result<Seat, Box<Refused>> {
        let authorization = handshake.authorization.as_ref();
        let authorization = authorization.and_then(|value| value.to_str().ok());
        let tenant = self.live.tenants.name(authorization);
        let seat = self.live.seats.take(tenant);
        seat.map_err(|full| refused(no_seat(full), Upgrade::Full))
    }

    fn serve(
        &self,
        upgrade: OnUpgrade,
        caller: Arc<Caller>,
        compression: Option<Compression>,
        seat: Seat,
    ) {
        let parts = Parts {
            answering: self.answering.clone(),
            caller,
            config: self.live.config.clone(),
            metrics: self.live.metrics.clone(),
        };
        let stop = self.live.stop.clone();
        let mut open = self.live.metrics.opened();
        self.live.sessions.spawn(async move {
            open.ended = serve(upgrade, compression, parts, stop).await;
            tracing::debug!(ended = ?open.ended, "a WebSocket ended");
            drop::<(OpenSocket, Seat)>((open, seat));
        });
    }
}

async fn serve<A: Answer>(
    upgrade: OnUpgrade,
    compression: Option<Compression>,
    parts: Parts<A>,
    stop: Stop,
) -> Ended {
    let Ok(Ok(connection)) = tokio::time::timeout(UPGRADE_TIMEOUT, upgrade).await else {
        return Ended::Gone;
    };
    let max_bytes = parts.config.max_frame_bytes;
    let socket = Upgraded::new(TokioIo::new(connection), max_bytes, compression);
    Session::new(socket, parts).run(stop).await
}

fn kept(headers: &HeaderMap, handshake: &Handshake) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for name in KEPT {
        if let Some(value) = headers.get(&name) {
            kept.insert(name, value.clone());
        }
    }
    if let Some(authorization) = &handshake.authorization {
        kept.insert(AUTHORIZATION, authorization.clone());
    }
    kept
}

fn switching(handshake: &Handshake, compression: Option<&Compression>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::try_from(accept_key(&handshake.key));
    let accept = accept.expect("base64 is valid in a header");
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if handshake.names_protocol {
        let protocol = HeaderValue::from_static(handshake::PROTOCOL);
        headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    if let Some(compression) = compression {
        let answer = HeaderValue::try_from(compression.answer());
        let answer = answer.expect("names and numbers are valid in a header");
        headers.insert(SEC_WEBSOCKET_EXTENSIONS, answer);
    }
    response
}

fn refused(refusal: Refusal, outcome: Upgrade) -> Box<Refused> {
    Box::new(Refused(refusal.into_response(ErrorForm::OpenAi), outcome))
}

fn malformed(fault: HandshakeFault) -> Box<Refused> {
    let refusal = Refusal {
        status: fault.status(),
        code: "invalid_handshake",
        message: fault.to_string(),
        retry_after: None,
    };
    let mut refused = refused(refusal, Upgrade::Malformed);
    if fault.status() == StatusCode::UPGRADE_REQUIRED {
        let headers = refused.0.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    refused
}

fn draining() -> Refusal {
    Refusal {
        status: StatusCode::SERVICE_UNAVAILABLE,
        code: "draining",
        message: "the host is shutting down".to_owned(),
        retry_after: Some(Duration::from_secs(1)),
    }
}

fn foreign_origin() -> Refusal {
    Refusal {
        status: StatusCode::FORBIDDEN,
        code: "origin_not_allowed",
        message: "pages of this origin may not open sockets (cors_allow_origin)".to_owned(),
        retry_after: None,
    }
}

fn no_seat(full: Full) -> Refusal {
    let (status, code) = match full {
        Full::All { .. } => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
        Full::Tenant { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_many_sockets"),
    };
    Refusal {
        status,
        code,
        message: full.to_string(),
        retry_after: Some(Duration::from_secs(1)),
    }
}
