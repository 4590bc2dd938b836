//! Text and token arrays to the ids that the model reads.
//!
//! A tokenizer file may ask for padding and truncation. Both are switched off: the batch decides
//! the padding, and an input above the model's limit is an error unless its request asks for
//! truncation.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use brink_protocol::{TextLimits, Token};

use super::InputError;
use super::vocabulary::Vocabulary;

/// A text that every vocabulary has tokens for. Shows which special tokens the model expects.
const PROBE: &str = "a";

/// The model's limits on its input.
pub type TokenLimits = TextLimits;

/// The tokenizer of one model. Shared by threads; encoding locks nothing.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    limits: TokenLimits,
    /// Special tokens before a text, `[CLS]` for BERT.
    prefix: Vec<u32>,
    /// Special tokens after a text, `[SEP]` for BERT.
    suffix: Vec<u32>,
    /// The same tokenizer, to which special tokens are text like any other. Made when it is first needed:
    /// few prompts spell one out.
    literal: OnceLock<Box<tokenizers::Tokenizer>>,
}

/// A part of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromptPiece {
    /// Text in which special tokens are what they say.
    Text(String),
    /// Text that only looks like a special token.
    Literal(String),
}

/// Why there is no tokenizer.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The file is missing or no tokenizer.
    #[error("the tokenizer {} cannot be used", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// What the tokenizer library says.
        #[source]
        source: tokenizers::Error,
    },
    /// The tokenizer has ids that the model does not know: it belongs to another model.
    #[error("the tokenizer has {tokenizer} ids and the model's vocabulary is {vocabulary}")]
    Vocabulary {
        /// Ids of the tokenizer.
        tokenizer: usize,
        /// Ids of the model.
        vocabulary: u32,
    },
    /// The special tokens fill the model's limit: nothing could be embedded.
    #[error("max_tokens is {max_tokens} and the special tokens alone are {special}")]
    NoRoom {
        /// The model's limit.
        max_tokens: u32,
        /// Special tokens around every text.
        special: usize,
    },
    /// Tokens whose text depends on their neighbours.
    #[error(
        "the tokenizer is not byte-level (decoder ByteLevel); a model that writes needs one that is"
    )]
    NotByteLevel,
}

impl Tokenizer {
    /// Loads a tokenizer file.
    pub fn from_file(path: &Path, limits: TokenLimits) -> Result<Self, TokenizerError> {
        let failed = |source| TokenizerError::Load {
            path: path.to_owned(),
            source,
        };
        let mut inner = tokenizers::Tokenizer::from_file(path).map_err(failed)?;
        inner.with_padding(None);
        inner.with_truncation(None).map_err(failed)?;
        let ids = inner.get_vocab_size(true);
        if ids > limits.vocabulary as usize {
            return Err(TokenizerError::Vocabulary {
                tokenizer: ids,
                vocabulary: limits.vocabulary,
            });
        }
        let (prefix, suffix) = special_tokens(&inner).map_err(failed)?;
        let special = prefix.len() + suffix.len();
        if special >= limits.max_tokens as usize {
            return Err(TokenizerError::NoRoom {
                max_tokens: limits.max_tokens,
                special,
            });
        }
        Ok(Self {
            inner,
            limits,
            prefix,
            suffix,
            literal: OnceLock::new(),
        })
    }

    /// Most bytes of the ids of a text with so many bytes, or of so many ids. A token stands for a byte of text at
    /// least, and what is above the model's limit is cut or refused.
    pub(super) fn most_bytes(&self, length: usize) -> usize {
        let tokens = length.saturating_add(self.prefix.len() + self.suffix.len());
        tokens.min(self.limits.max_tokens as usize) * size_of::<u32>()
    }

    /// The ids of a text, special tokens included. Milliseconds for a long one: not for a thread that
    /// serves connections.
    pub fn encode_text(&self, text: &str, truncate: bool) -> Result<Vec<u32>, InputError> {
        let encoding = self.inner.encode_fast(text, true);
        let encoding = encoding.map_err(|error| InputError::Tokenizer(error.to_string()))?;
        self.limit(encoding.get_ids().to_vec(), truncate)
    }

