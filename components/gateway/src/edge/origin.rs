//! Requests to origins through `wasi:http`, step by step. The rules are in [`crate::origin`].

mod ask;
mod collapse;
mod keep;
mod posted;
mod split;

use std::rc::Rc;

use brink_cache::http::shared::invalidation::{self, invalidates};
use brink_cache::http::shared::{
    Fields, Pass, Reuse, Start, StoredResponse, answer as answer_of, counts_as_error,
};
use brink_cache::policy::ToOrigin;
use brink_cache::status::Forward;
use brink_cache::{Key, Outcome, Purged};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::passing::EdgeBody;
use super::{Edge, SystemClock, body};
use crate::error::ApiError;
use crate::head::Head;
use crate::hit::Clock;
use crate::origin::Call;
use crate::origin::told::{Told, with_date};
use ask::{Answered, Body};
use collapse::{Duty, Next};
use keep::Looked;

/// A request to an origin being answered.
pub(super) struct Exchange {
    edge: Rc<Edge>,
    call: Call,
    origin: String,
    request_id: String,
}

type Response = http::Response<EdgeBody>;

/// Answers a request to an origin.
pub(super) async fn answer(
    edge: Rc<Edge>,
    head: &Head<'_>,
    body: body::Incoming,
    to: ToOrigin<'_>,
    request_id: &str,
) -> Result<Response, ApiError> {
    if let Some(route) = to.json.filter(|_| head.method == "POST") {
        return posted::answer(edge, head, body, (&to, route), request_id).await;
    }
    let in_force = edge.in_force().await;
    let caller = in_force.caller(head.get("authorization"))?;
    let call = Call::new(head, &to, caller, &in_force)?;
    let exchange = Exchange {
        edge,
        call,
        origin: to.origin.name.clone(),
        request_id: request_id.to_owned(),
    };
    let max_body_bytes = exchange.edge.settings.max_body_bytes;
    match exchange.call.start() {
        Start::Pass(reason) => exchange.pass(body, reason).await,
        Start::LookUp if exchange.call.ruling.storing().is_none() => {
            exchange.may_ask()?;
            let told = Told::forwarded(Outcome::Bypass, Forward::Bypass).detail("policy");
            exchange.forward(body.into(), told).await
        }
        Start::LookUp => match body::whole_if_any(body, max_body_bytes).await? {
            None => exchange.look_up().await,
            // It came unannounced, and the origin may heed it.
            Some(body) => {
                let told = Told::forwarded(Outcome::Bypass, Pass::Content.forward());
                let told = told.detail(Pass::Content.token());
                exchange.forward(Body::Whole(body), told).await
            }
        },
    }
}

impl Exchange {
    /// Passes a request on, and takes out of the cache what it made invalid.
    async fn pass(&self, body: body::Incoming, reason: Pass) -> Result<Response, ApiError> {
        let told = Told::forwarded(Outcome::Bypass, reason.forward()).detail(reason.token());
        self.forward(body.into(), told).await
    }

    async fn forward(&self, body: Body, told: Told) -> Result<Response, ApiError> {
        let answered = match self.ask(self.call.fields.clone(), body).await {
            Ok(answered) => answered,
            Err(error) => {
                // The answer is lost, and the change may have been made.
                for target in invalidates(&self.call.method, 200, &self.call.url, &Fields::new()) {
                    self.invalidate_target(&target).await;
                }
                return Err(error);
            }
        };
        self.invalidate(&answered).await;
        Ok(self.passed(answered, &told))
    }

    /// Before the client has the answer: whoever asks next must not get what was there before.
    async fn invalidate(&self, answered: &Answered) {
        let Call { method, url, .. } = &self.call;
        let fields = &answered.head.fields;
        let status = answered.head.status;
        for target in invalidates(method, status, url, fields) {
            self.invalidate_target(&target).await;
        }
        for group in invalidation::groups(method, status, fields) {
            self.invalidate_group(&group).await;
        }
    }

