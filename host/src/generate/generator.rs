//! The door to a model that writes: admission, waiting, shutdown.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use brink_protocol::generate::{GenerateEvent, Sampling};
use brink_protocol::{Fault, FaultCode};
use tokio::sync::watch;
use tokio::time::Instant;

use super::config::GenerateConfig;
use super::driver;
use super::engine::Engine;
use super::job::{Failure, Job, Running};
use super::metrics::WriterMetrics;
use super::outbox::{Reader, outbox};
use super::prompt::{Prompts, ReadPrompt};
use super::writing::Writing;
use crate::batch::{Bound, Claim, CostModel, Full, Load, Queue, Ticket};
use crate::inference::Decoder;

/// Told while nothing was measured.
const SOON: Duration = Duration::from_secs(1);
/// The longest time told: a minute from now everything may be different.
const MAX_RETRY: Duration = Duration::from_secs(60);

/// A model that writes. Dropping it ends its thread; what it has not written then fails.
#[derive(Debug)]
pub struct Generator {
    prompts: Arc<Prompts>,
    max_timeout: Duration,
    shared: Arc<Shared>,
}

/// What a generator is made of.
pub struct GeneratorOptions {
    /// How prompts are read.
    pub prompts: Prompts,
    /// Most memory of the slots, in bytes.
    pub kv_memory_bytes: usize,
    /// Limits.
    pub config: GenerateConfig,
    /// What to count into.
    pub metrics: WriterMetrics,
}

/// A prompt that is to be gone on from.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Who asks. Slots are shared fairly between tenants.
    pub tenant: Arc<str>,
    /// How urgent it is among the tenant's requests, as in RFC 9218: 0 the most, 7 the least.
    pub urgency: u8,
    /// The prompt.
    pub prompt: ReadPrompt,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// When the request came.
    pub arrived: Instant,
    /// When its text is of no use any more.
    pub deadline: Instant,
}

/// What callers and the model's thread share.
#[derive(Debug)]
pub(super) struct Shared {
    /// Held for microseconds; no run happens under it.
    pub(super) state: Mutex<State>,
    /// Signalled when a request comes or the state changes. The thread waits on it.
    pub(super) changed: Condvar,
    /// Whether the thread runs.
    pub(super) alive: watch::Sender<bool>,
    pub(super) metrics: WriterMetrics,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) queue: Queue<Job>,
    /// Nothing is admitted any more; the thread ends when everything is written.
    pub(super) closed: bool,
    /// What is not written yet is given up.
    pub(super) given_up: bool,
    /// How long a token takes, all texts together, as measured.
    pub(super) token_time: Option<Duration>,
}

