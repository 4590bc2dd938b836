//! From a request to its answer: who asks, for what, and what every answer carries.

use brink_cache::tenant::AuthError;
use brink_gateway::head::Head;
use brink_gateway::reply::{Exchange, Reply};
use http::StatusCode;

use crate::access::{AdminKeys, KeysError};
use crate::problem::Problem;
use crate::route::Route;
use crate::world::{Call, World};
use crate::{audit, policy, purge, tenants};

/// A request of an operator. Its body may be read now, and not before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// What is asked for.
    pub route: Route,
    /// The name of the admin key.
    pub who: String,
}

/// Why a request is not let in.
#[derive(Clone, Debug, PartialEq)]
pub enum Refused {
    /// The operator of the deployment has to mend the variable. For the log alone: who has no key
    /// learns nothing.
    Misconfigured(KeysError),
    /// For the client.
    Problem(Problem),
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Problem(problem) => problem,
            Refused::Misconfigured(_) => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "misconfigured",
                "The operator's API is not configured correctly",
                "The log of this deployment says what is wrong.",
            ),
        }
    }
}

/// Lets a request in. `admin_key_hashes` is the component's variable.
///
/// # Errors
/// 404 to everything if the API is switched off. 401 without an admin key, whatever is asked for;
/// only then 404 and 405 for what does not exist.
pub fn admit(admin_key_hashes: &str, head: &Head<'_>) -> Result<Admitted, Refused> {
    let keys = AdminKeys::parse(admin_key_hashes).map_err(Refused::Misconfigured)?;
    let keys = keys.ok_or_else(Problem::nothing_here)?;
    let who = keys
        .authenticate(head.get("authorization"))
        .map_err(unauthenticated)?;
    Ok(Admitted {
        route: Route::find(head.method, head.path)?,
        who: who.to_owned(),
    })
}

fn unauthenticated(error: AuthError) -> Problem {
    let detail = match error {
        AuthError::Missing => "Send the header \"Authorization: Bearer <admin key>\".",
        AuthError::Malformed => {
            "The header \"Authorization\" is not of the form \"Bearer <admin key>\"."
        }
        AuthError::Unknown => "The admin key is not known.",
    };
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "unauthenticated",
        "An admin key is needed",
        detail,
    )
    .with("www-authenticate", error.challenge())
}

impl Route {
    /// Answers a request that was let in.
    ///
    /// # Errors
    /// What is wrong with it, or with the store.
    pub async fn answer(self, world: &impl World, call: &Call<'_>) -> Result<Reply, Problem> {
        match self {
            Self::ShowPolicy => policy::show(world, call).await,
            Self::PutPolicy => policy::put(world, call).await,
            Self::DropPolicy => policy::delete(world, call).await,
            Self::ShowTenants => tenants::show(world, call).await,
            Self::PutTenants => tenants::put(world, call).await,
            Self::DropTenants => tenants::delete(world, call).await,
            Self::ShowMarks => purge::show(world, call).await,
            Self::Purge => purge::purge(world, call).await,
            Self::ShowAudit => audit::show(world, call).await,
        }
    }
}

/// The whole answer. No cache keeps it, and no page of another origin may read it: there is no CORS
/// here, since an operator's browser must not be made to purge by a page it visits.
pub fn finish(head: &Head<'_>, request_id: &str, answer: Result<Reply, Problem>) -> Reply {
    let reply = answer.unwrap_or_else(Reply::from);
    let exchange = Exchange {
        request_id: request_id.to_owned(),
        allow_origin: None,
        ..Exchange::of(head, "")
    };
    reply.with("cache-control", "no-store").finish(&exchange)
}
