//! What is stored for origins: finding it, keeping it, and taking it out.

use std::rc::Rc;

use brink_cache::http::shared::keys::{
    decode_invalidation, encode_invalidation, group_key, primary_key,
};
use brink_cache::http::shared::record::LONGEST_EXCHANGE;
use brink_cache::http::shared::{
    Record, ResponseHead, StoredResponse, answer as answer_of, counts_as_error, freshen,
    invalidated_by_head, may_store, uri,
};
use brink_cache::{Key, Outcome, Scope, UnixSeconds};
use bytes::Bytes;
use http::StatusCode;
use spin_sdk::wasip3;

use super::ask::{Answered, Body};
use super::collapse::{Duty, Lead};
use super::{Exchange, Filling, Found, Response};
use crate::edge::items::MAX_REFRESHING;
use crate::edge::passing::{EdgeBody, Kept};
use crate::edge::{Edge, SystemClock};
use crate::error::ApiError;
use crate::hit::Clock;
use crate::items::Fetched;
use crate::origin::found::without_body;
use crate::origin::told::Told;
use crate::origin::{Call, Made};

/// What a look-up gave.
pub(super) struct Looked {
    /// The key of all that is known about the URL.
    pub(super) place: Key,
    pub(super) found: Found,
}

impl Exchange {
    /// Looks for the response to the call's GET.
    pub(super) async fn find(&self) -> Looked {
        let place = self.call.key();
        let found = self.find_at(&place).await;
        Looked { place, found }
    }

    async fn find_at(&self, place: &Key) -> Found {
        let found = self.load(place).await?;
        let response = match found.record.variant(place, &self.call.fields) {
            Some(variant) => self.load(&variant).await?.response(),
            None => found.response(),
        };
        response.ok_or(Outcome::Miss)
    }

    async fn load(&self, key: &Key) -> Result<crate::origin::Found, Outcome> {
        self.edge.load(&self.call, key).await
    }

    /// When a group of the response was invalidated last (RFC 9875).
    pub(super) async fn invalidated_at(&self, stored: &StoredResponse) -> Option<UnixSeconds> {
        let groups = stored.head.groups();
        if groups.is_empty() {
            return None;
        }
        let scope = self.call.ruling.scope();
        let keys = groups
            .iter()
            .map(|group| self.group_key(&scope, group).to_hex());
        let fetched = self.edge.store.get_all(keys).await;
        let times = fetched.iter().filter_map(|fetched| match fetched {
            Fetched::Bytes(bytes) => decode_invalidation(bytes),
            Fetched::Absent | Fetched::NotAsked => None,
            // Nobody knows: it has to be validated.
            Fetched::Failed => Some(SystemClock.now()),
        });
        times.max()
    }

    fn group_key(&self, scope: &Scope, group: &str) -> Key {
        let origin = uri::origin(&self.call.url).unwrap_or_default();
        group_key(scope, &origin, group)
    }

    pub(super) async fn invalidate_group(&self, group: &str) {
        let value = encode_invalidation(SystemClock.now());
        for scope in self.call.scopes() {
            let key = self.group_key(&scope, group).to_hex();
            self.edge.store.set(key, value.to_vec()).await;
        }
    }

    /// The record stays as long as an entry: an answer that was under way is not stored over it.
    pub(super) async fn invalidate_target(&self, target: &str) {
        for scope in self.call.scopes() {
            self.invalidate_key(primary_key(&scope, target)).await;
        }
    }

    /// An answer to HEAD may tell that the stored response is no longer current (RFC 9111 §4.3.5).
    pub(super) async fn invalidate_by_head(
        &self,
        stored: &StoredResponse,
        answered: &Answered,
        place: &Key,
    ) {
        let is_head = self.call.method == "HEAD" && answered.head.status == 200;
        if is_head && invalidated_by_head(stored, &answered.fields) {
            self.invalidate_key(*place).await;
        }
    }

    async fn invalidate_key(&self, key: Key) {
        if let Some(mark) = self.call.invalidation(key, SystemClock.now()) {
            self.edge.store.set(mark.key.to_hex(), mark.bytes).await;
        }
    }

    /// Stores what a 304 made of a response; `None` if the 304 is about another one.
    pub(super) async fn freshened(
        &self,
        stored: &StoredResponse,
        answered: &Answered,
        place: &Key,
    ) -> Option<StoredResponse> {
        let current = freshen(stored, &answered.fields, answered.head.times)?;
        // The 304 may have brought a directive against it.
        if may_store(&self.call.request(), &current.head, &self.call.limits()).is_ok() {
            let made = Made::after(answered);
            self.edge
                .keep_response(&self.call, place, current.clone(), made)
                .await;
        }
        Some(current)
    }

    /// Passes a new response on, and keeps a copy if it may be stored.
    pub(super) async fn fresh(
        &self,
        answered: Answered,
        mut told: Told,
        Filling { place, duty }: Filling,
    ) -> Result<Response, ApiError> {
        let request = self.call.request();
        if let Err(reason) = may_store(&request, &answered.head, &self.call.limits()) {
            if told.status.detail.is_none() {
                told = told.detail(reason.token());
            }
            if let Some(duty) = duty {
                duty.give_up();
            }
            return Ok(self.passed(answered, &told));
        }
        told.status.stored = true;
        let made = Made::after(&answered);
        let Answered { head, body, .. } = answered;
        // The client may have this very response already.
        let answer = answer_of(&without_body(head.clone()), &request, SystemClock.now());
        let kept = self.copied(head.clone(), body, made, Filling { place, duty });
        if answer.status == StatusCode::NOT_MODIFIED.as_u16() {
            wasip3::spawn(kept.drain());
            let body = Bytes::new().into();
            return Ok(self.response(answer.status, answer.fields, &told, body));
        }
        let body = EdgeBody::Kept(Box::new(kept));
        Ok(self.response(head.status, head.fields, &told, body))
    }