    /// The ids of a prompt, as they are: nothing is put around them, and nothing is cut off.
    pub fn encode_prompt(&self, pieces: &[PromptPiece]) -> Result<Vec<u32>, InputError> {
        let mut ids = Vec::new();
        for piece in pieces {
            let encoding = match piece {
                PromptPiece::Text(text) => self.inner.encode_fast(text.as_str(), false),
                PromptPiece::Literal(text) => self.literal().encode_fast(text.as_str(), false),
            };
            let encoding = encoding.map_err(|error| InputError::Tokenizer(error.to_string()))?;
            ids.extend_from_slice(encoding.get_ids());
        }
        Ok(ids)
    }

    /// What its tokens stand for, of a model that writes.
    pub fn vocabulary(&self) -> Result<Vocabulary, TokenizerError> {
        Vocabulary::of(&self.inner)
    }

    fn literal(&self) -> &tokenizers::Tokenizer {
        self.literal.get_or_init(|| {
            let mut literal = self.inner.clone();
            literal.set_encode_special_tokens(true);
            Box::new(literal)
        })
    }

    /// What a text is cut into, whatever its length.
    pub fn tokens(&self, text: &str, special: bool) -> Result<Vec<Token>, InputError> {
        let encoding = self.inner.encode_char_offsets(text, special);
        let encoding = encoding.map_err(|error| InputError::Tokenizer(error.to_string()))?;
        let place = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        let (names, places) = (encoding.get_tokens(), encoding.get_offsets());
        let special = encoding.get_special_tokens_mask();
        let token = |(index, id): (usize, &u32)| {
            let (start, stop) = places[index];
            let special = special[index] != 0;
            Token {
                id: *id,
                text: names[index].clone(),
                special,
                start: (!special).then(|| place(start)),
                stop: (!special).then(|| place(stop)),
            }
        };
        Ok(encoding.get_ids().iter().enumerate().map(token).collect())
    }

    /// Puts the special tokens around an array that lacks them.
    pub fn encode_ids(&self, ids: &[u32], truncate: bool) -> Result<Vec<u32>, InputError> {
        self.check_ids(ids)?;
        let complete = ids.len() >= self.prefix.len() + self.suffix.len()
            && ids.starts_with(&self.prefix)
            && ids.ends_with(&self.suffix);
        let ids = match complete {
            true => ids.to_vec(),
            false => [&self.prefix, ids, &self.suffix].concat(),
        };
        self.limit(ids, truncate)
    }

    /// Whether the model has all of these tokens.
    pub fn check_ids(&self, ids: &[u32]) -> Result<(), InputError> {
        let vocabulary = self.limits.vocabulary;
        match ids.iter().position(|id| *id >= vocabulary) {
            None => Ok(()),
            Some(position) => Err(InputError::UnknownToken {
                position,
                id: ids[position],
                vocabulary,
            }),
        }
    }

    /// Enforces the model's limit. A cut input keeps its final special tokens: the model was
    /// trained to see them.
    fn limit(&self, mut ids: Vec<u32>, truncate: bool) -> Result<Vec<u32>, InputError> {
        let max_tokens = self.limits.max_tokens as usize;
        if ids.len() <= max_tokens {
            return Ok(ids);
        }
        if !truncate {
            return Err(InputError::TooLong {
                tokens: ids.len(),
                max_tokens: self.limits.max_tokens,
            });
        }
        ids.truncate(max_tokens - self.suffix.len());
        ids.extend(&self.suffix);
        Ok(ids)
    }
}

