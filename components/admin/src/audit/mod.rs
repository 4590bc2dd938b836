//! The record of changes: who changed what, and when.
//!
//! A change is recorded before it is made, and again when it is: a change without a record cannot
//! happen, and a record that stays at [`Outcome::Begun`] says that nobody knows how it ended.
//!
//! ```text
//!  brink/audit/1/head         the sequence number that is next, as far as a writer knew
//!  brink/audit/1/0 .. /999    the record whose sequence number leaves that remainder
//! ```
//!
//! | module | answers |
//! | --- | --- |
//! | [`record`] | what is recorded, and what do stored bytes mean? |
//! | `ring` | where is it kept, and what if writers race? |

pub mod record;
mod ring;

use brink_gateway::reply::Reply;
use http::StatusCode;
use serde::Serialize;

pub use record::{Outcome, Record};
pub use ring::{KEPT, slot_key};

use crate::problem::Problem;
use crate::query;
use crate::timestamp::rfc3339;
use crate::world::{Call, World};

/// How many records are shown if the operator does not say.
const SHOWN: usize = 100;

/// Records a change, makes it, and records how it ended. `what` is one line for people.
///
/// # Errors
/// Those of the change; and 503 if it cannot be recorded, before anything is changed.
pub(crate) async fn recorded<T>(
    world: &impl World,
    call: &Call<'_>,
    what: String,
    change: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let mut record = Record::begin(call, &what);
    ring::append(world, &mut record).await?;
    let result = change.await;
    record.outcome = match result {
        Ok(_) => Outcome::Done,
        Err(_) => Outcome::Failed,
    };
    world.log(&record.line());
    if let Err(problem) = ring::finish(world, &mut record).await {
        // The change is made; what stays is a record that does not say so.
        world.log(&format!("the outcome is not recorded: {}", problem.detail));
    }
    result
}

/// A record as answers show it.
#[derive(Serialize)]
struct Shown<'a> {
    sequence: u64,
    at: u64,
    time: String,
    who: &'a str,
    what: &'a str,
    outcome: Outcome,
    request_id: &'a str,
}

impl<'a> From<&'a Record> for Shown<'a> {
    fn from(record: &'a Record) -> Self {
        Self {
            sequence: record.sequence,
            at: record.at.0,
            time: rfc3339(record.at),
            who: &record.who,
            what: &record.what,
            outcome: record.outcome,
            request_id: &record.request_id,
        }
    }
}

/// `GET /admin/audit`: the newest records first.
pub(crate) async fn show(world: &impl World, call: &Call<'_>) -> Result<Reply, Problem> {
    #[derive(Serialize)]
    struct Answer<'a> {
        kept: u64,
        records: Vec<Shown<'a>>,
    }
    let limit = query::limit(call.head.query, SHOWN, KEPT as usize)?;
    let records = ring::newest(world, limit as u64).await?;
    let answer = Answer {
        kept: KEPT,
        records: records.iter().map(Shown::from).collect(),
    };
    let body = serde_json::to_vec(&answer).expect("texts and numbers always serialise");
    Ok(Reply::json(StatusCode::OK, body))
}
