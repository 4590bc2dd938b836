//! Text and token arrays to the ids that the model reads.
//!
//! A tokenizer file may ask for padding and truncation. Both are switched off: the batch decides
//! the padding, and an input above the model's limit is an error unless its request asks for
//! truncation.

use std::path::{Path, PathBuf};

use brink_cache::key::ItemBytes;

use super::model::ModelFiles;

/// A text that every vocabulary has tokens for. Shows which special tokens the model expects.
const PROBE: &str = "a";

/// The model's limits on its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenLimits {
    /// Most tokens, special tokens included.
    pub max_tokens: u32,
    /// Ids are below this.
    pub vocabulary: u32,
}

/// The tokenizer of one model. Shared by threads; encoding locks nothing.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    limits: TokenLimits,
    /// Special tokens before a text, `[CLS]` for BERT.
    prefix: Vec<u32>,
    /// Special tokens after a text, `[SEP]` for BERT.
    suffix: Vec<u32>,
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
}

/// Why an input has no ids. The input itself is never repeated: it may be large, or private.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// More tokens than the model takes, and truncation was not asked for.
    #[error("the input has {tokens} tokens; the model takes at most {max_tokens}")]
    TooLong {
        /// Tokens of the input, special tokens included.
        tokens: usize,
        /// The model's limit.
        max_tokens: u32,
    },
    /// A token array with an id that the model does not have.
    #[error("token {position} is {id}; the model's vocabulary has ids below {vocabulary}")]
    UnknownToken {
        /// Index in the array.
        position: usize,
        /// The id.
        id: u32,
        /// The first id that is too large.
        vocabulary: u32,
    },
    /// The digest of a text.
    #[error("the input is the digest of a text; no model reads that")]
    OnlyNamed,
    /// The tokenizer gave up on a text.
    #[error("the input cannot be tokenised: {0}")]
    Tokenizer(String),
}

impl Tokenizer {
    /// Loads the tokenizer of a model folder.
    pub fn load(files: &ModelFiles) -> Result<Self, TokenizerError> {
        let limits = TokenLimits {
            max_tokens: files.manifest.max_tokens,
            vocabulary: files.manifest.vocabulary,
        };
        Self::from_file(&files.tokenizer, limits)
    }

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
        })
    }

    /// The ids of an input, special tokens included. Milliseconds for a long text: not for a
    /// thread that serves connections.
    pub fn encode(&self, input: ItemBytes<'_>, truncate: bool) -> Result<Vec<u32>, InputError> {
        let ids = match input {
            ItemBytes::Text(text) => self.encode_text(text)?,
            ItemBytes::Tokens(ids) => self.complete(ids)?,
            ItemBytes::LongText(_) | ItemBytes::Blob(_) | ItemBytes::Tensors(_) => {
                return Err(InputError::OnlyNamed);
            }
        };
        self.limit(ids, truncate)
    }

    fn encode_text(&self, text: &str) -> Result<Vec<u32>, InputError> {
        self.inner
            .encode_fast(text, true)
            .map(|encoding| encoding.get_ids().to_vec())
            .map_err(|error| InputError::Tokenizer(error.to_string()))
    }

    /// Puts the special tokens around an array that lacks them.
    fn complete(&self, ids: &[u32]) -> Result<Vec<u32>, InputError> {
        let vocabulary = self.limits.vocabulary;
        if let Some(position) = ids.iter().position(|id| *id >= vocabulary) {
            return Err(InputError::UnknownToken {
                position,
                id: ids[position],
                vocabulary,
            });
        }
        let complete = ids.len() >= self.prefix.len() + self.suffix.len()
            && ids.starts_with(&self.prefix)
            && ids.ends_with(&self.suffix);
        if complete {
            return Ok(ids.to_vec());
        }
        Ok([&self.prefix, ids, &self.suffix].concat())
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
        let check = |input: ItemBytes<'_>, expected: &[u32]| {
            assert_eq!(tokenizer.encode(input, false).as_deref(), Ok(expected));
        };
        check(ItemBytes::Text("a b c d"), &[1, 4, 5, 6, 7, 2]);
        check(ItemBytes::Tokens(&[4, 5, 6, 7]), &[1, 4, 5, 6, 7, 2]);
        check(ItemBytes::Tokens(&[1, 4, 5, 6, 7, 2]), &[1, 4, 5, 6, 7, 2]);
        check(ItemBytes::Tokens(&[1, 4]), &[1, 1, 4, 2]);
        check(ItemBytes::Text(" "), &[1, 2]);
    }

    #[test]
    fn inputs_above_the_limit_are_refused_or_cut() {
        let tokenizer = tokenizer(4).expect("a tokenizer");
        for input in [ItemBytes::Text("a b c"), ItemBytes::Tokens(&[4, 5, 6])] {
            assert_eq!(
                tokenizer.encode(input.clone(), false),
                Err(InputError::TooLong {
                    tokens: 5,
                    max_tokens: 4
                })
            );
            assert_eq!(tokenizer.encode(input, true), Ok(vec![1, 4, 5, 2]));
        }
    }

    #[test]
    fn ids_outside_the_vocabulary_are_refused_by_position() {
        let error = tokenizer(8)
            .expect("a tokenizer")
            .encode(ItemBytes::Tokens(&[4, 9]), true)
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
