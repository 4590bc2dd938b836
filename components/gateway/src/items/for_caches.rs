//! Answers to GET, HEAD and QUERY, which browsers and CDNs may keep: with a validator and a lifetime.

use std::fmt::Write;

use brink_cache::http::{EntityTag, IfNoneMatch, groups};
use http::StatusCode;

use super::plan::Plan;
use super::resolved::Hit;
use super::results::Results;
use crate::error::ApiError;
use crate::reply::Reply;

/// The answer, or 304 if the client has it (RFC 9110 §13.1.2).
pub(super) fn reply(plan: &Plan, hits: &[Hit]) -> Result<Reply, ApiError> {
    let tag = tag(plan, hits);
    let own = EntityTag {
        is_weak: true,
        opaque: &tag,
    };
    let has = plan
        .ruling
        .if_none_match()
        .and_then(IfNoneMatch::parse)
        .is_some_and(|given| given.has(Some(&own)));
    let mut reply = if has {
        Reply::empty(StatusCode::NOT_MODIFIED)
    } else {
        plan.request.form.reply(&Results::new(plan, hits))?
    };
    reply = reply.with("etag", format!("W/\"{tag}\""));
    if !plan.may_store() {
        return Ok(reply.with("cache-control", "no-store"));
    }
    let lifetimes = lifetimes(plan, hits);
    Ok(if plan.ruling.is_public() {
        let labels = plan
            .ruling
            .surrogate_keys(&plan.request.model, Some(&plan.model.model().digest));
        let reply = reply
            .with("cache-control", format!("public, {lifetimes}"))
            .with("cdn-cache-control", lifetimes);
        // Whoever purges a label here can purge it there too (RFC 9875 §2).
        match groups::written(&labels) {
            Some(groups) => reply.with("cache-groups", groups),
            None => reply,
        }
    } else {
        // Another client of the same browser may have another API key.
        reply
            .with("cache-control", format!("private, {lifetimes}"))
            .vary("authorization")
    })
}

/// Weak, because a result that is computed anew may differ in its last bits: same inputs, same
/// entries and same form make the same tag. 128 bits of BLAKE3.
fn tag(plan: &Plan, hits: &[Hit]) -> String {
    let mut hasher = blake3::Hasher::new();
    plan.request.form.tag(&mut hasher);
    for place in &plan.place_of {
        hasher.update(plan.distinct[*place].key.as_bytes());
        hasher.update(&hits[*place].created.0.to_le_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// `max-age` counts from when the oldest result was computed, as `Age` does (RFC 9111 §4.2). What is
/// left of it is bounded: asking again is cheap with a tag, and others notice no new model.
fn lifetimes(plan: &Plan, hits: &[Hit]) -> String {
    let stored = hits.iter().filter(|hit| hit.is_stored);
    let age = stored.map(|hit| hit.age.as_secs()).max().unwrap_or(0);
    let left = hits.iter().map(|hit| hit.left).min().unwrap_or(0);
    let most = i64::try_from(plan.ruling.client_max_age().as_secs()).unwrap_or(i64::MAX);
    let left = left.min(most);
    let max_age = age.saturating_add_signed(left);
    let mut value = format!("max-age={max_age}");
    let rule = plan.ruling.lifetimes();
    for (name, window) in [
        ("stale-while-revalidate", rule.stale_while_revalidate),
        ("stale-if-error", rule.stale_if_error),
    ] {
        let window = window.min(plan.ruling.client_max_age());
        if !window.is_zero() {
            write!(value, ", {name}={}", window.as_secs())
                .expect("a text takes whatever is written to it");
        }
    }
    value
}
