//! One turn after another: who enters, which piece of a prompt is read, who gets a token.
//!
//! ```text
//!  turn: let go of what nobody wants -> let in what fits -> one run of the model
//!        (a step of all who write, or a piece of one prompt; by turns if there are both)
//! ```
//!
//! Without a thread and without a clock of its own, so tests run it turn by turn. Between two runs
//! everything may change: texts join, leave, are given up. A prompt that is read while others write is read
//! in pieces that take no longer than a step, so no reader waits much longer for the next token than usual.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::time::Instant;

use super::config::GenerateConfig;
use super::job::{Failure, Job, Running};
use super::metrics::WriterMetrics;
use super::pace::Pace;
use super::slots::{Entry, Move, Occupancy, Slots};
use super::writing::Written;
use crate::inference::{BackendError, Decoder, Logits};

/// A text that is in no slot.
type Waiting = Box<Entry<Running>>;

/// A model, the texts in its slots, and the next ones.
pub(super) struct Engine {
    decoder: Box<dyn Decoder>,
    slots: Slots<Running>,
    /// Texts that made room for another tenant's, in the order in which they did. No more than slots.
    aside: VecDeque<Waiting>,
    /// The one whose turn it is next, until there is room for it.
    next: Option<Waiting>,
    pace: Pace,
    config: GenerateConfig,
    metrics: WriterMetrics,
    /// Whether the last run was a step.
    stepped: bool,
}

/// Where requests come from, and what time it is.
pub(super) trait World {
    /// The request whose turn it is. Fails those that are too late.
    fn next_job(&mut self, now: Instant) -> Option<Job>;

    /// The time.
    fn now(&self) -> Instant;
}

impl Engine {
    pub(super) fn new(
        decoder: Box<dyn Decoder>,
        kv_memory_bytes: usize,
        config: GenerateConfig,
        metrics: WriterMetrics,
    ) -> Self {
        let budget = kv_memory_bytes / decoder.token_bytes().max(1);
        Self {
            // Whatever the budget, one text can be written.
            slots: Slots::new(decoder.slots(), budget.max(decoder.context())),
            decoder,
            aside: VecDeque::new(),
            next: None,
            pace: Pace::default(),
            config,
            metrics,
            stepped: false,
        }
    }

    /// Runs the model once; `false` if there is nothing to run.
    pub(super) fn turn(&mut self, world: &mut dyn World) -> bool {
        self.let_go(world.now());
        self.let_in(world);
        let steps = self.slots.steps();
        match self.slots.next_prompt() {
            Some(slot) if steps.is_empty() || self.stepped => {
                let most = self.config.max_prefill_tokens;
                let piece = match steps.is_empty() {
                    true => most,
                    false => self.pace.chunk(self.config.max_gap_ratio).min(most),
                };
                self.read(slot, piece, world);
                self.stepped = false;
                true
            }
            _ if !steps.is_empty() => {
                self.step(&steps, world);
                self.stepped = true;
                true
            }
            _ => false,
        }
    }

    /// Fails everything, because the host stops.
    pub(super) fn give_up(&mut self) {
        let busy: Vec<usize> = self.slots.busy().map(|(slot, _)| slot).collect();
        for slot in busy {
            self.fail(slot, &Failure::Draining);
        }
        let others = self.aside.drain(..).chain(self.next.take());
        for entry in others {
            self.metrics.ended(Failure::Draining.outcome());
            entry.item.fail(&Failure::Draining);
        }
    }

    /// Gives memory of past runs back.
    pub(super) fn shrink(&mut self) -> Result<(), BackendError> {
        self.decoder.shrink()
    }

    pub(super) fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Slots, and requests that have left the queue and are in none.
    pub(super) fn occupancy(&self) -> (Occupancy, usize) {
        let others = self.aside.len() + usize::from(self.next.is_some());
        (self.slots.occupancy(), others)
    }

