//! The bytes that each token of a model stands for: how what a model writes becomes text.
//!
//! Byte-level vocabularies only (GPT-2, Llama 3, Qwen, SmolLM): there a token is a string of bytes, whatever
//! comes before and after it, so text can be told token by token. Others put spaces in by context.

use tokenizers::DecoderWrapper;

use super::tokenize::TokenizerError;

/// What the tokens of a model stand for.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    /// By id; empty for special tokens and for ids that nothing has.
    bytes: Vec<Box<[u8]>>,
    /// How special tokens are written in a prompt.
    special: Vec<String>,
}

impl Vocabulary {
    /// A vocabulary of these tokens, the first with id 0, and of special ones.
    pub fn new(bytes: impl IntoIterator<Item = Vec<u8>>, special: Vec<String>) -> Self {
        Self {
            bytes: bytes.into_iter().map(Vec::into_boxed_slice).collect(),
            special,
        }
    }

    /// Reads it out of a tokenizer.
    pub(super) fn of(tokenizer: &tokenizers::Tokenizer) -> Result<Self, TokenizerError> {
        if !matches!(tokenizer.get_decoder(), Some(DecoderWrapper::ByteLevel(_))) {
            return Err(TokenizerError::NotByteLevel);
        }
        let added = tokenizer.get_added_tokens_decoder();
        let tokens = tokenizer.get_vocab(true);
        let size = tokens.values().max().map_or(0, |most| *most as usize + 1);
        let mut bytes = vec![Box::default(); size];
        for (token, id) in tokens {
            bytes[id as usize] = match added.get(&id) {
                Some(added) if added.special => Box::default(),
                Some(added) => added.content.as_bytes().into(),
                None => token
                    .chars()
                    .map(byte)
                    .collect::<Option<_>>()
                    .unwrap_or_else(|| token.as_bytes().into()),
            };
        }
        let special = added.values().filter(|added| added.special);
        let mut special: Vec<String> = special.map(|added| added.content.clone()).collect();
        special.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        Ok(Self { bytes, special })
    }

    /// The bytes of a token; none of a special one.
    pub fn bytes(&self, id: u32) -> &[u8] {
        self.bytes.get(id as usize).map_or(&[], |bytes| bytes)
    }

    /// How special tokens are written in a prompt, the longest first.
    pub fn special(&self) -> &[String] {
        &self.special
    }
}

/// The byte that a character of a byte-level token stands for. Bytes that can be printed stand for themselves;
/// the others, in order, are the characters from U+0100 up.
fn byte(character: char) -> Option<u8> {
    let is_printed = |byte: &u8| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let code = u32::from(character);
    if let Ok(byte) = u8::try_from(code) {
        return is_printed(&byte).then_some(byte);
    }
    let mut others = (0..=u8::MAX).filter(|byte| !is_printed(byte));
    others.nth(usize::try_from(code - 0x100).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_of_tokens_stand_for_bytes() {
        for (character, expected) in [
            ('A', Some(b'A')),
            ('Ġ', Some(b' ')),
            ('Ċ', Some(b'\n')),
            ('Ā', Some(0)),
            ('ł', Some(0xa0)),
            ('Ń', Some(0xad)),
            ('ÿ', Some(0xff)),
            ('ń', None),
            (' ', None),
            ('€', None),
        ] {
            assert_eq!(byte(character), expected, "{character}");
        }
    }
}
