//! The hit path: from a request and a look-up to an answer, or to what is missing.
//!
//! Both doors of the component run this. The synchronous one (`brink:edge/fast`) calls
//! [`first`], which needs a store that answers at once, and [`Missing::conclude`] when its host has made the
//! call ([`resume`](crate::resume)). The asynchronous one (`wasi:http`)
//! stops between the two halves to fetch all entries together, and goes on with what is
//! missing:
//!
//! ```text
//!  head, body -> begin -> Pending (keys) -> settle(store) -> an answer, or Missing
//!                  |                                                          |
//!                  '-> an answer that needs no entry                          '-> the host
//! ```
//!
//! There is no clock and no I/O here. Whatever governs hits belongs here, and nowhere else.

use std::sync::Arc;
use std::time::Duration;

use brink_cache::key::Task;
use brink_cache::{Key, RequestControl, UnixSeconds};
use brink_protocol::{Catalog, Fault, FaultCode, GenerateRequest, InferAnswer, InferReply};
use bytes::Bytes;
use http::StatusCode;

use crate::default_model::Purpose;
use crate::destination::Destination;
use crate::error::ApiError;
use crate::head::Head;
use crate::in_force::{Caller, InForce};
use crate::items::{
    Answer, Bound, Fetched, Plan, Prefixes, Refresh, Request, Resolved, Stored, Streaming,
    TextWaits, Timing, UpstreamCall,
};
use crate::kept_stream::{KeptStream, Read};
use crate::origin::call::wants_key;
use crate::reply::Reply;
use crate::route::{Items, Route, Served};
use crate::ruling::{Asked, Ruling};
use crate::tokenize::Tokenize;
use crate::{cors, default_model, models, models_v2, openapi, priority, tei_info};

/// A store that answers at once.
pub trait LookUp {
    /// What is stored under `key`.
    fn get(&mut self, key: &Key) -> Fetched;
}

/// Time, as the caller measures it.
pub trait Clock {
    /// Wall-clock time, for ages.
    fn now(&self) -> UnixSeconds;
    /// Time since some fixed moment, for `Server-Timing`.
    fn monotonic(&self) -> Duration;
}

/// What a request is held against.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The models; `None` when they are not known well enough.
    pub catalog: Option<&'a Arc<Catalog>>,
    /// Prefixes of keys from earlier requests.
    pub prefixes: &'a Prefixes,
    /// What operators have decided.
    pub in_force: &'a Arc<InForce>,
    /// Largest request body, in bytes.
    pub max_body_bytes: u64,
}

/// What follows from a request alone.
#[derive(Debug)]
pub enum Begun {
    /// No entry is needed.
    Answered(Reply),
    /// Entries are to be looked up.
    Pending(Box<Pending>),
    /// The models must be known first. Gives the body back.
    CatalogNeeded(Bytes),
    /// The models must be known first; all that can be read without them is read.
    Unbound(Box<Unbound>),
    /// A host has to be asked for tokens.
    Tokenize(Box<Tokenize>),
    /// A host has to be asked about a text that it keeps.
    Kept(Box<KeptStream>),
    /// An origin has to be asked, or its answers looked up.
    Origin,
}

/// A request that was read, and whose model is still to be looked up. The body is not kept: it may be megabytes.
#[derive(Debug)]
pub struct Unbound {
    request: Request,
    route: Items,
    caller: Caller,
    control: RequestControl,
    /// What reading it took.
    spent: Duration,
}

/// A checked request whose entries are still to be looked up.
#[derive(Debug)]
pub struct Pending {
    plan: Plan,
    timing: Timing,
    since: Duration,
}

/// What follows from the entries.
#[derive(Debug)]
pub enum Settled {
    /// All of them were there.
    Answered(Reply),
    /// All of them were there; some are stale and to be computed anew in the background.
    Stale(Reply, Box<Stale>),
    /// Some have to be computed.
    Missing(Box<Missing>),
}

/// A request of which some items have to be computed.
#[derive(Debug)]
pub struct Missing {
    resolved: Resolved,
    timing: Timing,
    since: Duration,
    /// How long the call took, where somebody else has made it.
    took: Option<Duration>,
}

/// Results that were served stale.
#[derive(Debug)]
pub struct Stale(Resolved);

/// What follows from a request and from what is stored.
#[derive(Debug)]
pub enum First {
    /// Stored entries are enough.
    Answered(Reply),
    /// The host has to be asked.
    Missing(Box<Missing>),
    /// Something else has to be asked, or something is to be done afterwards.
    Elsewhere,
}

/// What became of a request once the host was asked.
#[derive(Debug)]
pub enum Concluded {
    /// An answer, and entries to store afterwards.
    Answered(Result<Reply, ApiError>, Vec<Stored>),
    /// The keys are bound to a model that the host no longer serves.
    ModelChanged(Box<Missing>),
}