    async fn look_up(&self) -> Result<Response, ApiError> {
        let Looked { place, found } = self.find().await;
        let (stored, purged) = match found {
            Ok(found) => found,
            Err(outcome) => return self.missed(outcome, place).await,
        };
        self.use_stored(stored, purged, place).await
    }

    /// Uses a stored response, as far as it may be used.
    async fn use_stored(
        &self,
        stored: StoredResponse,
        purged: Option<Purged>,
        place: Key,
    ) -> Result<Response, ApiError> {
        let now = SystemClock.now();
        let invalidated = self.invalidated_at(&stored).await;
        let verdict = self.call.verdict(&stored, purged, invalidated, now);
        match verdict.reuse {
            Reuse::Fresh | Reuse::Stale => Ok(self.stored(&stored, &Told::hit(verdict.ttl))),
            Reuse::StaleWhileRevalidate => {
                let told = Told::hit(verdict.ttl).detail("stale-while-revalidate");
                let response = self.stored(&stored, &told);
                if !self.call.request().control.only_if_cached {
                    self.refresh_afterwards(stored, place);
                }
                Ok(response)
            }
            Reuse::Validate {
                conditions,
                may_serve_on_error,
            } => {
                let stale = Stale {
                    on_error: may_serve_on_error.then_some(verdict.ttl),
                    conditions,
                    stored,
                };
                self.validate(stale, place).await
            }
        }
    }

    /// Asks for a response, or waits for whoever does already. Answers to HEAD are not stored, so nobody
    /// waits for one.
    async fn missed(&self, outcome: Outcome, place: Key) -> Result<Response, ApiError> {
        self.may_ask()?;
        if self.call.method == "HEAD" || self.call.control().no_cache {
            return self.fetch(outcome, place, None).await;
        }
        let is_there = async || self.find().await.found.is_ok();
        match self.next(place, is_there).await {
            Next::Ask(duty) => self.fetch(outcome, place, duty).await,
            Next::LookAgain => match self.find().await.found {
                Ok((stored, purged)) => match self.collapsed(&stored, purged).await {
                    Some(response) => Ok(response),
                    None => self.use_stored(stored, purged, place).await,
                },
                // Another variant, or gone again: waiting once more could go on forever.
                Err(outcome) => self.fetch(outcome, place, None).await,
            },
        }
    }

    /// The answer with what another request brought meanwhile.
    async fn collapsed(&self, stored: &StoredResponse, purged: Option<Purged>) -> Option<Response> {
        let invalidated = self.invalidated_at(stored).await;
        let now = SystemClock.now();
        let verdict = self.call.verdict(stored, purged, invalidated, now);
        let told = told_collapsed(verdict.ttl);
        (verdict.reuse == Reuse::Fresh).then(|| self.stored(stored, &told))
    }

    /// Asks for a response.
    async fn fetch(
        &self,
        outcome: Outcome,
        place: Key,
        duty: Option<Duty>,
    ) -> Result<Response, ApiError> {
        let fields = self.call.request().fields_for_upstream(&Fields::new());
        let answered = self.ask(fields, Body::Empty).await?;
        let told = Told::forwarded(outcome, missed(outcome));
        self.fresh(answered, told, Filling { place, duty }).await
    }

    /// Asks whether a stored response is still the current one.
    async fn validate(&self, stale: Stale, place: Key) -> Result<Response, ApiError> {
        self.may_ask()?;
        let told = self.told_stale();
        let fields = self.call.request().fields_for_upstream(&stale.conditions);
        let answered = match self.ask(fields, Body::Empty).await {
            Ok(answered) => answered,
            Err(error) => {
                let status = error.status.as_u16();
                return self.on_error(stale, status).ok_or(error);
            }
        };
        let status = answered.head.status;
        if counts_as_error(status)
            && let Some(response) = self.on_error(stale.clone(), status)
        {
            return Ok(response);
        }
        if status != StatusCode::NOT_MODIFIED.as_u16() || stale.conditions.is_empty() {
            self.invalidate_by_head(&stale.stored, &answered, &place)
                .await;
            return self
                .fresh(answered, told.forward_status(status), place.into())
                .await;
        }
        match self.freshened(&stale.stored, &answered, &place).await {
            Some(current) => Ok(self.stored(&current, &told.forward_status(status))),
            // The 304 is about another response: only a whole one helps now.
            None => {
                let fields = self.call.request().fields_for_upstream(&Fields::new());
                let answered = self.ask(fields, Body::Empty).await?;
                self.fresh(answered, told, place.into()).await
            }
        }
    }

