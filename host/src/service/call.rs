//! One call: look up, join what is under way, lead the rest, answer in order.

use std::sync::Arc;
use std::time::Duration;

use brink_cache::Outcome;
use brink_protocol::{Fault, InferAnswer, InferReply, InferRequest, InferredItem, Input, Timings};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::Inner;
use super::answer_size::AnswerSize;
use super::error::InferError;
use super::follow::{Following, Role};
use super::lead::{Computed, Led, lead};
use super::model::Model;
use super::plan::Plan;
use super::share::Taken;
use crate::results::Tier;
use crate::results::collapse::Joined;
use crate::results::store::StoredResult;
use crate::telemetry::Trace;

/// A call being answered. Shared with the task that leads its computations, which may outlive it.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) service: Arc<Inner>,
    pub(super) model: Arc<Model>,
    pub(super) request: InferRequest,
    pub(super) plan: Plan,
    pub(super) arrived: Instant,
    pub(super) deadline: Instant,
    /// Who pays for the model's work, if that is limited.
    taken: Option<Arc<Taken>>,
    /// Where its work belongs, if it is recorded.
    pub(super) trace: Option<Trace>,
}

/// A distinct input's result and how it was come by.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    pub(super) result: StoredResult,
    pub(super) outcome: Outcome,
    /// Waiting and computing; zero for a hit.
    pub(super) timings: Timings,
}

impl Call {
    pub(super) fn new(
        service: Arc<Inner>,
        model: Arc<Model>,
        request: InferRequest,
        arrived: Instant,
    ) -> Self {
        let deadline = service.deadline(&request, arrived);
        Self {
            plan: Plan::new(&request),
            service,
            model,
            request,
            arrived,
            deadline,
            taken: None,
            trace: None,
        }
    }

    /// The same call, whose model time is this tenant's.
    pub(super) fn charged_to(self, taken: Option<Arc<Taken>>) -> Self {
        Self { taken, ..self }
    }

    /// The same call, whose work belongs there.
    pub(super) fn traced_in(self, trace: Option<Trace>) -> Self {
        Self { trace, ..self }
    }

    /// Model time that was spent for it.
    pub(super) fn charge(&self, cost: Duration) {
        if let Some(taken) = &self.taken {
            taken.spend(cost);
        }
    }

    pub(super) fn input(&self, distinct: usize) -> &Input {
        &self.request.inputs[self.plan.distinct[distinct].input]
    }

    /// All results, or the fault of the first input that failed.
    pub(super) async fn answer(self: Arc<Self>) -> InferReply {
        let most = self.model.max_output_bytes;
        let mut size = AnswerSize::new(&self.model.info, &self.plan, most)?;
        let mut results = self.look_up();
        let missing = (0..results.len())
            .filter(|index| results[*index].is_none())
            .collect();
        let following = self.join(missing, &mut results)?;
        for (distinct, resolved) in results.iter().enumerate() {
            let bytes = resolved.as_ref().map(|it| it.result.output.len());
            size.add(distinct, bytes.unwrap_or(0))?;
        }
        // Leaving early drops what waits, which takes it back.
        let mut computed: FuturesUnordered<_> =
            following.into_iter().map(Following::resolve).collect();
        let mut errors = Vec::new();
        while let Some((distinct, resolved)) = computed.next().await {
            match resolved {
                Ok(resolved) => {
                    size.add(distinct, resolved.result.output.len())?;
                    results[distinct] = Some(resolved);
                }
                Err(error) => errors.push((distinct, error)),
            }
        }
        self.first_error(errors)?;
        Ok(self.assemble(results))
    }

    fn look_up(&self) -> Vec<Option<Resolved>> {
        let distinct = self.plan.distinct.iter();
        let found = distinct.map(|distinct| {
            let stored = self
                .request
                .look_up
                .then(|| self.service.store.get(&distinct.key));
            stored.flatten().map(Resolved::hit)
        });
        found.collect()
    }