/// Answers a request from stored entries alone; `None` when that is not possible, or when
/// something is to be done afterwards.
///
/// # Errors
/// What the client did wrong, or asked for and cannot have.
pub fn answer(
    head: &Head<'_>,
    body: Bytes,
    known: Known<'_>,
    store: &mut impl LookUp,
    clock: &impl Clock,
) -> Result<Option<Reply>, ApiError> {
    Ok(match first(head, body, known, store, clock)? {
        First::Answered(reply) => Some(reply),
        First::Missing(_) | First::Elsewhere => None,
    })
}

/// Answers a request from stored entries, or tells what is missing.
///
/// # Errors
/// What the client did wrong, or asked for and cannot have.
pub fn first(
    head: &Head<'_>,
    body: Bytes,
    known: Known<'_>,
    store: &mut impl LookUp,
    clock: &impl Clock,
) -> Result<First, ApiError> {
    let pending = match begin(head, body, known, clock)? {
        Begun::Answered(reply) => return Ok(First::Answered(reply)),
        Begun::CatalogNeeded(_)
        | Begun::Unbound(_)
        | Begun::Tokenize(_)
        | Begun::Kept(_)
        | Begun::Origin => {
            return Ok(First::Elsewhere);
        }
        Begun::Pending(pending) => pending,
    };
    Ok(match pending.settle(store, clock)? {
        Settled::Answered(reply) => First::Answered(reply),
        // A door has one call, and there is one for each text.
        Settled::Missing(missing) if missing.is_of_texts() && !missing.resolved.is_one_text() => {
            First::Elsewhere
        }
        Settled::Missing(missing) => First::Missing(missing),
        Settled::Stale(..) => First::Elsewhere,
    })
}

/// Reads and checks a request. Routes without a body do not look at it; the others leave nothing of it in memory
/// but what goes on.
///
/// # Errors
/// What the client did wrong.
pub fn begin(
    head: &Head<'_>,
    body: Bytes,
    known: Known<'_>,
    clock: &impl Clock,
) -> Result<Begun, ApiError> {
    let route = match known.in_force.destination(head)? {
        Destination::Own(route) => route,
        Destination::Origin(_) => return Ok(Begun::Origin),
    };
    if let Some(begun) = keyless(&route, head, known.catalog.is_some()) {
        return Ok(begun);
    }
    let caller = known.in_force.caller(head.get("authorization"))?;
    let size = body.len() as u64;
    if route.has_body() && size > known.max_body_bytes {
        return Err(ApiError::body_too_large(size, known.max_body_bytes));
    }
    match (route, known.catalog) {
        (Route::Items(route), catalog) => {
            let since = clock.monotonic();
            let request = route.read(head, body, known.max_body_bytes)?;
            let unbound = Unbound {
                request,
                route,
                caller,
                control: request_control(head),
                spent: clock.monotonic().saturating_sub(since),
            };
            match catalog {
                Some(catalog) => unbound.bind(head, catalog, known, clock),
                None => Ok(Begun::Unbound(Box::new(unbound))),
            }
        }
        (Route::Kept(id), _) => Ok(match KeptStream::read(head, &id, &caller)? {
            Read::Ask(asked) => Begun::Kept(Box::new(asked)),
            Read::AtEnd(reply) => Begun::Answered(reply),
        }),
        (Route::NotOffered(why), _) => Err(ApiError::not_offered(head.path, why)),
        (_, None) => Ok(Begun::CatalogNeeded(body)),
        (Route::Tokenize, Some(catalog)) => {
            let (policy, chosen) = (known.in_force.policy(), known.in_force.default_model());
            let tokenize = Tokenize::parse(&body)?.bind(catalog, policy, chosen)?;
            Ok(Begun::Tokenize(Box::new(tokenize)))
        }
        (route, Some(catalog)) => told(&route, &body, catalog, known.in_force).map(Begun::Answered),
    }
}

/// Answers for which nobody needs a key: browsers send none with a preflight, nor do those who ask whether
/// this edge is alive.
fn keyless(route: &Route, head: &Head<'_>, knows_models: bool) -> Option<Begun> {
    let reply = match (route, knows_models) {
        (Route::Preflight, _) => cors::preflight(head),
        (Route::Served(Served::Live), _) => models_v2::live(),
        (Route::Served(Served::Ready) | Route::Healthy, false) => {
            return Some(Begun::CatalogNeeded(Bytes::new()));
        }
        (Route::Served(Served::Ready), true) => models_v2::ready(),
        (Route::Healthy, true) => Reply::empty(StatusCode::OK),
        (Route::OpenApi, _) => openapi::reply(head),
        _ => return None,
    };
    Some(Begun::Answered(reply))
}

