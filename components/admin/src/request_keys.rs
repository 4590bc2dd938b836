//! Under which keys a request left its results.

use std::collections::BTreeSet;
use std::sync::Arc;

use brink_cache::{Key, Policy, UnixSeconds, policy};
use brink_gateway::error::ApiError;
use brink_gateway::in_force::{InForce, KnownMarks, Tenancy};
use brink_gateway::stored_keys::{Sent, stored_keys};
use brink_protocol::{Catalog, catalog, message};
use http::StatusCode;

use crate::problem::{Problem, Wrong};
use crate::purge::nothing_stored;
use crate::world::World;

/// A request whose results are to be purged.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Where it was POSTed to.
    pub(crate) path: String,
    /// Its body, as JSON.
    pub(crate) body: String,
    /// Whose request it was.
    pub(crate) tenant: String,
}

/// The keys, by the policy and the models that edges know now; one at least.
pub(crate) async fn of(world: &impl World, asked: &Asked) -> Result<BTreeSet<Key>, Problem> {
    let policy = match world.get(policy::STORE_KEY).await? {
        Some(bytes) => Policy::decode(&bytes).unwrap_or_else(|_| Policy::nothing()),
        None => Policy::default(),
    };
    let in_force = InForce::new(policy, KnownMarks::default(), Tenancy::Open);
    let catalog = known_models(world).await?;
    let tenant = Arc::from(asked.tenant.as_str());
    let sent = Sent {
        path: &asked.path,
        body: asked.body.as_bytes(),
    };
    let keys = stored_keys(sent, &tenant, &Arc::new(in_force), &catalog).map_err(refused)?;
    if keys.is_empty() {
        return Err(nothing_stored());
    }
    Ok(keys)
}

async fn known_models(world: &impl World) -> Result<Arc<Catalog>, Problem> {
    let bytes = world.get(catalog::STORE_KEY).await?;
    let stored = bytes.and_then(|bytes| message::decode::<(UnixSeconds, Catalog)>(&bytes).ok());
    stored.map(|(_, catalog)| Arc::new(catalog)).ok_or_else(|| {
        let detail = "No edge has stored the list of models yet. GET /v1/models once and send this again, or purge by \
                      \"model\".";
        Problem::new(
            StatusCode::CONFLICT,
            "models-unknown",
            "The models are not known here",
            detail,
        )
    })
}

/// What the gateway would tell the client, told to the operator.
fn refused(error: ApiError) -> Problem {
    let field = match &error.param {
        Some(param) => format!("request.body.{param}"),
        None => "request.body".to_owned(),
    };
    let problem = format!("is not what the gateway takes: {}", error.message);
    Problem::unprocessable(Wrong::field(field, problem))
}
