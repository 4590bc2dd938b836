//! A source of tokens at a pace, which stands in for a model where what brings text to clients is measured.
//!
//! Only with `live.paced_source`. A prompt of a text that begins with `paced ` asks for it, whatever the model; over a
//! WebSocket an operation of its own does. Everything between it and the client is what a model's text goes through.
//!
//! A token is the time at which it was due, in milliseconds, so that another process on the same machine can tell how old
//! it is.

use std::time::Duration;

use brink_protocol::generate::{Delta, FinishReason, GenerateEvent, Prompt, Usage};
use serde::Deserialize;
use tokio::time::Instant;

/// What a prompt begins with that asks for paced tokens; a [`PacedAt`] in JSON follows.
const PROMPT: &str = "paced ";

/// How fast tokens come, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PacedAt {
    /// Tokens per second.
    rate: u32,
    /// Tokens in all.
    tokens: u32,
    /// Whether each is sent by itself, for comparison.
    #[serde(default)]
    every: bool,
}

const MAX_RATE: u32 = 1_000;
const MAX_TOKENS: u32 = 1_000_000;

impl PacedAt {
    /// Reads `{"rate":4,"tokens":100,"every":false}`.
    ///
    /// # Errors
    /// What is wrong with it, by name.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let pace: Self = serde_json::from_str(text)
            .map_err(|_| "a pace has rate, tokens and every".to_owned())?;
        pace.checked()
    }

    fn checked(self) -> Result<Self, String> {
        if !(1..=MAX_RATE).contains(&self.rate) {
            return Err(format!("rate is not from 1 to {MAX_RATE}"));
        }
        if !(1..=MAX_TOKENS).contains(&self.tokens) {
            return Err(format!("tokens is not from 1 to {MAX_TOKENS}"));
        }
        Ok(self)
    }

    /// Whether each token is sent by itself.
    pub fn sends_every(&self) -> bool {
        self.every
    }

    /// The pace that a prompt asks for; `None` for any other prompt.
    pub fn wanted(prompt: &Prompt) -> Option<Result<Self, String>> {
        match prompt {
            Prompt::Text(text) => text.strip_prefix(PROMPT).map(Self::from_json),
            Prompt::Messages(_) | Prompt::Tokens(_) => None,
        }
    }
}

/// Tokens until there are enough. What is due is there, whether or not anybody reads.
#[derive(Debug)]
pub struct PacedTokens {
    pace: PacedAt,
    start: Instant,
    /// The wall clock at the start, in milliseconds.
    since_ms: u64,
    made: u32,
}

impl PacedTokens {
    /// From now on.
    pub fn new(pace: PacedAt) -> Self {
        Self {
            pace,
            start: Instant::now(),
            since_ms: now_ms(),
            made: 0,
        }
    }

    /// The tokens that are due, or the next one with `every`, and how many; waits for the first. `None` when there are
    /// enough. Nothing is lost if this is dropped while it waits.
    pub async fn next(&mut self) -> Option<(String, u32)> {
        if self.made >= self.pace.tokens {
            return None;
        }
        let interval = Duration::from_secs(1) / self.pace.rate;
        tokio::time::sleep_until(self.start + interval * (self.made + 1)).await;
        let due = self.start.elapsed().as_nanos() / interval.as_nanos();
        let due = u32::try_from(due)
            .unwrap_or(u32::MAX)
            .clamp(self.made + 1, self.pace.tokens);
        let last = if self.pace.every { self.made + 1 } else { due };
        let mut text = String::new();
        for number in self.made + 1..=last {
            let after = u64::try_from((interval * number).as_millis()).unwrap_or(u64::MAX);
            push_token(&mut text, self.since_ms.wrapping_add(after));
        }
        let count = last - self.made;
        self.made = last;
        Some((text, count))
    }
}

/// A space and six digits: milliseconds to base 36. They repeat after 25 days.
fn push_token(out: &mut String, mut rest: u64) {
    let mut token = *b"       ";
    for digit in token[1..].iter_mut().rev() {
        *digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[(rest % 36) as usize];
        rest /= 36;
    }
    out.push_str(&String::from_utf8_lossy(&token));
}

#[expect(
    clippy::disallowed_methods,
    reason = "another process reads the same clock to tell the age of a token"
)]
fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// Paced tokens as the events of a text.
#[derive(Debug)]
pub struct PacedText {
    tokens: PacedTokens,
    has_started: bool,
    has_ended: bool,
}

impl PacedText {
    /// From now on.
    pub fn new(pace: PacedAt) -> Self {
        Self {
            tokens: PacedTokens::new(pace),
            has_started: false,
            has_ended: false,
        }
    }

    /// The next event; `None` after the last.
    pub async fn next(&mut self) -> Option<GenerateEvent> {
        if !self.has_started {
            self.has_started = true;
            return Some(GenerateEvent::Started {
                prompt_tokens: 1,
                is_shared: false,
            });
        }
        if let Some((text, tokens)) = self.tokens.next().await {
            return Some(GenerateEvent::Delta(Delta {
                text,
                tokens,
                logprobs: Vec::new(),
            }));
        }
        let is_last = !self.has_ended;
        self.has_ended = true;
        is_last.then(|| GenerateEvent::Finished {
            reason: FinishReason::Length,
            usage: Usage {
                prompt_tokens: 1,
                completion_tokens: self.tokens.made,
                ..Usage::default()
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(json: &str) -> PacedAt {
        PacedAt::from_json(json).expect("a pace")
    }

    #[test]
    fn a_pace_has_limits() {
        let check = |json: &str, expected: &str| {
            let error = PacedAt::from_json(json).expect_err(json);
            assert!(error.contains(expected), "{json}: {error}");
        };
        check(r#"{"rate":1001,"tokens":1}"#, "rate is not from 1 to 1000");
        check(r#"{"rate":1,"tokens":0}"#, "tokens");
        check(r#"{"rate":4}"#, "rate, tokens and every");
        check(
            r#"{"rate":4,"tokens":8,"speed":1}"#,
            "rate, tokens and every",
        );
        let prompt = Prompt::Text(r#"paced {"rate":4,"tokens":8}"#.to_owned());
        let wanted = PacedAt::wanted(&prompt).expect("it is asked for");
        assert_eq!(wanted, Ok(pace(r#"{"rate":4,"tokens":8}"#)));
        assert_eq!(PacedAt::wanted(&Prompt::Text("pace".to_owned())), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_due_comes_together_unless_each_is_wanted() {
        let mut merged = PacedTokens::new(pace(r#"{"rate":100,"tokens":10}"#));
        tokio::time::advance(Duration::from_millis(45)).await;
        let (text, count) = merged.next().await.expect("tokens");
        assert_eq!((text.len(), count), (28, 4));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(merged.next().await.expect("the rest").1, 6);
        assert_eq!(merged.next().await, None);

        let mut each = PacedTokens::new(pace(r#"{"rate":100,"tokens":3,"every":true}"#));
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..3 {
            assert_eq!(each.next().await.expect("a token").1, 1);
        }
        assert_eq!(each.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_text_has_a_beginning_and_an_end() {
        let mut text = PacedText::new(pace(r#"{"rate":1000,"tokens":5}"#));
        let mut events = Vec::new();
        while let Some(event) = text.next().await {
            events.push(event);
        }
        assert!(matches!(events[0], GenerateEvent::Started { .. }));
        let Some(GenerateEvent::Finished { usage, .. }) = events.last() else {
            panic!("{events:?}");
        };
        assert_eq!(usage.completion_tokens, 5);
    }
}
