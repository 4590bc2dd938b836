//! `/admin/purge`: taking stored results back.
//!
//! | module | answers |
//! | --- | --- |
//! | `body` | what is to be purged? |
//! | `write` | how does a mark stay in a store that others write too? |

mod body;
mod write;

use brink_cache::purge::{Mode, Subject};
use brink_cache::{Mark, Marks};
use brink_gateway::reply::Reply;
use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

use crate::problem::{Problem, Wrong};
use crate::request_keys;
use crate::timestamp::rfc3339;
use crate::world::{Call, World};
use crate::{audit, query};
use body::{Purge, What};

pub use write::MAX_ATTEMPTS;

#[derive(Serialize)]
struct Answer {
    /// What this request added, as it is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    added: Option<Vec<Value>>,
    /// How many marks are in force.
    mark_count: usize,
    /// All of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    marks: Option<Vec<Value>>,
}

/// `GET /admin/purge`: every mark, newest first.
pub(crate) async fn show(world: &impl World, call: &Call<'_>) -> Result<Reply, Problem> {
    query::none(call.head.query)?;
    let marks = write::read(world).await?;
    let mut list: Vec<Mark> = marks.iter().collect();
    list.sort_unstable_by(|one, other| {
        (other.at, &one.subject, one.mode).cmp(&(one.at, &other.subject, other.mode))
    });
    Ok(reply(&Answer {
        added: None,
        mark_count: marks.len(),
        marks: Some(list.iter().map(shown).collect()),
    }))
}

/// `POST /admin/purge`
pub(crate) async fn purge(world: &impl World, call: &Call<'_>) -> Result<Reply, Problem> {
    query::none(call.head.query)?;
    let Purge { what, mode } = body::read(call.body)?;
    let (subjects, name) = match what {
        What::Subject(subject) => {
            let name = subject.to_string();
            (vec![subject], name)
        }
        What::Request(request) => {
            let keys = request_keys::of(world, &request).await?;
            let tenant = &request.tenant;
            let name = format!("{} key(s) of a request of tenant {tenant:?}", keys.len());
            (keys.into_iter().map(Subject::Key).collect(), name)
        }
    };
    let mark = |subject| Mark {
        subject,
        at: call.now,
        mode,
    };
    let wanted: Vec<Mark> = subjects.into_iter().map(mark).collect();
    // Before the record begins: what cannot be done is no change that was tried.
    write::check(world, &wanted, call.now).await?;
    let how = mode_name(mode);
    let add = write::add(world, &wanted, call.now);
    audit::recorded(world, call, format!("{how} purge of {name}"), add).await?;
    // Once more, some round trips later: see `write`.
    let marks = write::add(world, &wanted, call.now).await?;
    let added = wanted.iter().map(|mark| shown(&as_stored(mark, &marks)));
    Ok(reply(&Answer {
        added: Some(added.collect()),
        mark_count: marks.len(),
        marks: None,
    }))
}

/// A mark of the same subject may say all that this one does: a harder one of the same time, or a
/// hard one that is newer.
fn as_stored(mark: &Mark, marks: &Marks) -> Mark {
    let says_as_much = |other: &Mark| {
        let is_same_or_harder = other.at == mark.at && other.mode >= mark.mode;
        let is_newer_and_hard = other.at > mark.at && other.mode == Mode::Hard;
        other.subject == mark.subject && (is_same_or_harder || is_newer_and_hard)
    };
    let stored = marks.iter().find(says_as_much);
    stored.unwrap_or_else(|| mark.clone())
}

fn shown(mark: &Mark) -> Value {
    let (member, value) = match &mark.subject {
        Subject::Key(key) => ("key", json!(key.to_hex())),
        Subject::SurrogateKey(label) => ("surrogate_key", json!(label)),
        Subject::Model(name) => ("model", json!(name)),
        Subject::Digest(digest) => ("digest", json!(digest.to_string())),
        Subject::Tenant(name) => ("tenant", json!(name)),
        Subject::All => ("all", json!(true)),
    };
    json!({
        member: value,
        "mode": mode_name(mark.mode),
        "at": mark.at.0,
        "time": rfc3339(mark.at),
    })
}

fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Soft => "soft",
        Mode::Hard => "hard",
    }
}

fn reply(answer: &Answer) -> Reply {
    let body = serde_json::to_vec(answer).expect("texts and numbers always serialise");
    Reply::json(StatusCode::OK, body)
}

/// The policy stores nothing of a request, so there is nothing to purge.
pub(crate) fn nothing_stored() -> Problem {
    let problem = "is one of which the policy in force stores nothing; what an earlier policy stored can be \
                   purged by \"model\", \"tenant\" or \"surrogate_key\"";
    Problem::unprocessable(Wrong::field("request", problem))
}