/// What the models alone answer.
fn told(
    route: &Route,
    body: &[u8],
    catalog: &Arc<Catalog>,
    in_force: &InForce,
) -> Result<Reply, ApiError> {
    let policy = in_force.policy();
    match route {
        Route::Model(name) => models::get(catalog, policy, name),
        Route::Served(question) => models_v2::answer(question, body, catalog, policy),
        Route::Info => {
            let chosen = in_force.default_model();
            let name = default_model::name(catalog, policy, chosen, Purpose::ReadTexts)?;
            let model = Bound::find(catalog, policy.model_of(name), None)?;
            Ok(tei_info::reply(model.model()))
        }
        // All others were answered before.
        Route::Models
        | Route::Items(_)
        | Route::Tokenize
        | Route::Kept(_)
        | Route::Healthy
        | Route::OpenApi
        | Route::NotOffered(_)
        | Route::Preflight => Ok(models::list(catalog, policy)),
    }
}

impl Unbound {
    /// Holds the request against its model, which gives the keys of its items.
    ///
    /// # Errors
    /// 404 for a model that does not exist; what of the request the model does not take.
    pub fn bind(
        self,
        head: &Head<'_>,
        catalog: &Arc<Catalog>,
        known: Known<'_>,
        clock: &impl Clock,
    ) -> Result<Begun, ApiError> {
        let since = clock.monotonic();
        let policy = known.in_force.policy();
        let chosen = known.in_force.default_model();
        let request = self.request.with_model(catalog, policy, chosen)?;
        let name = policy.model_of(&request.model);
        let model = Bound::find(catalog, name, request.version.as_deref())?;
        let asked = Asked {
            sampling: request.form.sampling_facts(),
            ..asked(&self.route, head, model.model().task(), self.caller)
        };
        let planned = Planned {
            // Rules speak of the name that the client wrote; all else is the model's.
            ruling: Ruling::new(known.in_force, asked, &request.model),
            request: request.for_model(policy),
            control: self.control,
        };
        let mut pending = planned.bind(model, known.prefixes, clock)?;
        pending.timing.key = self.spent + pending.since.saturating_sub(since);
        Ok(Begun::Pending(Box::new(pending)))
    }
}

/// What the policy is asked about.
fn asked(route: &Items, head: &Head<'_>, task: Task, caller: Caller) -> Asked {
    let method = route.method();
    let conditional = (method != "POST").then(|| head.get("if-none-match"));
    Asked {
        if_none_match: conditional.flatten().map(str::to_owned),
        wants_key: wants_key(head),
        urgency: priority::urgency(head),
        ..Asked::own(method, route.path(), task, caller)
    }
}

/// All `Cache-Control` fields of a request count (RFC 9110 §5.3).
fn request_control(head: &Head<'_>) -> RequestControl {
    let values = head.get_all("cache-control");
    let values: Vec<&str> = values
        .filter_map(|value| std::str::from_utf8(value).ok())
        .collect();
    RequestControl::parse(&values.join(","))
}

/// A request and what was decided about it, whatever the model behind its name.
struct Planned {
    request: Request,
    ruling: Ruling,
    control: RequestControl,
}

impl Planned {
    fn bind(
        self,
        model: Bound,
        prefixes: &Prefixes,
        clock: &impl Clock,
    ) -> Result<Pending, ApiError> {
        let plan = Plan::new(self.request, model, self.ruling, self.control, prefixes)?;
        Ok(Pending {
            plan,
            timing: Timing::default(),
            since: clock.monotonic(),
        })
    }
}

impl Pending {
    /// The keys that [`settle`](Self::settle) will ask for, in that order.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.plan.keys()
    }

    /// Asks `store` for every key once, in order, and answers if that is enough.
    ///
    /// # Errors
    /// 504 when something is missing and the request allows cached answers only; or a stored error.
    pub fn settle(self, store: &mut impl LookUp, clock: &impl Clock) -> Result<Settled, ApiError> {
        let now = clock.now();
        let resolved = self.plan.resolve(|key| store.get(key), now)?;
        let since = clock.monotonic();
        let mut timing = self.timing;
        timing.store = since.saturating_sub(self.since);
        if resolved.is_complete() {
            let stale = resolved
                .wants_refresh()
                .then(|| Box::new(Stale(resolved.clone())));
            let reply = resolved.complete(None, timing, now)?.reply;
            return Ok(match stale {
                Some(stale) => Settled::Stale(reply, stale),
                None => Settled::Answered(reply),
            });
        }
        resolved.may_ask_upstream()?;
        Ok(Settled::Missing(Box::new(Missing {
            resolved,
            timing,
            since,
            took: None,
        })))
    }
}

