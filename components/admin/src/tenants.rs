//! `/admin/tenants`: who may ask, and putting another table in force. Hashes never leave the store.

use std::num::{NonZeroU32, NonZeroU64};

use brink_cache::tenant::STORE_KEY;
use brink_cache::{Tenant, Tenants};
use brink_gateway::reply::Reply;
use http::StatusCode;
use serde::Serialize;

use crate::policy::parse;
use crate::problem::Problem;
use crate::world::{Call, World};
use crate::{audit, precondition, query};

/// `GET /admin/tenants`
pub(crate) async fn show(world: &impl World, call: &Call<'_>) -> Result<Reply, Problem> {
    query::none(call.head.query)?;
    let Some(bytes) = world.get(STORE_KEY).await? else {
        return Ok(reply(&[], None, None));
    };
    let tenants = Tenants::decode(&bytes).map_err(|error| unreadable(&error.to_string()))?;
    Ok(reply(tenants.list(), Some(&version(&bytes)), None))
}

/// `PUT /admin/tenants`: checks a table and puts it in force; with `dry-run=true` it only checks.
pub(crate) async fn put(world: &impl World, call: &Call<'_>) -> Result<Reply, Problem> {
    let is_dry_run = query::is_dry_run(call.head.query)?;
    let tenants = parse(call.body, Tenants::parse)?;
    let before = check_version(world, call).await?;
    let stored = tenants.encode();
    let next = version(&stored);
    if !is_dry_run {
        let count = tenants.list().len();
        let what = format!("tenants {before} replaced by {next} with {count} tenant(s)");
        audit::recorded(world, call, what, async {
            Ok(world.set(STORE_KEY, stored).await?)
        })
        .await?;
    }
    Ok(reply(tenants.list(), Some(&next), Some(is_dry_run)))
}

/// `DELETE /admin/tenants`: back to what holds without a table.
pub(crate) async fn delete(world: &impl World, call: &Call<'_>) -> Result<Reply, Problem> {
    query::none(call.head.query)?;
    let before = check_version(world, call).await?;
    let what = format!("tenants {before} deleted");
    audit::recorded(world, call, what, async {
        Ok(world.delete(STORE_KEY).await?)
    })
    .await?;
    Ok(reply(&[], None, None))
}

/// The version in force, for the record, once it is the one that the operator expects. What is
/// stored need not be readable: to replace it is how that is mended.
async fn check_version(world: &impl World, call: &Call<'_>) -> Result<String, Problem> {
    let stored = world.get(STORE_KEY).await?;
    let current = stored.map(|bytes| version(&bytes));
    precondition::check(call.head, current.as_deref())?;
    Ok(current.unwrap_or_else(|| "(none)".to_owned()))
}

/// The first 8 bytes of BLAKE3 over the stored form, as for policies.
fn version(stored: &[u8]) -> String {
    let hash = blake3::hash(stored).to_hex();
    hash[..16].to_owned()
}

fn unreadable(error: &str) -> Problem {
    let detail = format!(
        "{error}. While that is so, edges let nobody in, unless their authentication is off. PUT a table, \
         or DELETE this one."
    );
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "unreadable-tenants",
        "The stored table of tenants cannot be read",
        detail,
    )
}

fn reply(list: &[Tenant], version: Option<&str>, is_dry_run: Option<bool>) -> Reply {
    #[derive(Serialize)]
    struct Shown<'a> {
        source: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        dry_run: Option<bool>,
        version: Option<&'a str>,
        tenant_count: usize,
        tenants: Vec<ShownTenant<'a>>,
    }
    let shown = Shown {
        source: if version.is_some() { "stored" } else { "none" },
        dry_run: is_dry_run,
        version,
        tenant_count: list.len(),
        tenants: list.iter().map(ShownTenant::from).collect(),
    };
    let body = serde_json::to_vec(&shown).expect("texts and numbers always serialise");
    let reply = Reply::json(StatusCode::OK, body);
    match version {
        Some(version) => reply.with("etag", precondition::etag(version)),
        None => reply,
    }
}

/// A tenant without its hashes. A limit that is `null` does not exist.
#[derive(Serialize)]
struct ShownTenant<'a> {
    name: &'a str,
    keys: usize,
    limits: ShownLimits,
}

#[derive(Serialize)]
struct ShownLimits {
    requests_per_second: Option<NonZeroU32>,
    burst: Option<NonZeroU32>,
    max_concurrent: Option<NonZeroU32>,
    model_ms_per_minute: Option<NonZeroU64>,
}

impl<'a> From<&'a Tenant> for ShownTenant<'a> {
    fn from(tenant: &'a Tenant) -> Self {
        let limits = tenant.limits;
        let rate = limits.requests_per_second;
        Self {
            name: &tenant.name,
            keys: tenant.key_hashes.len(),
            limits: ShownLimits {
                requests_per_second: rate.map(|rate| rate.per_second),
                burst: rate.map(|rate| rate.burst),
                max_concurrent: limits.max_concurrent,
                model_ms_per_minute: limits.model_ms_per_minute,
            },
        }
    }
}
