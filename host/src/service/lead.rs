//! The leader's task: brings the results that a call owes, also to itself.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::call::Call;
use super::error::InferError;
use crate::batch::{Inferred, Pending, Submission};
use crate::inference::{InputError, Payload};
use crate::results::collapse::Obligation;
use crate::results::store::StoredResult;

/// Calls of up to so many bytes of text are read where they are led. Some 0.3 ms at most, which is no
/// longer than a component computes there, and cheaper than waking another thread.
const READ_HERE: usize = 1024;

/// Bytes of text that are read before others have their turn: some 10 ms. Of pictures, as many bytes, at least 4 KiB each.
const READ_AT_A_TIME: usize = 32 * 1024;

/// Inputs, and what a session reads of them.
type Reading = (Vec<Led>, Vec<Result<Payload, InputError>>);

/// What all who wait for a result get.
pub(super) type Answer = Result<Computed, InferError>;

/// A result and what bringing it took.
#[derive(Clone, Debug)]
pub(super) struct Computed {
    pub(super) result: StoredResult,
    /// Whether the leader was allowed to keep it.
    pub(super) is_stored: bool,
    /// When the model began.
    pub(super) started: Instant,
    /// How long the run took.
    pub(super) ran: Duration,
}

impl Computed {
    /// A result that another leader stored a moment ago.
    pub(super) fn stored(result: StoredResult, now: Instant) -> Self {
        Self {
            result,
            is_stored: true,
            started: now,
            ran: Duration::ZERO,
        }
    }
}

/// An input whose result is owed.
#[derive(Debug)]
pub(super) struct Led {
    pub(super) distinct: usize,
    pub(super) obligation: Obligation<Answer>,
}

/// Reads, queues and waits for the model. However it ends, every obligation is fulfilled,
/// given back or dropped, which gives it back too.
pub(super) async fn lead(call: Arc<Call>, led: Vec<Led>) {
    let bytes = |led: &Led| call.model.reader.decoded_bytes(call.input(led.distinct));
    let bytes = led.iter().map(bytes).sum();
    let room = match call.service.room.take(bytes, call.deadline).await {
        Ok(room) => room,
        Err(error) => return give_back(led, &error),
    };
    let Some((led, payloads)) = read(&call, led).await else {
        return;
    };
    let (led, payloads): (Vec<_>, Vec<_>) = led
        .into_iter()
        .zip(payloads)
        .filter(|(led, _)| !led.obligation.is_abandoned())
        .unzip();
    let submission = Submission {
        tenant: call.request.tenant.as_str().into(),
        urgency: call.request.urgency,
        now: Instant::now(),
        deadline: call.deadline,
    };
    let Some(pool) = call.model.pool.batches() else {
        // A call for results of a model that writes was refused before.
        return;
    };
    let submitted = pool.submit_under(call.trace.as_ref(), payloads, submission);
    // From here on the queue counts them.
    drop(room);
    match submitted {
        Err(error) => give_back(led, &error.into()),
        Ok(pending) => {
            let pairs = led.into_iter().zip(pending);
            let mut finishing: FuturesUnordered<_> = pairs
                .map(|(led, pending)| finish(&call, led, pending))
                .collect();
            while finishing.next().await.is_some() {}
        }
    }
}

/// Leaves it to others, who may do better.
fn give_back(led: Vec<Led>, error: &InferError) {
    for led in led {
        led.obligation.give_back(Err(error.clone()));
    }
}

/// What a session reads of every input, or `None` if one of them was refused: the call fails then, and the
/// others are not worth a model run to anybody but their followers, who get the duty.
async fn read(call: &Arc<Call>, led: Vec<Led>) -> Option<(Vec<Led>, Vec<Payload>)> {
    let effort = |led: &Led| call.model.reader.effort(call.input(led.distinct));
    let (led, read) = if led.iter().map(effort).sum::<usize>() <= READ_HERE {
        let read = read_all(call, &led);
        (led, read)
    } else {
        read_in_turns(call, led).await?
    };
    if read.iter().all(Result::is_ok) {
        return Some((led, read.into_iter().flatten().collect()));
    }
    for (led, read) in led.into_iter().zip(read) {
        if let Err(error) = read {
            led.obligation.fulfil(Err(error.into()));
        }
    }
    None
}

/// Reads on threads that may wait, so much at a time: then other calls have their turn. Stops when the call's
/// time is over, or when nobody waits for any of it.
async fn read_in_turns(call: &Arc<Call>, mut led: Vec<Led>) -> Option<Reading> {
    let mut read = Vec::with_capacity(led.len());
    while read.len() < led.len() {
        if Instant::now() >= call.deadline {
            give_back(led, &InferError::DeadlineExceeded);
            return None;
        }
        if led.iter().all(|led| led.obligation.is_abandoned()) {
            return None;
        }
        let permit = Arc::clone(&call.service.reading)
            .acquire_owned()
            .await
            .ok()?;
        let (shared, from) = (Arc::clone(call), read.len());
        let turn = move || {
            let _permit = permit;
            let mut effort = 0;
            let within = led[from..].iter().take_while(|led| {
                let before = effort;
                effort += shared.model.reader.effort(shared.input(led.distinct));
                before < READ_AT_A_TIME
            });
            let to = from + within.count();
            let part = read_all(&shared, &led[from..to]);
            (led, part)
        };
        // A panic drops the obligations, which gives them back.
        let (back, part) = tokio::task::spawn_blocking(turn).await.ok()?;
        led = back;
        read.extend(part);
    }
    Some((led, read))
}

fn read_all(call: &Call, led: &[Led]) -> Vec<Result<Payload, InputError>> {
    let read = |led: &Led| {
        let input = call.input(led.distinct);
        call.model.reader.read(input, call.request.truncate)
    };
    led.iter().map(read).collect()
}

/// Waits for one result. Work that nobody waits for is taken back, unless it is in a run already:
/// then its result is paid for and is kept.
async fn finish(call: &Call, led: Led, mut pending: Pending) {
    let outcome = tokio::select! {
        biased;
        outcome = pending.outcome() => outcome,
        () = led.obligation.abandoned() => match pending.cancel() {
            None => return,
            Some(mut running) => running.outcome().await,
        },
    };
    match outcome {
        Ok(inferred) => {
            let computed = keep(call, &led, inferred);
            led.obligation.fulfil(Ok(computed));
        }
        Err(error) => {
            let error = InferError::from(error);
            if error.is_the_leaders_alone() {
                led.obligation.give_back(Err(error));
            } else {
                led.obligation.fulfil(Err(error));
            }
        }
    }
}

/// Stores a result, before the flight ends: whoever finds no flight finds the result.
fn keep(call: &Call, led: &Led, inferred: Inferred) -> Computed {
    call.charge(inferred.cost);
    let result = StoredResult {
        output: inferred.output,
        // Other models read no tokens; their sizes are for batches.
        tokens: call.model.info.text().map_or(0, |_| inferred.size),
        cost_us: micros(inferred.cost),
    };
    if call.request.store {
        call.service
            .store
            .insert(led.obligation.key(), result.clone());
    }
    Computed {
        result,
        is_stored: call.request.store,
        started: inferred.started,
        ran: inferred.ran,
    }
}

/// Microseconds as the protocol carries them; more than an hour is an hour.
pub(super) fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}