    /// Joins the flights of the inputs that are not stored, and leads where there is none. Inputs
    /// stored meanwhile go to `results`.
    fn join(
        self: &Arc<Self>,
        missing: Vec<usize>,
        results: &mut [Option<Resolved>],
    ) -> Result<Vec<Following>, Fault> {
        let mut following = Vec::with_capacity(missing.len());
        let mut led = Vec::new();
        for distinct in missing {
            let key = self.plan.distinct[distinct].key;
            let joined = self.service.flights.join(key, self.arrived);
            // Dropping what was joined so far gives every duty back.
            let joined = joined.map_err(|error| InferError::from(error).into_fault(None))?;
            let (waiter, role) = match joined {
                Joined::Follower(waiter) => (waiter, Role::Follower),
                Joined::Leader(mut obligation) => {
                    // A flight that ended between look-up and joining has stored its result.
                    let stored = self.request.look_up.then(|| self.service.store.get(&key));
                    if let Some(stored) = stored.flatten() {
                        obligation.fulfil(Ok(Computed::stored(stored.clone(), self.arrived)));
                        results[distinct] = Some(Resolved::hit(stored));
                        continue;
                    }
                    let waiter = obligation.waiter();
                    led.push(Led {
                        distinct,
                        obligation,
                    });
                    (waiter, Role::Leader)
                }
            };
            following.push(Following {
                call: Arc::clone(self),
                distinct,
                waiter,
                role,
            });
        }
        if !led.is_empty() {
            tokio::spawn(lead(Arc::clone(self), led));
        }
        Ok(following)
    }

    /// The fault of the first input that is itself to blame; of any other if none is. An input
    /// that was not computed because another one was refused explains nothing.
    fn first_error(&self, errors: Vec<(usize, InferError)>) -> Result<(), Fault> {
        let blame = |(distinct, error): &(usize, InferError)| {
            let rank = match error {
                InferError::Lost => 2,
                error if error.is_the_leaders_alone() => 1,
                _ => 0,
            };
            (rank, *distinct)
        };
        let Some((distinct, error)) = errors.into_iter().min_by_key(blame) else {
            return Ok(());
        };
        let input = self.plan.distinct[distinct].input;
        let item = u32::try_from(input).ok();
        Err(error
            .clone()
            .into_fault(item.filter(|_| !error.is_the_leaders_alone())))
    }

    fn assemble(&self, results: Vec<Option<Resolved>>) -> InferAnswer {
        let results: Vec<Resolved> = results
            .into_iter()
            .map(|result| result.expect("an input without a result is an error above"))
            .collect();
        let slots = self.plan.slots.iter().enumerate();
        let items: Vec<InferredItem> = slots
            .map(|(input, slot)| {
                let is_first = self.plan.distinct[*slot].input == input;
                results[*slot].item(is_first)
            })
            .collect();
        for item in &items {
            self.service.items.count(Tier::Host, item.outcome, 1);
        }
        let longest = |time: fn(&Timings) -> u32| {
            let times = results.iter().map(|result| time(&result.timings));
            times.max().unwrap_or(0)
        };
        let timings = Timings {
            queue_us: longest(|timings| timings.queue_us),
            inference_us: longest(|timings| timings.inference_us),
        };
        self.log(items.len(), timings);
        InferAnswer {
            items,
            timings,
            model_time: None,
        }
    }

    fn log(&self, items: usize, timings: Timings) {
        tracing::debug!(
            request_id = self.request.request_id,
            model = self.request.model,
            items,
            queue_us = timings.queue_us,
            inference_us = timings.inference_us,
            "a call was answered"
        );
    }
}

impl Resolved {
    fn hit(result: StoredResult) -> Self {
        Self {
            result,
            outcome: Outcome::Hit,
            timings: Timings::default(),
        }
    }

    /// The answer for one input; a repetition in the same call was collapsed onto the first.
    fn item(&self, is_first: bool) -> InferredItem {
        let outcome = match self.outcome {
            Outcome::Hit => Outcome::Hit,
            outcome if is_first => outcome,
            _ => Outcome::Collapsed,
        };
        InferredItem {
            output: self.result.output.clone(),
            tokens: self.result.tokens,
            cost_us: self.result.cost_us,
            outcome,
        }
    }
}
