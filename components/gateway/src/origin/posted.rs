//! JSON that is POSTed to a declared route: its key, and what may be done with a stored answer.
//!
//! For a cache of RFC 9110 an answer to POST answers no later POST (§9.3.3). That these do is this edge's
//! own contract, which an operator enters by declaring the route: the answer depends on the body alone.

use std::sync::Arc;
use std::time::Duration;

use brink_cache::http::Vary;
use brink_cache::http::shared::keys::Posted;
use brink_cache::http::shared::request::CREDENTIALS;
use brink_cache::http::shared::{
    Answer, Fields, RequestHead, ResponseHead, Reuse, StoredResponse, Verdict, answer,
};
use brink_cache::policy::{JsonRoute, Sampling, ToOrigin};
use brink_cache::{
    Decision, Key, Lifetimes, Purged, RequestControl, Scope, UnixSeconds, canonical, freshness,
};
use brink_protocol::infer::DEFAULT_URGENCY;
use serde_json::{Map, Value};

use super::Call;
use super::call::route as route_fact;
use crate::error::ApiError;
use crate::head::Head;
use crate::in_force::{Caller, InForce};
use crate::ruling::{Asked, Ruling};

/// Fields of a request that say how its answer is to be coded. The answer is kept for all, so it is asked for
/// without a coding.
const CODING: [&str; 2] = ["accept-encoding", "if-none-match"];

/// A body that was read.
#[derive(Clone, Debug)]
pub struct PostedBody {
    /// Its members.
    pub members: Map<String, Value>,
}

impl PostedBody {
    /// Reads a body; `None` if it is no JSON object whose members are distinct. Such a body is the
    /// origin's to judge.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let members = canonical::parse(body).ok()?;
        Some(Self { members })
    }

    /// The model that is asked for; empty where none is named.
    pub fn model(&self) -> &str {
        let model = self.members.get("model").and_then(Value::as_str);
        model.unwrap_or_default()
    }

    /// Whether the answer is to come in pieces.
    pub fn streams(&self) -> bool {
        self.members.get("stream") == Some(&Value::Bool(true))
    }
}

impl Call {
    /// The call that a body POSTed to a declared route becomes. The policy is asked about the route's
    /// task.
    ///
    /// # Errors
    /// 508 for a request that goes round in a circle.
    pub fn posted(
        head: &Head<'_>,
        (to, route): (&ToOrigin<'_>, &JsonRoute),
        body: &PostedBody,
        caller: Caller,
        in_force: &Arc<InForce>,
    ) -> Result<Self, ApiError> {
        let asked = Asked {
            method: "POST".into(),
            route: route_fact(head.path).into_owned().into(),
            task: route.task.clone().into(),
            sampling: Sampling::of_body(&body.members),
            caller: caller.clone(),
            if_none_match: None,
            wants_key: false,
            urgency: DEFAULT_URGENCY,
        };
        let ruling = Ruling::new(in_force, asked, body.model());
        let mut call = Self::new(head, to, caller, in_force)?;
        for name in CODING {
            call.fields.remove(name);
        }
        call.fields.remove("content-length");
        call.fields.remove("expect");
        Ok(Self {
            model: body.model().to_owned(),
            told_key: None,
            ruling,
            ..call
        })
    }

    /// Why such a request passes the cache by, in the words of `Cache-Status`.
    pub fn passes(&self, body: &PostedBody) -> Option<&'static str> {
        if self.ruling.storing().is_none() {
            Some("policy")
        } else if body.streams() {
            Some("stream")
        } else if self.control().no_store {
            Some("request-no-store")
        } else {
            None
        }
    }

    /// The client's directives.
    pub fn control(&self) -> RequestControl {
        self.request().control
    }

    /// Where the answer to a body lies. `items` is the member whose elements have places of their own. `None` if
    /// the body has no canonical form.
    pub fn place(&self, task: &str, body: &PostedBody, items: Option<&str>) -> Option<Place> {
        let fields = &self.ruling.storing()?.key_fields;
        Some(Place {
            scope: self.ruling.scope(),
            target: self.url.clone(),
            credentials: self.credentials(),
            body: fields.of_answer(task, &body.members, items).ok()?,
        })
    }

