//! Waiting for a result, and leading when the leader is gone or takes too long.

use std::sync::Arc;

use brink_cache::Outcome;
use brink_protocol::Timings;
use tokio::time::{Instant, timeout_at};

use super::call::{Call, Resolved};
use super::error::InferError;
use super::lead::{Answer, Computed, Led, lead, micros};
use crate::results::collapse::{Obligation, Verdict, Waiter};

/// What a request is in a flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Leader,
    Follower,
}

/// A distinct input whose result is under way.
pub(super) struct Following {
    pub(super) call: Arc<Call>,
    pub(super) distinct: usize,
    pub(super) waiter: Waiter<Answer>,
    pub(super) role: Role,
}

impl Following {
    /// The result, with the index of its input. All inputs of a call wait at once: a duty given
    /// to one must not lie there while another one is waited for.
    pub(super) async fn resolve(self) -> (usize, Result<Resolved, InferError>) {
        let Self {
            call,
            distinct,
            waiter,
            role,
        } = self;
        (distinct, wait(&call, distinct, waiter, role).await)
    }
}

async fn wait(
    call: &Arc<Call>,
    distinct: usize,
    mut waiter: Waiter<Answer>,
    mut role: Role,
) -> Result<Resolved, InferError> {
    loop {
        let obligation = match timeout_at(patience(call, role), waiter.verdict()).await {
            Ok(Verdict::Done(answer)) => {
                return answer.map(|it| resolved(call, distinct, role, it));
            }
            Ok(Verdict::Lost) => return Err(InferError::Lost),
            Ok(Verdict::Lead(obligation)) => obligation,
            Err(_) if Instant::now() >= call.deadline => return Err(InferError::DeadlineExceeded),
            Err(_) => {
                let key = call.plan.distinct[distinct].key;
                call.service.flights.lead(key, Instant::now())?
            }
        };
        waiter = take_over(call, distinct, obligation);
        role = Role::Leader;
    }
}

/// A leader waits for its own work until its deadline; a follower not so long, to have time left
/// for leading itself.
fn patience(call: &Call, role: Role) -> Instant {
    match role {
        Role::Leader => call.deadline,
        Role::Follower => call
            .deadline
            .min(call.arrived + call.service.results.max_follower_wait),
    }
}

fn take_over(
    call: &Arc<Call>,
    distinct: usize,
    mut obligation: Obligation<Answer>,
) -> Waiter<Answer> {
    let waiter = obligation.waiter();
    let led = Led {
        distinct,
        obligation,
    };
    tokio::spawn(lead(Arc::clone(call), vec![led]));
    waiter
}

fn resolved(call: &Call, distinct: usize, role: Role, computed: Computed) -> Resolved {
    if call.request.store && !computed.is_stored {
        // The leader's request forbade keeping it; this one does not.
        let key = call.plan.distinct[distinct].key;
        call.service.store.insert(key, computed.result.clone());
    }
    Resolved {
        outcome: match role {
            Role::Follower => Outcome::Collapsed,
            Role::Leader if call.request.look_up => Outcome::Miss,
            Role::Leader => Outcome::Bypass,
        },
        timings: Timings {
            queue_us: micros(computed.started.saturating_duration_since(call.arrived)),
            inference_us: micros(computed.ran),
        },
        result: computed.result,
    }
}