impl Generator {
    /// Starts the model's thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(decoder: Box<dyn Decoder>, options: GeneratorOptions) -> io::Result<Self> {
        let GeneratorOptions {
            prompts,
            kv_memory_bytes,
            config,
            metrics,
        } = options;
        let limits = config.queue_limits(decoder.context());
        let costs = CostModel::new(&limits);
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                queue: Queue::new(limits, costs),
                closed: false,
                given_up: false,
                token_time: None,
            }),
            changed: Condvar::new(),
            alive: watch::Sender::new(true),
            metrics: metrics.clone(),
        });
        let (max_timeout, idle_shrink_after) = (config.max_timeout, config.idle_shrink_after);
        let engine = Engine::new(decoder, kv_memory_bytes, config, metrics);
        driver::start(Arc::clone(&shared), engine, idle_shrink_after)?;
        Ok(Self {
            prompts: Arc::new(prompts),
            max_timeout,
            shared,
        })
    }

    /// How prompts are read.
    pub fn prompts(&self) -> Arc<Prompts> {
        Arc::clone(&self.prompts)
    }

    /// Longest time that a text may take.
    pub fn max_timeout(&self) -> Duration {
        self.max_timeout
    }

    /// Queues a request.
    ///
    /// # Errors
    /// When as many wait as may, or the host is stopping. It is told at once, with a time to come back.
    pub fn submit(&self, submission: Submission) -> Result<Answer, Fault> {
        let Submission {
            tenant,
            urgency,
            prompt,
            sampling,
            arrived,
            deadline,
        } = submission;
        let reserved = prompt.tokens.len() + prompt.most;
        let load = Load {
            items: 1,
            tokens: reserved,
            bytes: size_of_val(prompt.tokens.as_slice()),
        };
        let mut state = self.shared.lock();
        if state.closed {
            return Err(draining());
        }
        if let Err(full) = state.queue.check_room(&tenant, load) {
            let fault = refusal(&full, state.retry_after(&full));
            drop(state);
            self.shared.metrics.ended("refused");
            return Err(fault);
        }
        let (writer, reader) = outbox();
        let seed = RandomState::new().hash_one(());
        let job = Job {
            tenant: Arc::clone(&tenant),
            reserved,
            text: Running {
                writing: Writing::new(sampling, seed, prompt.most, self.prompts.language()),
                outbox: writer,
                arrived,
                deadline,
                prompt_tokens: u32::try_from(prompt.tokens.len()).unwrap_or(u32::MAX),
                cached_tokens: 0,
                first: None,
                last: arrived,
                cost: Duration::ZERO,
            },
            tokens: prompt.tokens,
        };
        let claim = Claim {
            tenant: &tenant,
            urgency,
            size: reserved,
            bytes: load.bytes,
            arrived,
            deadline,
            start_by: deadline,
            expected: None,
        };
        let ticket = state.queue.push(job, claim);
        drop(state);
        self.shared.changed.notify_all();
        Ok(Answer {
            reader,
            ticket,
            shared: Arc::clone(&self.shared),
        })
    }

    /// Whether the thread runs and requests are let in.
    pub fn is_ready(&self) -> bool {
        !self.shared.lock().closed && *self.shared.alive.borrow()
    }

    /// Lets nothing more in and returns when everything is written, or at the deadline; what is not written
    /// then fails.
    pub async fn drain(&self, deadline: Instant) {
        self.shared.change(|state| state.closed = true);
        let mut alive = self.shared.alive.subscribe();
        let ended = alive.wait_for(|alive| !alive);
        if tokio::time::timeout_at(deadline, ended).await.is_err() {
            self.shared.change(|state| state.given_up = true);
        }
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.shared.change(|state| {
            state.closed = true;
            state.given_up = true;
        });
    }
}

impl Shared {
    /// A panic under the lock would be a defect of the queue; what it holds is still the best there is, and
    /// readers must get an answer.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Fails what waits.
    pub(super) fn fail_waiting(&self, failure: &Failure) {
        let jobs = self.lock().queue.clear();
        for job in jobs {
            self.metrics.ended(failure.outcome());
            job.text.fail(failure);
        }
    }
}

impl State {
    /// When there will be room, by the measured pace: so much of what waits has to be written first.
    fn retry_after(&self, full: &Full) -> Duration {
        let waiting = self.queue.load().tokens as f64 * full.excess;
        let time = self.token_time.map(|time| time.mul_f64(waiting));
        time.map_or(SOON, |time| time.clamp(SOON, MAX_RETRY))
    }
}

/// A text that is being written. Dropping it gives it up: it leaves the queue at once, or its slot before the
/// next step.
#[derive(Debug)]
pub struct Answer {
    reader: Reader,
    ticket: Ticket,
    shared: Arc<Shared>,
}

impl Answer {
    /// The next event; `None` after the last. What happened since the one before is one event. Nothing is lost
    /// if this is dropped while it waits.
    pub async fn next(&mut self) -> Option<GenerateEvent> {
        self.reader.next().await
    }

    /// The model's time for it so far.
    pub fn cost(&self) -> Duration {
        self.reader.cost()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let waiting = self.shared.lock().queue.remove(self.ticket);
        if waiting.is_some() {
            self.shared.metrics.ended(Failure::Abandoned.outcome());
        }
    }
}

fn refusal(full: &Full, retry_after: Duration) -> Fault {
    let (code, whose) = match full.bound {
        Bound::Model => (FaultCode::Overloaded, ""),
        Bound::Tenant => (FaultCode::TooManyInFlight, " of this tenant"),
    };
    Fault {
        code,
        message: format!(
            "{} requests{whose} are waiting for the model already (generate.max_waiting)",
            full.waiting
        ),
        item: None,
        retry_after_ms: u32::try_from(retry_after.as_millis()).ok(),
    }
}

fn draining() -> Fault {
    Fault {
        code: FaultCode::Overloaded,
        message: "the host is shutting down".to_owned(),
        item: None,
        retry_after_ms: u32::try_from(SOON.as_millis()).ok(),
    }
}

#[cfg(test)]
mod tests;