    /// The reason as RFC 9211 §2.2 names it: `request` where the client's directives made the
    /// response unusable.
    fn told_stale(&self) -> Told {
        let control = self.call.request().control;
        let is_requested = control.no_cache || control.max_age.is_some_and(|age| age.is_zero());
        match is_requested {
            true => Told::forwarded(Outcome::Bypass, Forward::Request),
            false => Told::forwarded(Outcome::Stale, Forward::Stale),
        }
    }

    fn on_error(&self, stale: Stale, status: u16) -> Option<Response> {
        let told = posted::told_on_error(status, stale.on_error?);
        Some(self.stored(&stale.stored, &told))
    }

    /// # Errors
    /// 504 when the request allows stored responses only.
    fn may_ask(&self) -> Result<(), ApiError> {
        match self.call.request().control.only_if_cached {
            true => Err(ApiError::origin_only_if_cached()),
            false => Ok(()),
        }
    }

    /// The answer that a stored response gives.
    fn stored(&self, stored: &StoredResponse, told: &Told) -> Response {
        let answer = answer_of(stored, &self.call.request(), SystemClock.now());
        let body = match answer.sends_body {
            true => stored.body.clone(),
            false => Bytes::new(),
        };
        self.response(answer.status, answer.fields, told, body.into())
    }

    /// The answer of the origin, as it comes.
    fn passed(&self, answered: Answered, told: &Told) -> Response {
        let fields = with_date(answered.fields, SystemClock.now());
        let body = EdgeBody::Passing(answered.body);
        self.response(answered.head.status, fields, told, body)
    }

    fn response(&self, status: u16, fields: Fields, told: &Told, body: EdgeBody) -> Response {
        let fields = told.fields(&self.call, &self.request_id, fields);
        let mut response = http::Response::new(body);
        // What came through an HTTP library is a status and a header; what a store gave back might not be.
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        *response.headers_mut() = header_map(&fields);
        response
    }
}

/// A place that is to be filled, and the duty to do so, if others wait for it.
struct Filling {
    place: Key,
    duty: Option<Duty>,
}

impl From<Key> for Filling {
    fn from(place: Key) -> Self {
        Self { place, duty: None }
    }
}

/// The reason of a look-up without a usable result.
fn missed(outcome: Outcome) -> Forward {
    match outcome {
        Outcome::StoreError => Forward::Bypass,
        _ => Forward::Miss,
    }
}

/// What is told of an answer that another request brought.
fn told_collapsed(ttl: i64) -> Told {
    let mut told = Told::forwarded(Outcome::Collapsed, Forward::Miss);
    told.status.collapsed = true;
    told.status.ttl = Some(ttl);
    told
}

/// A stored response that has to be validated.
#[derive(Clone)]
struct Stale {
    stored: StoredResponse,
    conditions: Fields,
    /// Seconds of freshness left, if it may be served when asking fails.
    on_error: Option<i64>,
}

fn header_map(fields: &Fields) -> HeaderMap {
    let header = |(name, value): (&str, &Bytes)| {
        let name = HeaderName::try_from(name).ok()?;
        let value = HeaderValue::from_maybe_shared(value.clone()).ok()?;
        Some((name, value))
    };
    let mut headers = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields.iter().filter_map(header) {
        headers.append(name, value);
    }
    headers
}

/// What is found in a store: a response and what purges have left of it, or the reason why not.
type Found = Result<(StoredResponse, Option<Purged>), Outcome>;
