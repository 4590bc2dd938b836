//! Under which keys the results of a request are kept, for operators who purge them.

use std::collections::BTreeSet;
use std::sync::Arc;

use brink_cache::{Key, RequestControl};
use brink_protocol::Catalog;
use bytes::Bytes;

use http::HeaderMap;

use crate::error::ApiError;
use crate::head::Head;
use crate::in_force::{Caller, InForce};
use crate::items::{Bound, Plan, Prefixes};
use crate::route::{Items, Route, Verb};
use crate::ruling::{Asked, Ruling};

/// A request as it was sent: POSTed, and in JSON alone.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// The path.
    pub path: &'a str,
    /// The body.
    pub body: &'a [u8],
}

/// Whether a POST to this path leaves results of items.
pub fn leaves_results(path: &str) -> bool {
    route(path).is_ok()
}

/// The keys of what a request left in stores; none where the policy stores nothing of it.
///
/// Rules may tell methods apart, and a request for embeddings can come as POST, QUERY and GET: the keys of
/// all of them are given. They are those of the model as `catalog` has it, and of the policy as it
/// is now: results that an earlier policy keyed otherwise are not found again by anybody. Requests in other
/// forms share these keys, unless rules tell their routes apart.
///
/// # Errors
/// What the gateway would refuse too: a body that is no request, an unknown model. 400 also for a request that
/// names no model: only an edge knows its default.
pub fn stored_keys(
    sent: Sent<'_>,
    tenant: &Arc<str>,
    in_force: &Arc<InForce>,
    catalog: &Arc<Catalog>,
) -> Result<BTreeSet<Key>, ApiError> {
    let route = route(sent.path)?;
    let fields = HeaderMap::new();
    let head = Head::new("POST", sent.path, None, &fields);
    // Whatever a body may have here, it can be read: a digit and a comma can become eight bytes, and nothing more.
    let limit = (sent.body.len() as u64).saturating_mul(4);
    let request = route.read(&head, Bytes::copy_from_slice(sent.body), limit)?;
    if request.model.is_empty() {
        let message = "the member model is missing; name the model that answered";
        return Err(ApiError::invalid("model", message));
    }
    let written = request.model.clone();
    let request = request.for_model(in_force.policy());
    let model = Bound::find(catalog, &request.model, request.version.as_deref())?;
    let task = model.model().task();
    let prefixes = Prefixes::default();
    let mut keys = BTreeSet::new();
    for method in methods(&route) {
        let caller = Caller::unlimited(tenant.clone());
        let asked = Asked {
            sampling: request.form.sampling_facts(),
            ..Asked::own(method, route.path(), task, caller)
        };
        let ruling = Ruling::new(in_force, asked, &written);
        let control = RequestControl::parse("");
        let plan = Plan::new(request.clone(), model.clone(), ruling, control, &prefixes)?;
        keys.extend(plan.keys().copied());
    }
    Ok(keys)
}

fn route(path: &str) -> Result<Items, ApiError> {
    match Route::find("POST", path)? {
        Route::Items(route) => Ok(route),
        _ => Err(ApiError::unknown_route(path)),
    }
}

/// The methods by which the same request can come.
fn methods(route: &Items) -> Vec<&'static str> {
    match route {
        Items::Embeddings(_) => [Verb::Post, Verb::Query, Verb::Get]
            .map(Verb::method)
            .to_vec(),
        Items::Classify
        | Items::Infer(_)
        | Items::Embed
        | Items::Similarity
        | Items::Predict
        | Items::Chat
        | Items::Completion
        | Items::Stream => vec![route.method()],
    }
}