    /// Ends what nobody waits for any more.
    fn let_go(&mut self, now: Instant) {
        let busy = self.slots.busy();
        let over = busy.filter_map(|(slot, it)| Some((slot, it.item.failure(now)?)));
        let over: Vec<(usize, Failure)> = over.collect();
        for (slot, failure) in over {
            self.fail(slot, &failure);
        }
        let mut rest = VecDeque::new();
        for entry in self.aside.drain(..) {
            rest.extend(alive(entry, now, &self.metrics));
        }
        self.aside = rest;
        let next = self.next.take();
        self.next = next.and_then(|entry| alive(entry, now, &self.metrics));
    }

    /// Lets in what fits. Who fits not holds up those behind, so that a long text is not overtaken for ever.
    fn let_in(&mut self, world: &mut dyn World) {
        loop {
            let now = world.now();
            while self.next.is_none() {
                let Some(job) = world.next_job(now) else {
                    break;
                };
                self.next = alive(job.into(), now, &self.metrics);
            }
            let Some(entry) = self.candidate() else {
                return;
            };
            let tenant = entry.tenant.clone();
            let Err(entry) = self.enter(entry) else {
                continue;
            };
            let other = self.slots.beyond_its_share(&tenant);
            let room = self.aside.len() < self.slots.len();
            match other.filter(|_| room) {
                Some(slot) => {
                    self.put_aside(slot);
                    self.put_back(entry);
                }
                None => {
                    self.put_back(entry);
                    return;
                }
            }
        }
    }

    /// The one to be let in: whose tenant has fewer slots, and of equals the one that was written already.
    fn candidate(&mut self) -> Option<Waiting> {
        let own = |entry: &Waiting| self.slots.of_tenant(&entry.tenant);
        let from_aside = match (self.aside.front(), &self.next) {
            (Some(aside), Some(next)) => own(aside) <= own(next),
            (aside, _) => aside.is_some(),
        };
        if from_aside {
            self.aside.pop_front()
        } else {
            self.next.take()
        }
    }

    /// To where it came from: what was written already was put aside, and goes first there.
    fn put_back(&mut self, entry: Waiting) {
        if self.next.is_none() && entry.item.first.is_none() {
            self.next = Some(entry);
        } else {
            self.aside.push_front(entry);
        }
    }

    fn enter(&mut self, entry: Waiting) -> Result<(), Waiting> {
        let (slot, moves) = self.slots.enter(entry)?;
        self.carry_out(&moves);
        if let Some(entry) = self.slots.get_mut(slot) {
            let (read, text) = (entry.read, &mut entry.item);
            if text.first.is_none() {
                text.cached_tokens = u32::try_from(read).unwrap_or(u32::MAX);
            }
            self.metrics.found(read);
        }
        Ok(())
    }

    /// Takes a text out of its slot, to go on later. What the model has read of it is kept if nobody needs
    /// the memory.
    fn put_aside(&mut self, slot: usize) {
        if let Some((mut entry, moves)) = self.slots.leave(slot, true) {
            self.carry_out(&moves);
            entry.read = 0;
            self.aside.push_back(entry);
        }
    }

    fn carry_out(&mut self, moves: &[Move]) {
        for change in moves {
            match *change {
                Move::Truncate { slot, tokens } => self.decoder.truncate(slot, tokens),
                Move::Copy { from, to, tokens } => self.decoder.copy_prefix(from, to, tokens),
            }
        }
    }

    /// Reads a piece of a prompt; with its end comes the first token.
    fn read(&mut self, slot: usize, most: usize, world: &dyn World) {
        let Some(entry) = self.slots.get(slot) else {
            return;
        };
        let unread = entry.unread();
        let count = unread.len().min(most.max(1));
        let (piece, last) = (&unread[..count], count == unread.len());
        let began = world.now();
        let decoder = &mut self.decoder;
        let run = guarded(|| decoder.prefill(slot, piece, last));
        let took = world.now() - began;
        let run = match run {
            Ok(logits) => logits.map(<[f32]>::to_vec),
            Err(error) => return self.fail(slot, &Failure::Model(error)),
        };
        self.pace.read(count, took);
        self.metrics.prefilled(count, took);
        self.slots.has_read(slot, count);
        self.charge(slot, took);
        if let Some(logits) = run {
            self.write(slot, &logits, world.now());
        }
    }

