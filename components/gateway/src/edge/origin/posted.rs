//! JSON that is POSTed to declared routes, step by step. The rules are in [`crate::origin::posted`].

use brink_cache::http::shared::{Fields, Record, Reuse, StoredResponse, counts_as_error};
use brink_cache::policy::{ItemFormat, JsonRoute, ToOrigin};
use brink_cache::status::Forward;
use brink_cache::{Key, Outcome};
use bytes::Bytes;
use spin_sdk::wasip3;

use super::ask::{Answered, Body};
use super::collapse::{Duty, Next};
use super::{Exchange, Response, missed, told_collapsed};
use crate::edge::passing::{EdgeBody, Kept};
use crate::edge::{Edge, SystemClock, body};
use crate::error::ApiError;
use crate::head::Head;
use crate::hit::Clock;
use crate::origin::posted::{Place, PostedBody, stored_answer};
use crate::origin::told::Told;
use crate::origin::{Call, Found, Made, items};
use std::rc::Rc;

/// A body that was POSTed, as it came and as it was read.
pub(super) struct Posted {
    pub(super) bytes: Bytes,
    pub(super) body: PostedBody,
    pub(super) task: String,
}

/// Answers a request to a declared route.
pub(super) async fn answer(
    edge: Rc<Edge>,
    head: &Head<'_>,
    body: body::Incoming,
    (to, route): (&ToOrigin<'_>, &JsonRoute),
    request_id: &str,
) -> Result<Response, ApiError> {
    let in_force = edge.in_force().await;
    // Nobody without a key makes us read megabytes.
    let caller = in_force.caller(head.get("authorization"))?;
    let bytes = body::read_request(body, head, edge.settings.max_body_bytes).await?;
    let Some(read) = PostedBody::parse(&bytes) else {
        let call = Call::new(head, to, caller, &in_force)?;
        let exchange = Exchange {
            edge,
            call,
            origin: to.origin.name.clone(),
            request_id: request_id.to_owned(),
        };
        let told = Told::forwarded(Outcome::Bypass, Forward::Bypass).detail("no-json");
        return exchange.forward(Body::Whole(bytes), told).await;
    };
    let call = Call::posted(head, (to, route), &read, caller, &in_force)?;
    let exchange = Exchange {
        edge,
        call,
        origin: to.origin.name.clone(),
        request_id: request_id.to_owned(),
    };
    let posted = Posted {
        bytes,
        body: read,
        task: route.task.clone(),
    };
    exchange.posted(posted, route.items).await
}

impl Exchange {
    async fn posted(
        &self,
        posted: Posted,
        format: Option<ItemFormat>,
    ) -> Result<Response, ApiError> {
        if let Some(reason) = self.call.passes(&posted.body) {
            let why = match reason {
                "request-no-store" => Forward::Request,
                _ => Forward::Bypass,
            };
            let told = Told::forwarded(Outcome::Bypass, why).detail(reason);
            return self.pass_posted(posted.bytes, told).await;
        }
        if let Some(format) = format {
            let member = items::member(format);
            let place = self.call.place(&posted.task, &posted.body, Some(member));
            let items = place.and_then(|place| items::Items::of(&posted.body, format, place));
            return match items {
                Some(items) => self.items(posted, format, items).await,
                None => {
                    let told = Told::forwarded(Outcome::Bypass, Forward::Bypass).detail("no-items");
                    self.pass_posted(posted.bytes, told).await
                }
            };
        }
        match self.call.place(&posted.task, &posted.body, None) {
            Some(place) => self.whole(posted.bytes, &place).await,
            None => {
                let told =
                    Told::forwarded(Outcome::Bypass, Forward::Bypass).detail("not-canonical");
                self.pass_posted(posted.bytes, told).await
            }
        }
    }

    /// Passes a body on; the answer comes as the origin sends it.
    pub(super) async fn pass_posted(&self, body: Bytes, told: Told) -> Result<Response, ApiError> {
        let answered = self
            .ask(self.call.fields.clone(), Body::Whole(body))
            .await?;
        Ok(self.passed(answered, &told))
    }

    /// Looks for the whole answer, and asks for it if there is none.
    async fn whole(&self, body: Bytes, place: &Place) -> Result<Response, ApiError> {
        let key = place.key();
        let now = SystemClock.now();
        let found = match self.edge.load(&self.call, &key).await {
            Ok(found) => found.response(),
            Err(outcome) => return self.missed_whole(body, key, outcome).await,
        };
        let usable = found.and_then(|(stored, purged)| {
            let lifetimes = self.call.posted_lifetimes(stored.head.status)?;
            Some((stored, purged, lifetimes))
        });
        let Some((stored, purged, lifetimes)) = usable else {
            return self.missed_whole(body, key, Outcome::Miss).await;
        };
        let age = stored.head.age(now);
        let verdict = self.call.posted_verdict(lifetimes, age, purged, now);
        match verdict.reuse {
            Reuse::Fresh | Reuse::Stale => Ok(self.stored_whole(&stored, &Told::hit(verdict.ttl))),
            Reuse::StaleWhileRevalidate => {
                let told = Told::hit(verdict.ttl).detail("stale-while-revalidate");
                let response = self.stored_whole(&stored, &told);
                if !self.call.control().only_if_cached {
                    self.refresh_whole_afterwards(body, key);
                }
                Ok(response)
            }
            Reuse::Validate {
                may_serve_on_error, ..
            } => {
                let stale = may_serve_on_error.then_some((stored, verdict.ttl));
                self.fetch_stale(body, key, stale).await
            }
        }
    }

    /// Asks, or waits for whoever asks the same already.
    async fn missed_whole(
        &self,
        body: Bytes,
        key: Key,
        outcome: Outcome,
    ) -> Result<Response, ApiError> {
        self.may_ask()?;
        if self.call.control().no_cache {
            return self.fetch_whole(body, (key, None), outcome).await;
        }
        let is_there = async || self.edge.load(&self.call, &key).await.is_ok();
        match self.next(key, is_there).await {
            Next::Ask(duty) => self.fetch_whole(body, (key, duty), outcome).await,
            Next::LookAgain => match self.collapsed_whole(&key).await {
                Some(response) => Ok(response),
                None => self.fetch_whole(body, (key, None), outcome).await,
            },
        }
    }

    /// The answer that another request brought meanwhile, if it may be used.
    async fn collapsed_whole(&self, key: &Key) -> Option<Response> {
        let (stored, purged) = self.edge.load(&self.call, key).await.ok()?.response()?;
        let lifetimes = self.call.posted_lifetimes(stored.head.status)?;
        let now = SystemClock.now();
        let age = stored.head.age(now);
        let verdict = self.call.posted_verdict(lifetimes, age, purged, now);
        let told = told_collapsed(verdict.ttl);
        (verdict.reuse == Reuse::Fresh).then(|| self.stored_whole(&stored, &told))
    }

    async fn fetch_whole(
        &self,
        body: Bytes,
        (key, duty): (Key, Option<Duty>),
        outcome: Outcome,
    ) -> Result<Response, ApiError> {
        let told = Told::forwarded(outcome, missed(outcome));
        let answered = self
            .ask(self.call.fields.clone(), Body::Whole(body))
            .await?;
        Ok(self.fresh_whole(answered, told, (key, duty)))
    }

    /// Asks anew; what is stored may stand in if that fails.
    async fn fetch_stale(
        &self,
        body: Bytes,
        key: Key,
        stale: Option<(StoredResponse, i64)>,
    ) -> Result<Response, ApiError> {
        self.may_ask()?;
        let told = self.told_stale();
        let asked = self.ask(self.call.fields.clone(), Body::Whole(body)).await;
        let status = match &asked {
            Ok(answered) => answered.head.status,
            Err(error) => error.status.as_u16(),
        };
        match stale {
            Some((stored, ttl)) if counts_as_error(status) => {
                let told = told_on_error(status, ttl);
                Ok(self.stored_whole(&stored, &told))
            }
            _ => Ok(self.fresh_whole(asked?, told.forward_status(status), (key, None))),
        }
    }

    /// Passes a new answer on, and keeps a copy if it may be stored.
    fn fresh_whole(
        &self,
        answered: Answered,
        told: Told,
        (key, duty): (Key, Option<Duty>),
    ) -> Response {
        if let Some(reason) = self.call.refuses(&answered.head) {
            if let Some(duty) = duty {
                duty.give_up();
            }
            return self.passed(answered, &told.detail(reason));
        }
        let mut told = told;
        told.status.stored = true;
        let fields = answered.head.fields.clone();
        let status = answered.head.status;
        let body = EdgeBody::Kept(Box::new(self.copied_whole(answered, key, duty)));
        self.response(status, fields, &told, body)
    }

    fn copied_whole(&self, answered: Answered, key: Key, duty: Option<Duty>) -> Kept {
        let limit = self.call.max_body_bytes();
        let edge = self.edge.clone();
        let call = self.call.clone();
        let made = Made::after(&answered);
        let Answered { head, body, .. } = answered;
        Kept::new(body, limit, move |body| {
            wasip3::spawn(async move {
                let response = StoredResponse { head, body };
                if response.is_complete() {
                    let record = Record::Response(response);
                    edge.keep_record(&call, key, &record, made).await;
                }
                if let Some(duty) = duty {
                    duty.fulfil().await;
                }
            });
        })
    }

    fn stored_whole(&self, stored: &StoredResponse, told: &Told) -> Response {
        let answer = stored_answer(stored, SystemClock.now());
        self.response(
            answer.status,
            answer.fields,
            told,
            stored.body.clone().into(),
        )
    }

    /// Asks anew for an answer that was served stale, once for all requests in this instance.
    fn refresh_whole_afterwards(&self, body: Bytes, key: Key) {
        let since = SystemClock.now();
        self.in_background(key, async move |exchange, duty| {
            let found = exchange.edge.load(&exchange.call, &key).await;
            let stored = found.ok().and_then(Found::response);
            if stored.is_some_and(|(stored, _)| stored.head.times.requested >= since) {
                return;
            }
            let fields = exchange.call.fields.clone();
            // The stale answer stays until it expires, and the next request tries again.
            let Ok(answered) = exchange.ask(fields, Body::Whole(body)).await else {
                return;
            };
            if exchange.call.refuses(&answered.head).is_none() {
                exchange.copied_whole(answered, key, duty).drain().await;
            }
        });
    }
}

/// What is told of a stored answer that stands in for one of this status.
pub(super) fn told_on_error(status: u16, ttl: i64) -> Told {
    let mut told = Told::forwarded(Outcome::Stale, Forward::Stale)
        .forward_status(status)
        .detail("stale-if-error");
    told.status.ttl = Some(ttl);
    told
}

/// The fields of an answer that is put together here.
pub(super) fn json_fields() -> Fields {
    let mut fields = Fields::new();
    fields.insert("content-type", "application/json");
    fields
}
