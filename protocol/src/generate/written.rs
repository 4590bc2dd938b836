//! A whole text, as it is stored.

use serde::{Deserialize, Serialize};

use super::{Delta, FinishReason, GenerateEvent, Prompt, TokenLogprob, Usage};

/// The media type of a stored text.
pub const TEXT_MEDIA: &str = "application/vnd.brink.text";

/// Of the stored form. Texts of another one are computed anew.
const VERSION: u8 = 1;

/// One of the texts that a request asks for: the item that has a key of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// What is gone on from.
    pub prompt: Prompt,
    /// Added to the request's seed, so that several texts for one prompt differ.
    pub seed_offset: u32,
}

impl Choice {
    /// The bytes that identify it.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("texts and numbers always serialise")
    }

    /// Reads what [`encode`](Self::encode) has written; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match postcard::take_from_bytes(bytes) {
            Ok((choice, [])) => Some(choice),
            _ => None,
        }
    }
}

/// What a model has written, to its end. Part of a text is none: it is never stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Written {
    /// The text.
    pub text: String,
    /// One for each token, if they were asked for.
    pub logprobs: Vec<TokenLogprob>,
    /// Why nothing more comes.
    pub reason: FinishReason,
    /// What it took.
    pub usage: Usage,
}

impl Written {
    /// The bytes to store.
    pub fn encode(&self) -> Vec<u8> {
        let bytes = vec![VERSION];
        postcard::to_extend(self, bytes).expect("texts and numbers always serialise")
    }

    /// Reads stored bytes; `None` if they are something else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(&[VERSION])?;
        match postcard::take_from_bytes(rest) {
            Ok((written, [])) => Some(written),
            _ => None,
        }
    }

    /// The events that a reader gets who comes when all is written.
    pub fn into_events(self) -> [GenerateEvent; 3] {
        [
            GenerateEvent::Started {
                prompt_tokens: self.usage.prompt_tokens,
                is_shared: true,
            },
            GenerateEvent::Delta(Delta {
                text: self.text,
                tokens: self.usage.completion_tokens,
                logprobs: self.logprobs,
            }),
            GenerateEvent::Finished {
                reason: self.reason,
                usage: self.usage,
            },
        ]
    }
}

/// Collects the events of a stream into a whole text.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Gathering {
    delta: Delta,
}

impl Gathering {
    /// Adds an event; gives the text with the last one. [`Failed`](GenerateEvent::Failed) ends a text that is none.
    pub fn add(&mut self, event: &GenerateEvent) -> Option<Written> {
        match event {
            GenerateEvent::Delta(more) => self.delta.append(more),
            GenerateEvent::Finished { reason, usage } => {
                let Delta { text, logprobs, .. } = std::mem::take(&mut self.delta);
                return Some(Written {
                    text,
                    logprobs,
                    reason: *reason,
                    usage: *usage,
                });
            }
            GenerateEvent::Kept { .. }
            | GenerateEvent::Started { .. }
            | GenerateEvent::Idle
            | GenerateEvent::Failed(_) => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Written {
        Written {
            text: "four five".to_owned(),
            logprobs: Vec::new(),
            reason: FinishReason::Length,
            usage: Usage {
                prompt_tokens: 3,
                completion_tokens: 2,
                ..Usage::default()
            },
        }
    }

    #[test]
    fn a_text_is_what_its_events_make() {
        let mut gathering = Gathering::default();
        let events = written().into_events();
        let gathered: Vec<_> = events.iter().map(|event| gathering.add(event)).collect();
        assert_eq!(gathered, [None, None, Some(written())]);
    }

    #[test]
    fn stored_bytes_are_read_back_and_others_are_none() {
        assert_eq!(Written::decode(&written().encode()), Some(written()));
        let mut cut = written().encode();
        cut.pop();
        assert_eq!(Written::decode(&cut), None);
        assert_eq!(Written::decode(b"four five"), None);
    }

    #[test]
    fn texts_of_version_1_are_still_read() {
        let stored = b"\x01\x09four five\0\x01\x03\0\x02\0\0";
        assert_eq!(Written::decode(stored), Some(written()));
    }

    #[test]
    fn choices_are_read_back() {
        let choice = Choice {
            prompt: Prompt::Tokens(vec![1, 2]),
            seed_offset: 3,
        };
        assert_eq!(Choice::decode(&choice.encode()), Some(choice));
        assert_eq!(Choice::decode(b"\x09"), None);
    }
}
