//! One text while it is written: from logits to text, until it ends.

use std::sync::Arc;

use brink_protocol::generate::{Delta, FinishReason, Logprob, Sampling, TokenLogprob};

use super::sampling::{Chosen, Logprobs, Sampler};
use super::text::Text;
use crate::inference::{BackendError, Vocabulary};

/// What a model's texts have in common.
#[derive(Clone, Debug)]
pub(super) struct Language {
    pub(super) vocabulary: Arc<Vocabulary>,
    /// Tokens that end a text.
    pub(super) end_tokens: Arc<[u32]>,
}

/// A text that is being written.
#[derive(Clone, Debug)]
pub(super) struct Writing {
    sampler: Sampler,
    text: Text,
    language: Language,
    /// Tokens that may still be written.
    left: usize,
    /// Tokens that were written.
    written: u32,
}

/// What a step brought.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Written {
    /// The token, which the model reads next.
    pub(super) token: u32,
    pub(super) delta: Delta,
    /// Why it was the last one.
    pub(super) end: Option<FinishReason>,
}

impl Writing {
    /// `seed` is used where the request brings none; `most` tokens are written at most.
    pub(super) fn new(sampling: Sampling, seed: u64, most: usize, language: Language) -> Self {
        Self {
            text: Text::new(sampling.stop.clone()),
            sampler: Sampler::new(sampling, seed),
            language,
            left: most,
            written: 0,
        }
    }

    /// Tokens that were written so far.
    pub(super) fn written(&self) -> u32 {
        self.written
    }

    /// Writes the next token, by the logits of the vocabulary.
    pub(super) fn step(&mut self, logits: &[f32]) -> Result<Written, BackendError> {
        let chosen = self.sampler.choose(logits)?;
        self.left = self.left.saturating_sub(1);
        self.written += 1;
        let (mut text, mut end) = (String::new(), None);
        if self.language.end_tokens.contains(&chosen.id) {
            end = Some(FinishReason::Stop);
        } else {
            let certain = self.text.push(self.language.vocabulary.bytes(chosen.id));
            text = certain.text;
            if certain.stopped {
                return Ok(self.written_so(chosen, text, Some(FinishReason::Stop)));
            }
            if self.left == 0 {
                end = Some(FinishReason::Length);
            }
        }
        if end.is_some() {
            text.push_str(&self.text.finish());
        }
        Ok(self.written_so(chosen, text, end))
    }

    fn written_so(&self, chosen: Chosen, text: String, end: Option<FinishReason>) -> Written {
        let logprobs = chosen.logprobs.map(|it| self.told(chosen.id, &it));
        Written {
            token: chosen.id,
            delta: Delta {
                text,
                tokens: 1,
                logprobs: logprobs.into_iter().collect(),
            },
            end,
        }
    }

    fn told(&self, chosen: u32, logprobs: &Logprobs) -> TokenLogprob {
        let told = |(id, logprob): (u32, f32)| Logprob {
            id,
            bytes: self.language.vocabulary.bytes(id).to_vec(),
            logprob,
        };
        TokenLogprob {
            chosen: told((chosen, logprobs.chosen)),
            top: logprobs.top.iter().copied().map(told).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a` to `z`, then the end.
    fn language() -> Language {
        let letters = (b'a'..=b'z').map(|letter| vec![letter]);
        Language {
            vocabulary: Arc::new(Vocabulary::new(letters.chain([vec![]]), Vec::new())),
            end_tokens: [26].into(),
        }
    }

    fn write(
        sampling: Sampling,
        most: usize,
        letters: &str,
    ) -> (String, Option<FinishReason>, u32) {
        let mut writing = Writing::new(sampling, 1, most, language());
        let (mut text, mut end) = (String::new(), None);
        for letter in letters.bytes() {
            let mut logits = vec![0.0; 27];
            logits[usize::from(if letter == b'.' { 26 } else { letter - b'a' })] = 100.0;
            let written = writing.step(&logits).expect("numbers");
            text.push_str(&written.delta.text);
            end = written.end;
            if end.is_some() {
                break;
            }
        }
        (text, end, writing.written())
    }

    fn stopping(stop: &str) -> Sampling {
        Sampling {
            stop: vec![stop.to_owned()],
            ..Sampling::default()
        }
    }

    #[test]
    fn text_ends_at_its_end_at_a_stop_string_or_at_its_length() {
        let check = |sampling, most, letters: &str, expected: (&str, FinishReason, u32)| {
            let (text, end, written) = write(sampling, most, letters);
            let (expected, reason, count) = expected;
            assert_eq!((&*text, end, written), (expected, Some(reason), count));
        };
        let plain = Sampling::default();
        check(plain.clone(), 9, "abc.", ("abc", FinishReason::Stop, 4));
        check(plain, 3, "abcd", ("abc", FinishReason::Length, 3));
        check(stopping("cd"), 9, "abcd", ("ab", FinishReason::Stop, 4));
        check(stopping("cd"), 3, "abcd", ("abc", FinishReason::Length, 3));
        check(stopping("cx"), 9, "abc.", ("abc", FinishReason::Stop, 4));
    }

    #[test]
    fn probabilities_are_told_with_the_bytes_of_tokens() {
        let sampling = Sampling {
            logprobs: Some(1),
            ..Sampling::default()
        };
        let mut writing = Writing::new(sampling, 1, 5, language());
        let mut logits = vec![0.0; 27];
        logits[2] = 50.0;
        let written = writing.step(&logits).expect("numbers");
        let [told] = &written.delta.logprobs[..] else {
            panic!("one token")
        };
        assert_eq!((told.chosen.id, &told.chosen.bytes[..]), (2, &b"c"[..]));
        assert_eq!(told.top, std::slice::from_ref(&told.chosen));
    }
}