    fn copied(
        &self,
        head: ResponseHead,
        body: spin_sdk::wasip3::http_compat::IncomingResponseBody,
        made: Made,
        Filling { place, duty }: Filling,
    ) -> Kept {
        let limit = self.call.max_body_bytes();
        let edge = self.edge.clone();
        let call = self.call.clone();
        let since = SystemClock.monotonic();
        Kept::new(body, limit, move |body| {
            let took = SystemClock.monotonic().saturating_sub(since);
            wasip3::spawn(async move {
                let response = StoredResponse { head, body };
                // What took longer may be from before an invalidation that is forgotten.
                if response.is_complete() && took < LONGEST_EXCHANGE {
                    edge.keep_response(&call, &place, response, made).await;
                }
                if let Some(duty) = duty {
                    duty.fulfil().await;
                }
            });
        })
    }

    /// Validates a response that was served stale.
    pub(super) fn refresh_afterwards(&self, stored: StoredResponse, place: Key) {
        self.in_background(place, async move |mut exchange, duty| {
            exchange.call = exchange.call.for_refresh();
            exchange.refresh(stored, Filling { place, duty }).await;
        });
    }

    /// Does something once the answer is on its way, and once for all requests with this key: in this
    /// instance, and by a lease at all edges of the store.
    pub(super) fn in_background(
        &self,
        key: Key,
        work: impl AsyncFnOnce(Exchange, Option<Duty>) + 'static,
    ) {
        let mut under_way = self.edge.refreshing.borrow_mut();
        if under_way.len() >= MAX_REFRESHING || !under_way.insert(key) {
            return;
        }
        drop(under_way);
        let edge = self.edge.clone();
        let exchange = Exchange {
            edge: self.edge.clone(),
            call: self.call.clone(),
            origin: self.origin.clone(),
            request_id: self.request_id.clone(),
        };
        wasip3::spawn(async move {
            match edge.lead(key).await {
                Lead::Free => work(exchange, None).await,
                Lead::Won(duty) => work(exchange, Some(duty)).await,
                Lead::Lost => {}
            }
            edge.refreshing.borrow_mut().remove(&key);
        });
    }

    async fn refresh(&self, stored: StoredResponse, Filling { place, duty }: Filling) {
        // Another edge may have done so between the look-up and the lease.
        if let Ok((newest, _)) = self.find().await.found
            && newest.head.times.requested > stored.head.times.requested
        {
            return;
        }
        let request = self.call.request();
        let conditions = self.call.conditions(&stored);
        let fields = request.fields_for_upstream(&conditions);
        // The stale response stays until it expires, and the next request tries again.
        let Ok(answered) = self.ask(fields, Body::Empty).await else {
            return;
        };
        if counts_as_error(answered.head.status) {
            return;
        }
        if answered.head.status == StatusCode::NOT_MODIFIED.as_u16() {
            self.freshened(&stored, &answered, &place).await;
            return;
        }
        if may_store(&request, &answered.head, &self.call.limits()).is_ok() {
            let made = Made::after(&answered);
            self.copied(answered.head, answered.body, made, Filling { place, duty })
                .drain()
                .await;
        }
    }
}

impl Made {
    pub(super) fn after(answered: &Answered) -> Self {
        Self {
            // A purge in between is about what the origin answered.
            at: answered.head.times.requested,
            took: answered.took,
        }
    }
}

impl Edge {
    pub(super) async fn load(
        &self,
        call: &Call,
        key: &Key,
    ) -> Result<crate::origin::Found, Outcome> {
        call.open(key, self.store.get(key.to_hex()).await)
    }

    pub(super) async fn keep_record(&self, call: &Call, key: Key, record: &Record, made: Made) {
        if let Some(stored) = call.stored(key, record, made) {
            self.store.set(stored.key.to_hex(), stored.bytes).await;
        }
    }

    /// Stores a response at its place, unless the place was invalidated since it was asked for.
    async fn keep_response(
        self: &Rc<Self>,
        call: &Call,
        place: &Key,
        response: StoredResponse,
        made: Made,
    ) {
        let requested = response.head.times.requested;
        let Some(before) = self.storable(call, place, requested).await else {
            return;
        };
        let Some(variants) = Record::variants_with(before.as_ref(), &response.head) else {
            let record = Record::Response(response);
            return self.keep_record(call, *place, &record, made).await;
        };
        let Some(key) = variants.variant(place, &call.fields) else {
            return;
        };
        if self.storable(call, &key, requested).await.is_none() {
            return;
        }
        let record = Record::Response(response);
        self.keep_record(call, key, &record, made).await;
        // Read again: written blindly, it would bring back what was invalidated meanwhile.
        let now = self.storable(call, place, requested).await;
        if now.is_some_and(|now| now == before && now.as_ref() != Some(&variants)) {
            self.keep_record(call, *place, &variants, made).await;
        }
    }

    /// What lies under a key, if a response that was asked for then may be written over it. Not if the store
    /// cannot tell.
    async fn storable(
        &self,
        call: &Call,
        key: &Key,
        requested: UnixSeconds,
    ) -> Option<Option<Record>> {
        let before = match self.load(call, key).await {
            Ok(found) => Some(found.record),
            Err(Outcome::StoreError) => return None,
            Err(_) => None,
        };
        Record::is_storable_now(before.as_ref(), requested).then_some(before)
    }
}