/// What the tokenizer puts before and after a text.
fn special_tokens(inner: &tokenizers::Tokenizer) -> tokenizers::Result<(Vec<u32>, Vec<u32>)> {
    let bare = inner.encode_fast(PROBE, false)?;
    let full = inner.encode_fast(PROBE, true)?;
    let (bare, full) = (bare.get_ids(), full.get_ids());
    let start = full
        .windows(bare.len().max(1))
        .position(|window| window == bare)
        .ok_or("the special tokens cannot be told from the text")?;
    Ok((full[..start].to_vec(), full[start + bare.len()..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words `a` to `e`, with `[CLS]` and `[SEP]` around a text, and a wish for padding.
    const FILE: &str = r#"{
        "version": "1.0",
        "truncation": {"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "padding": {"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": null,
                    "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": [],
        "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                       {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [1], "tokens": ["[CLS]"]},
                               "[SEP]": {"id": "[SEP]", "ids": [2], "tokens": ["[SEP]"]}}},
        "decoder": null,
        "model": {"type": "WordLevel", "unk_token": "[UNK]",
                  "vocab": {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3, "a": 4, "b": 5, "c": 6, "d": 7, "e": 8}}
    }"#;

    fn tokenizer(max_tokens: u32) -> Result<Tokenizer, TokenizerError> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, FILE).expect("a writable folder");
        let limits = TokenLimits {
            max_tokens,
            vocabulary: 9,
        };
        Tokenizer::from_file(&path, limits)
    }

    #[test]
    fn texts_and_arrays_get_the_same_special_tokens_and_no_padding() {
        let tokenizer = tokenizer(16).expect("a tokenizer");
        let text = |text: &str, expected: &[u32]| {
            let ids = tokenizer.encode_text(text, false);
            assert_eq!(ids.as_deref(), Ok(expected));
        };
        let ids = |ids: &[u32], expected: &[u32]| {
            let ids = tokenizer.encode_ids(ids, false);
            assert_eq!(ids.as_deref(), Ok(expected));
        };
        text("a b c d", &[1, 4, 5, 6, 7, 2]);
        ids(&[4, 5, 6, 7], &[1, 4, 5, 6, 7, 2]);
        ids(&[1, 4, 5, 6, 7, 2], &[1, 4, 5, 6, 7, 2]);
        ids(&[1, 4], &[1, 1, 4, 2]);
        text(" ", &[1, 2]);
    }

    #[test]
    fn tokens_are_told_with_their_places_in_characters() {
        let tokens = tokenizer(16)
            .expect("a tokenizer")
            .tokens("a \u{e9} b", true);
        let tokens = tokens.expect("tokens");
        let told: Vec<_> = tokens
            .iter()
            .map(|token| {
                (
                    token.id,
                    &*token.text,
                    token.special,
                    token.start,
                    token.stop,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                (1, "[CLS]", true, None, None),
                (4, "a", false, Some(0), Some(1)),
                (3, "[UNK]", false, Some(2), Some(3)),
                (5, "b", false, Some(4), Some(5)),
                (2, "[SEP]", true, None, None),
            ]
        );
    }

    #[test]
    fn inputs_above_the_limit_are_refused_or_cut() {
        let tokenizer = tokenizer(4).expect("a tokenizer");
        let read = |truncate| {
            let text = tokenizer.encode_text("a b c", truncate);
            assert_eq!(text, tokenizer.encode_ids(&[4, 5, 6], truncate));
            text
        };
        let too_long = InputError::TooLong {
            tokens: 5,
            max_tokens: 4,
        };
        assert_eq!(read(false), Err(too_long));
        assert_eq!(read(true), Ok(vec![1, 4, 5, 2]));
    }

    #[test]
    fn ids_outside_the_vocabulary_are_refused_by_position() {
        let error = tokenizer(8)
            .expect("a tokenizer")
            .encode_ids(&[4, 9], true)
            .expect_err("9 is no id");
        assert_eq!(
            error.to_string(),
            "token 1 is 9; the model's vocabulary has ids below 9"
        );
    }

    #[test]
    fn limit_without_room_for_a_text_is_refused_at_start() {
        assert!(matches!(
            tokenizer(2),
            Err(TokenizerError::NoRoom { special: 2, .. })
        ));
    }
}
