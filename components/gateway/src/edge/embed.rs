//! `POST /v1/embeddings`, step by step. The rules are in [`crate::embeddings`].

use std::rc::Rc;
use std::time::Duration;

use brink_cache::{RequestControl, Scope};
use brink_protocol::{Catalog, EmbedAnswer, Fault, FaultCode};
use http::HeaderMap;
use http::header::CACHE_CONTROL;
use http::request::Parts;
use spin_sdk::wasip3;

use super::{Edge, Stopwatch, body, now};
use crate::embeddings::{Answer, Plan, Request, Resolved, Stored, Timing};
use crate::error::ApiError;
use crate::reply::Reply;

/// Until tenants come with API keys, all clients of a deployment are one tenant.
const TENANT: &str = "default";

pub(super) async fn answer(
    edge: Rc<Edge>,
    head: &Parts,
    body: body::Incoming,
    id: &str,
) -> Result<Reply, ApiError> {
    let limit = edge.settings.max_body_bytes;
    let body = body::read_request(body, &head.headers, limit).await?;
    let request = Request::parse(&body)?;
    drop(body);
    let control = request_control(&head.headers);
    let catalog = edge.catalog().await?;

    let answer = match attempt(&edge, request, control, &catalog, id).await? {
        Attempt::Answered(answer) => answer,
        Attempt::ModelChanged(request) => {
            let catalog = edge.newest_catalog().await?;
            match attempt(&edge, request, control, &catalog, id).await? {
                Attempt::Answered(answer) => answer,
                // Twice within one request: let the client come back when the roll is over.
                Attempt::ModelChanged(_) => return Err(ApiError::host_unavailable(1000)),
            }
        }
    };
    store_afterwards(edge, answer.store);
    Ok(answer.reply)
}

enum Attempt {
    Answered(Answer),
    /// The keys are bound to a model that the host no longer serves.
    ModelChanged(Request),
}

async fn attempt(
    edge: &Edge,
    request: Request,
    control: RequestControl,
    catalog: &Catalog,
    id: &str,
) -> Result<Attempt, ApiError> {
    let mut watch = Stopwatch::start();
    let mut timing = Timing::default();
    let model = catalog
        .find(&request.model)
        .ok_or_else(|| ApiError::unknown_model(&request.model))?;
    let scope = Scope::Tenant(TENANT.to_owned());
    let plan = Plan::new(request, model, scope, control)?;
    timing.key = watch.lap();
    let fetched = edge
        .store
        .get_all(plan.keys().map(|key| key.to_hex()))
        .await;
    let resolved = plan.resolve(fetched, now());
    timing.store = watch.lap();

    let upstream = match fetch_missing(edge, &resolved, id).await? {
        Missing::Nothing => None,
        Missing::Fetched(answer) => Some(answer),
        Missing::ModelChanged => return Ok(Attempt::ModelChanged(resolved.into_request())),
    };
    timing.upstream = upstream.is_some().then(|| watch.lap());
    let answer = resolved.complete(upstream, edge.settings.lifetimes, timing, now())?;
    Ok(Attempt::Answered(answer))
}

enum Missing {
    Nothing,
    Fetched(EmbedAnswer),
    ModelChanged,
}

async fn fetch_missing(edge: &Edge, resolved: &Resolved, id: &str) -> Result<Missing, ApiError> {
    let timeout: Duration = edge.settings.upstream_timeout;
    let Some(call) = resolved.upstream_call(id, timeout)? else {
        return Ok(Missing::Nothing);
    };
    match edge.fetch_embeddings(&call).await? {
        Ok(answer) => Ok(Missing::Fetched(answer)),
        Err(Fault {
            code: FaultCode::ModelChanged,
            ..
        }) => Ok(Missing::ModelChanged),
        Err(fault) => {
            let index = fault.item.and_then(|item| resolved.input_index(item));
            Err(ApiError::from_fault(fault, index))
        }
    }
}

/// Stores new entries once the answer is on its way: some stores take milliseconds for each.
fn store_afterwards(edge: Rc<Edge>, entries: Vec<Stored>) {
    if entries.is_empty() {
        return;
    }
    wasip3::spawn(async move {
        for entry in entries {
            edge.store.set(entry.key.to_hex(), entry.bytes).await;
        }
    });
}

/// All `Cache-Control` fields of a request count (RFC 9110 §5.3).
fn request_control(headers: &HeaderMap) -> RequestControl {
    let values = headers.get_all(CACHE_CONTROL).iter();
    let values: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
    RequestControl::parse(&values.join(","))
}