    /// Writes a token of every text whose prompt is read. If that fails, one by one: one of them may be to blame.
    fn step(&mut self, rows: &[(usize, u32)], world: &dyn World) {
        let began = world.now();
        let run = guarded(|| self.decoder.step(rows));
        let logits = match run {
            Ok(logits) => logits,
            Err(error) => match rows {
                [(slot, _)] => return self.fail(*slot, &Failure::Model(error)),
                rows => return rows.iter().for_each(|row| self.step(&[*row], world)),
            },
        };
        let now = world.now();
        let took = now - began;
        self.pace.stepped(rows.len(), took);
        self.metrics.stepped(took);
        let share = took / u32::try_from(rows.len()).unwrap_or(u32::MAX);
        let mut written = Vec::with_capacity(rows.len());
        for (row, (slot, _)) in rows.iter().enumerate() {
            self.slots.has_read(*slot, 1);
            written.push(write_token(&mut self.slots, *slot, logits, row));
        }
        for ((slot, _), written) in rows.iter().zip(written) {
            self.charge(*slot, share);
            self.pass_on(*slot, written, now);
        }
    }

    fn charge(&mut self, slot: usize, cost: Duration) {
        if let Some(entry) = self.slots.get_mut(slot) {
            entry.item.charge(cost);
        }
    }

    fn write(&mut self, slot: usize, logits: &[f32], now: Instant) {
        let logits = Logits::new(logits, &[0]);
        let written = write_token(&mut self.slots, slot, logits, 0);
        self.pass_on(slot, written, now);
    }

    /// Gives a token to its reader, and to the model to read next.
    fn pass_on(&mut self, slot: usize, written: Result<Written, BackendError>, now: Instant) {
        let written = match written {
            Ok(written) => written,
            Err(error) => return self.fail(slot, &Failure::Model(error)),
        };
        let Some(entry) = self.slots.get_mut(slot) else {
            return;
        };
        let text = &mut entry.item;
        let is_first = text.first.is_none();
        let since = if is_first { text.arrived } else { text.last };
        self.metrics.wrote(now - since, is_first);
        if is_first {
            text.outbox.start(text.prompt_tokens);
            text.first = Some(now);
        }
        text.last = now;
        text.outbox.write(written.delta);
        match written.end {
            None => entry.tokens.push(written.token),
            Some(reason) => {
                self.metrics.ended(reason.name());
                if let Some(entry) = self.leave(slot, true) {
                    entry.item.finish(reason);
                }
            }
        }
    }

    fn fail(&mut self, slot: usize, failure: &Failure) {
        if let Failure::Model(error) = failure {
            let error = error as &(dyn std::error::Error + 'static);
            tracing::error!(error, "a model failed while it wrote");
        }
        self.metrics.ended(failure.outcome());
        // What a failed run left behind is not trusted.
        let keep = !matches!(failure, Failure::Model(_));
        if let Some(entry) = self.leave(slot, keep) {
            entry.item.fail(failure);
        }
    }

    fn leave(&mut self, slot: usize, keep: bool) -> Option<Waiting> {
        let (entry, moves) = self.slots.leave(slot, keep)?;
        self.carry_out(&moves);
        Some(entry)
    }
}

/// The entry, unless nobody waits for it any more.
fn alive(entry: Waiting, now: Instant, metrics: &WriterMetrics) -> Option<Waiting> {
    match entry.item.failure(now) {
        None => Some(entry),
        Some(failure) => {
            metrics.ended(failure.outcome());
            entry.item.fail(&failure);
            None
        }
    }
}

fn write_token(
    slots: &mut Slots<Running>,
    slot: usize,
    logits: Logits<'_>,
    row: usize,
) -> Result<Written, BackendError> {
    let entry = slots.get_mut(slot).ok_or(BackendError::Payload)?;
    entry.item.writing.step(logits.row(row))
}

/// A defect of the model's code costs the texts of a run, and not the thread.
fn guarded<R>(run: impl FnOnce() -> Result<R, BackendError>) -> Result<R, BackendError> {
    let result = catch_unwind(AssertUnwindSafe(run));
    result.unwrap_or_else(|panic| Err(BackendError::Panicked(message(&*panic).into())))
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests;