    /// Hashed, so that no secret is kept longer than the request.
    fn credentials(&self) -> Vec<u8> {
        let mut hasher = blake3::Hasher::new();
        let mut any = false;
        for name in CREDENTIALS.into_iter().chain(["cookie"]) {
            for value in self.fields.all(name) {
                any = true;
                hasher.update(name.as_bytes());
                hasher.update(&(value.len() as u64).to_le_bytes());
                hasher.update(value);
            }
        }
        match any {
            true => hasher.finalize().as_bytes().to_vec(),
            false => Vec::new(),
        }
    }

    /// How long an answer of this status may be used: the rule says so, not the answer.
    pub fn posted_lifetimes(&self, status: u16) -> Option<Lifetimes> {
        match status {
            200 => Some(self.ruling.lifetimes()),
            status => self.ruling.negative_lifetimes(status),
        }
    }

    /// Why an answer is not stored, in the words of `Cache-Status`; `None` if it is.
    pub fn refuses(&self, head: &ResponseHead) -> Option<&'static str> {
        if self.posted_lifetimes(head.status).is_none() {
            return Some("status");
        }
        // What an origin says against storing holds, though lifetimes are the rule's.
        if let Err(refusal) = head.governing().control.may_store(true, false) {
            return Some(refusal.token());
        }
        let media = head.fields.get("content-type").unwrap_or_default();
        let is_json = media
            .split(';')
            .next()
            .is_some_and(|media| media.trim().ends_with("json"));
        if !is_told_apart(&head.vary()) {
            Some("vary")
        } else if head.fields.contains("set-cookie") {
            Some("set-cookie")
        } else if !is_json || head.fields.contains("content-encoding") {
            Some("content-type")
        } else {
            None
        }
    }

    /// What may be done with a stored answer of this age.
    pub fn posted_verdict(
        &self,
        lifetimes: Lifetimes,
        age: Duration,
        purged: Option<Purged>,
        now: UnixSeconds,
    ) -> Verdict {
        let control = self.control();
        let decision = match purged {
            Some(purged) => purged.decide(age, lifetimes, now),
            None => freshness::decide(age, lifetimes),
        };
        let is_usable = control.may_look_up()
            && control.accepts(age, lifetimes)
            && (purged.is_none() || decision == Decision::StaleWhileRevalidate);
        let reuse = match decision {
            _ if !is_usable => Reuse::Validate {
                conditions: Fields::new(),
                may_serve_on_error: control.may_look_up()
                    && decision <= Decision::StaleIfError
                    && control.accepts_on_error(age, lifetimes),
            },
            Decision::Fresh => Reuse::Fresh,
            Decision::StaleWhileRevalidate => Reuse::StaleWhileRevalidate,
            Decision::StaleIfError | Decision::Expired => Reuse::Stale,
        };
        let left = i64::try_from(lifetimes.fresh.as_secs()).unwrap_or(i64::MAX);
        let ttl = left.saturating_sub(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
        Verdict {
            reuse,
            age,
            ttl: if purged.is_some() { ttl.min(-1) } else { ttl },
        }
    }
}

/// Whether an answer varies by nothing but what its key holds, or what is the same for all: it is asked for
/// without a coding, and CORS is about who may read it.
fn is_told_apart(vary: &Vary) -> bool {
    let is_known = |name: &str| {
        CREDENTIALS.contains(&name) || matches!(name, "accept-encoding" | "cookie" | "origin")
    };
    match vary {
        Vary::Anything => false,
        Vary::Fields(fields) => fields.iter().all(|name| is_known(name)),
    }
}

/// Where answers lie.
#[derive(Clone, Debug)]
pub struct Place {
    scope: Scope,
    target: String,
    credentials: Vec<u8>,
    body: String,
}

impl Place {
    /// The key of the whole answer.
    pub fn key(&self) -> Key {
        self.posted().key()
    }

    /// The key of one item's result; `None` if the item has no canonical form.
    pub fn item_key(&self, item: &Value) -> Option<Key> {
        let item = canonical::value(item).ok()?;
        Some(self.posted().item_key(&item))
    }

    fn posted(&self) -> Posted<'_> {
        Posted {
            scope: &self.scope,
            target: &self.target,
            credentials: &self.credentials,
            body: &self.body,
        }
    }
}

/// The answer that a stored one gives: as to a GET without conditions.
pub fn stored_answer(stored: &StoredResponse, now: UnixSeconds) -> Answer {
    answer(stored, &RequestHead::new("GET", &Fields::new()), now)
}
