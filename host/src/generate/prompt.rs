//! From what a request says to tokens, and what of its wishes the model can fulfil.

use std::path::Path;
use std::sync::Arc;

use brink_protocol::generate::Prompt;
use brink_protocol::{Fault, FaultCode};

use super::chat::{ChatError, ChatTemplate};
use super::writing::Language;
use crate::inference::{
    Generation, InputError, PromptPiece, Tokenizer, TokenizerError, Vocabulary,
};

/// Why a model's prompts cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PromptsError {
    /// Its tokenizer is of another kind.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// Its template is wrong.
    #[error(transparent)]
    Chat(#[from] ChatError),
}

/// Reads the prompts of one model. Shared by threads.
#[derive(Debug)]
pub struct Prompts {
    name: String,
    template: Option<ChatTemplate>,
    vocabulary: Arc<Vocabulary>,
    end_tokens: Arc<[u32]>,
    context: usize,
    max_new_tokens: usize,
}

/// A prompt that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadPrompt {
    /// Its tokens, one at least.
    pub tokens: Vec<u32>,
    /// Most tokens to write.
    pub most: usize,
}

impl Prompts {
    /// What a model folder says about prompts.
    ///
    /// # Errors
    /// When the template or the tokenizer cannot be used.
    pub fn load(
        name: &str,
        folder: &Path,
        generation: &Generation,
        tokenizer: &Tokenizer,
    ) -> Result<Self, PromptsError> {
        let vocabulary = tokenizer.vocabulary()?;
        let template = generation.template_file.as_ref();
        let load = |file: &String| ChatTemplate::load(&folder.join(file), &vocabulary);
        Ok(Self {
            name: name.to_owned(),
            template: template.map(load).transpose()?,
            vocabulary: Arc::new(vocabulary),
            end_tokens: generation.end_tokens.as_slice().into(),
            context: generation.text.max_tokens as usize,
            max_new_tokens: generation.max_new_tokens as usize,
        })
    }

    /// Reads a prompt. Milliseconds for a long one: not for a thread that serves connections.
    ///
    /// # Errors
    /// When the model cannot go on from it.
    pub fn read(
        &self,
        tokenizer: &Tokenizer,
        prompt: &Prompt,
        max_tokens: Option<u32>,
    ) -> Result<ReadPrompt, Fault> {
        let wanted = max_tokens.map_or(self.max_new_tokens, |most| most as usize);
        if wanted > self.max_new_tokens {
            return Err(bad_request(format!(
                "max_tokens is {wanted}; model {} writes at most {}",
                self.name, self.max_new_tokens
            )));
        }
        let tokens = self.tokens(tokenizer, prompt)?;
        if tokens.is_empty() {
            return Err(bad_request("the prompt has no tokens".to_owned()));
        }
        // At least one token has to be written.
        let room = self.context.saturating_sub(tokens.len());
        if room == 0 {
            return Err(Fault {
                code: FaultCode::InputTooLong,
                ..bad_request(format!(
                    "the prompt has {} tokens; model {} takes at most {}, for it has room for {} with the answer",
                    tokens.len(),
                    self.name,
                    self.context - 1,
                    self.context
                ))
            });
        }
        Ok(ReadPrompt {
            tokens,
            most: wanted.min(room),
        })
    }

    pub(super) fn language(&self) -> Language {
        Language {
            vocabulary: Arc::clone(&self.vocabulary),
            end_tokens: Arc::clone(&self.end_tokens),
        }
    }

    fn tokens(&self, tokenizer: &Tokenizer, prompt: &Prompt) -> Result<Vec<u32>, Fault> {
        let pieces = match prompt {
            Prompt::Tokens(tokens) => {
                let checked = tokenizer.check_ids(tokens);
                return checked.map(|()| tokens.clone()).map_err(refused);
            }
            Prompt::Text(text) => vec![PromptPiece::Text(text.clone())],
            Prompt::Messages(messages) => {
                let template = self.template.as_ref().ok_or_else(|| {
                    let name = &self.name;
                    bad_request(format!(
                        "model {name} has no chat template: it goes on with a text and takes no messages"
                    ))
                })?;
                let refused = |problem| {
                    bad_request(format!(
                        "the model's chat template refuses messages: {problem}"
                    ))
                };
                template.prompt(messages).map_err(refused)?
            }
        };
        tokenizer.encode_prompt(&pieces).map_err(refused)
    }
}

fn refused(error: InputError) -> Fault {
    bad_request(error.to_string())
}

fn bad_request(message: String) -> Fault {
    Fault {
        code: FaultCode::BadRequest,
        message,
        item: None,
        retry_after_ms: None,
    }
}

#[cfg(test)]
impl Prompts {
    /// Prompts of a model of letters.
    pub(super) fn of_letters(context: usize, vocabulary: Vocabulary, end: u32) -> Self {
        Self {
            name: "letters".to_owned(),
            template: None,
            vocabulary: Arc::new(vocabulary),
            end_tokens: [end].into(),
            context,
            max_new_tokens: context,
        }
    }
}