impl Missing {
    /// The one upstream call for everything that is missing.
    pub fn upstream_call(&self, request_id: &str, timeout: Duration) -> UpstreamCall {
        self.resolved.upstream_call(request_id, timeout)
    }

    /// Whether what is missing are texts, for which there is another call.
    pub fn is_of_texts(&self) -> bool {
        self.resolved.texts().is_some()
    }

    /// One call for each text that is missing, in the order in which [`conclude`](Self::conclude) takes the results.
    pub fn text_calls(&self, request_id: &str, waits: TextWaits) -> Vec<GenerateRequest> {
        self.resolved.text_calls(request_id, waits)
    }

    /// The head of the answer, and the stream that becomes its body; `None` where the client wants no stream.
    pub fn begin_stream(&self, clock: &impl Clock) -> Option<(Reply, Streaming)> {
        let streaming = self.resolved.streaming(clock.now())?;
        Some((self.resolved.stream_head(self.timing), streaming))
    }

    /// Tells how long the call took, where that is not the time since the look-up.
    pub fn took(&mut self, time: Duration) {
        self.took = Some(time);
    }

    /// What becomes of the request now that the host was asked: an answer of what it computed, of stale results
    /// if it failed and they may stand in, or an error.
    pub fn conclude(
        self: Box<Self>,
        told: Result<InferReply, ApiError>,
        clock: &impl Clock,
    ) -> Concluded {
        let (error, negative) = match told {
            Ok(Ok(computed)) => {
                return match self.complete(computed, clock) {
                    Ok(Answer { reply, store }) => Concluded::Answered(Ok(reply), store),
                    Err(error) => Concluded::Answered(Err(error), Vec::new()),
                };
            }
            Ok(Err(fault)) if fault.code == FaultCode::ModelChanged => {
                return Concluded::ModelChanged(self);
            }
            Ok(Err(fault)) => {
                let negative = fault
                    .item
                    .and_then(|item| self.negative(item, &fault, clock));
                (self.error(fault), negative)
            }
            Err(error) => (error, None),
        };
        let answer = self.complete_stale(&error, clock).ok_or(error);
        Concluded::Answered(answer, negative.into_iter().collect())
    }

    fn upstream_took(&self, clock: &impl Clock) -> Duration {
        let since = || clock.monotonic().saturating_sub(self.since);
        self.took.unwrap_or_else(since)
    }

    /// Builds the answer from what the host computed, and the entries to store afterwards.
    ///
    /// # Errors
    /// 502 when the host's answer does not fit the call.
    pub fn complete(self, upstream: InferAnswer, clock: &impl Clock) -> Result<Answer, ApiError> {
        let mut timing = self.timing;
        timing.upstream = Some(self.upstream_took(clock));
        self.resolved.complete(Some(upstream), timing, clock.now())
    }

    /// Answers with stale results, because asking the host failed. `None` if that may not be, or if
    /// the error is the request's own and would come again.
    pub fn complete_stale(&self, error: &ApiError, clock: &impl Clock) -> Option<Reply> {
        if !error.status.is_server_error() {
            return None;
        }
        let mut timing = self.timing;
        timing.upstream = Some(self.upstream_took(clock));
        self.resolved.complete_stale(error.status, timing)
    }

    /// The error to store for the upstream call's `item`-th input, if the policy wants it stored.
    pub fn negative(&self, item: u32, fault: &Fault, clock: &impl Clock) -> Option<Stored> {
        self.resolved.negative(item, fault, clock.now())
    }

    /// What the host said about the call, told to the client.
    pub fn error(&self, fault: Fault) -> ApiError {
        self.resolved.error(fault)
    }

    /// Index among the client's inputs of the upstream call's `item`-th input.
    pub fn input_index(&self, item: u32) -> Option<usize> {
        self.resolved.input_index(item)
    }

    /// Plans the request anew, because the model changed under it.
    ///
    /// # Errors
    /// When the new model does not take the request.
    pub fn replan(
        self,
        catalog: &Arc<Catalog>,
        prefixes: &Prefixes,
        clock: &impl Clock,
    ) -> Result<Pending, ApiError> {
        let control = self.resolved.control();
        let (request, ruling) = self.resolved.into_request();
        let planned = Planned {
            request,
            ruling,
            control,
        };
        let Request { model, version, .. } = &planned.request;
        let model = Bound::find(catalog, model, version.as_deref())?;
        let mut pending = planned.bind(model, prefixes, clock)?;
        pending.timing = self.timing;
        Ok(pending)
    }
}

impl Stale {
    /// The call that computes them anew, and what becomes of its answer.
    pub fn refresh(&self, request_id: &str, timeout: Duration) -> Refresh {
        self.0.refresh_call(request_id, timeout)
    }
}
