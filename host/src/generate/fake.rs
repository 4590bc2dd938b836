//! A model of letters for tests: what it writes next depends on every token that its slot holds, and on nothing
//! else, so a slot that was mixed up shows.

use std::cell::Cell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::config::GenerateConfig;
use super::generator::{Generator, GeneratorOptions};
use super::metrics::GenerateMetrics;
use super::prompt::Prompts;
use super::writing::Language;
use crate::inference::{BackendError, Decoder, Logits, Vocabulary};

/// Ids of letters are below this, which is that of the end.
pub(super) const END: u32 = 26;
/// The model fails where this token comes last.
pub(super) const POISON: u32 = 99;
/// A text that begins so never ends.
pub(crate) const ENDLESS: u32 = 25;
/// What a run takes by itself, and for each token or text.
pub(super) const RUN: Duration = Duration::from_millis(20);
pub(super) const TOKEN: Duration = Duration::from_millis(3);
pub(super) const TEXT: Duration = Duration::from_millis(10);

/// A generator of letters, for tests of what is above it.
pub(crate) fn letters(slots: usize) -> Generator {
    let decoder = Letters::new(slots, 2048, Clock::new());
    let options = GeneratorOptions {
        prompts: Prompts::of_letters(2048, vocabulary(), END),
        kv_memory_bytes: 100_000,
        config: GenerateConfig::default(),
        metrics: GenerateMetrics::default().for_model("letters"),
    };
    Generator::start(Box::new(decoder), options).expect("a thread")
}

/// Letters, then the end.
pub(super) fn vocabulary() -> Vocabulary {
    let letters = (b'a'..=b'z').map(|letter| vec![letter]);
    Vocabulary::new(letters.chain([vec![]]), Vec::new())
}

pub(super) fn language() -> Language {
    Language {
        vocabulary: Arc::new(vocabulary()),
        end_tokens: [END].into(),
    }
}

/// What a test sees of the model.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Tokens that each slot holds.
    pub(super) held: Vec<Vec<u32>>,
    /// Tokens read in each run of a prompt.
    pub(super) pieces: Vec<usize>,
    /// Texts of each step.
    pub(super) steps: Vec<usize>,
    /// Most tokens in all slots.
    pub(super) most: usize,
}

/// A clock that only the model moves.
#[derive(Clone, Debug)]
pub(super) struct Clock(Arc<Mutex<Cell<Instant>>>);

impl Clock {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Cell::new(Instant::now()))))
    }

    pub(super) fn now(&self) -> Instant {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get()
    }

    pub(super) fn advance(&self, time: Duration) {
        let now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        now.set(now.get() + time);
    }
}

#[derive(Debug)]
pub(super) struct Letters {
    pub(super) seen: Arc<Mutex<Seen>>,
    clock: Clock,
    context: usize,
    logits: Vec<f32>,
    order: Vec<usize>,
}

impl Letters {
    pub(super) fn new(slots: usize, context: usize, clock: Clock) -> Self {
        let seen = Seen {
            held: vec![Vec::new(); slots],
            ..Seen::default()
        };
        Self {
            seen: Arc::new(Mutex::new(seen)),
            clock,
            context,
            logits: Vec::new(),
            order: Vec::new(),
        }
    }

    fn see<R>(&self, see: impl FnOnce(&mut Seen) -> R) -> R {
        see(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn read(&self, slot: usize, tokens: &[u32]) -> Vec<f32> {
        self.see(|seen| {
            seen.held[slot].extend(tokens);
            assert!(seen.held[slot].len() <= self.context, "beyond the context");
            let all = seen.held.iter().map(Vec::len).sum();
            seen.most = seen.most.max(all);
            logits(&seen.held[slot])
        })
    }
}

/// Numbers that depend on all of the tokens. The end is not probable, and impossible in a text that begins so.
fn logits(tokens: &[u32]) -> Vec<f32> {
    let number = |id: u32| {
        let mut hasher = DefaultHasher::new();
        (tokens, id).hash(&mut hasher);
        (hasher.finish() % 1000) as f32 / 100.0
    };
    let endless = if tokens[0] == ENDLESS { 1e9 } else { 1.0 };
    let unlikely = |id| if id == END { endless } else { 0.0 };
    (0..=END).map(|id| number(id) - unlikely(id)).collect()
}

impl Decoder for Letters {
    fn slots(&self) -> usize {
        self.see(|seen| seen.held.len())
    }

    fn context(&self) -> usize {
        self.context
    }

    fn token_bytes(&self) -> usize {
        1
    }

    fn prefill(
        &mut self,
        slot: usize,
        tokens: &[u32],
        last: bool,
    ) -> Result<Option<&[f32]>, BackendError> {
        let tokens_time = TOKEN * u32::try_from(tokens.len()).expect("few tokens");
        self.clock.advance(RUN + tokens_time);
        if last && tokens.last() == Some(&POISON) {
            return Err(BackendError::NotFinite);
        }
        self.see(|seen| seen.pieces.push(tokens.len()));
        self.logits = self.read(slot, tokens);
        Ok(last.then_some(&self.logits[..]))
    }

    fn step(&mut self, rows: &[(usize, u32)]) -> Result<Logits<'_>, BackendError> {
        let texts = TEXT * u32::try_from(rows.len()).expect("few texts");
        self.clock.advance(RUN + texts);
        if rows.iter().any(|(_, token)| *token == POISON) {
            return Err(BackendError::NotFinite);
        }
        self.see(|seen| seen.steps.push(rows.len()));
        // In another order than asked for, as a model with rows has it.
        let all: Vec<Vec<f32>> = rows
            .iter()
            .map(|(slot, token)| self.read(*slot, &[*token]))
            .collect();
        self.logits = all.iter().rev().flatten().copied().collect();
        self.order = (0..rows.len()).rev().collect();
        Ok(Logits::new(&self.logits, &self.order))
    }

    fn copy_prefix(&mut self, from: usize, to: usize, tokens: usize) {
        assert_ne!(from, to);
        self.see(|seen| {
            assert!(seen.held[from].len() >= tokens, "it holds less");
            seen.held[to] = seen.held[from][..tokens].to_vec();
        });
    }

    fn truncate(&mut self, slot: usize, tokens: usize) {
        self.see(|seen| seen.held[slot].truncate(tokens));
    }

    fn shrink(&mut self) -> Result<(), BackendError> {
        Ok(())
    }
}
