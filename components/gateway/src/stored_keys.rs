//! Under which keys the results of a request are kept, for operators who purge them.

use std::collections::BTreeSet;
use std::sync::Arc;

use brink_cache::{Key, RequestControl};
use brink_protocol::Catalog;

use crate::error::ApiError;
use crate::forms::openai;
use crate::in_force::{Caller, InForce};
use crate::items::{Bound, Plan, Prefixes};
use crate::route::Verb;
use crate::ruling::{Asked, Ruling};

/// The keys of what a request for embeddings left in stores; none where the policy stores
/// nothing of it. `body` is that of a `POST /v1/embeddings`.
///
/// Rules may tell methods apart, and the same request can come as POST, QUERY and GET: the keys of
/// all of them are given. They are those of the model as `catalog` has it, and of the policy as it
/// is now: results that an earlier policy keyed otherwise are not found again by anybody.
///
/// # Errors
/// What the gateway would refuse too: a body that is no request, an unknown model.
pub fn stored_keys(
    body: &[u8],
    tenant: &Arc<str>,
    in_force: &Arc<InForce>,
    catalog: &Arc<Catalog>,
) -> Result<BTreeSet<Key>, ApiError> {
    let request = openai::parse(body)?;
    let written = request.model.clone();
    let request = request.for_model(in_force.policy());
    let model = Bound::find(catalog, &request.model, None)?;
    let task = model.model().task();
    let prefixes = Prefixes::default();
    let mut keys = BTreeSet::new();
    for verb in [Verb::Post, Verb::Query, Verb::Get] {
        let asked = Asked::own(
            verb.method(),
            "/v1/embeddings",
            task,
            Caller::unlimited(tenant.clone()),
        );
        let ruling = Ruling::new(in_force, asked, &written);
        let control = RequestControl::parse("");
        let plan = Plan::new(request.clone(), model.clone(), ruling, control, &prefixes)?;
        keys.extend(plan.keys().copied());
    }
    Ok(keys)
}
