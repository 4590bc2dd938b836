//! From an input as it came to what a session reads. Takes milliseconds for a long text or a picture, so
//! it is done beside the sessions, on threads that may wait.
//!
//! Every mistake of a client is found here, before the input costs a place in a batch.

mod bytes;
mod image;
mod tensors;
mod tokenize;
mod vocabulary;

use brink_protocol::limits::MAX_BLOB_BYTES;
use brink_protocol::tensor::TensorInfo;
use brink_protocol::{Input, ModelKind, Reads};

use self::bytes::BytesReader;
use self::tensors::TensorReader;
use super::backend::Payload;
use super::model::{ClassifierInput, ModelFiles, ModelTask};

pub use self::image::{ImageError, ImageReader};
pub use self::tensors::TensorMismatch;
pub use tokenize::{PromptPiece, TokenLimits, Tokenizer, TokenizerError};
pub use vocabulary::Vocabulary;

/// Reads the inputs of one model. Shared by threads; reading locks nothing.
#[derive(Debug)]
pub enum Reader {
    /// Text and token ids.
    Text(Box<Tokenizer>),
    /// Pictures.
    Image(ImageReader),
    /// Files.
    Bytes(BytesReader),
    /// Tensors.
    Tensors(TensorReader),
}

/// Why an input cannot be read. The input itself is never repeated: it may be large, or private.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// More tokens than the model takes, and truncation was not asked for.
    #[error("the input has {tokens} tokens; the model takes at most {max_tokens}")]
    TooLong {
        /// Tokens, special ones included.
        tokens: usize,
        /// The model's limit.
        max_tokens: u32,
    },
    /// A token id that the model does not have.
    #[error("token {position} is {id}; the model's vocabulary has ids below {vocabulary}")]
    UnknownToken {
        /// Place in the array.
        position: usize,
        /// The id.
        id: u32,
        /// The first id that is too large.
        vocabulary: u32,
    },
    /// The input is of another kind than the model's.
    #[error("the input is {given}; the model reads {wanted}")]
    Kind {
        /// What came.
        given: &'static str,
        /// What the model takes.
        wanted: &'static str,
    },
    /// The tokenizer gave up on a text.
    #[error("the input cannot be tokenised: {0}")]
    Tokenizer(String),
    /// More bytes than the model takes.
    #[error("the input has {bytes} bytes; the model takes at most {max_bytes}")]
    TooManyBytes {
        /// Bytes of the input.
        bytes: usize,
        /// The model's limit.
        max_bytes: u32,
    },
    /// The picture is none, or too large.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The tensors are not the model's.
    #[error(transparent)]
    Tensors(#[from] TensorMismatch),
}

impl Reader {
    /// A reader for a model folder. Of a model of any tensors, `inputs` says what it takes.
    pub fn load(files: &ModelFiles, inputs: &[TensorInfo]) -> Result<Self, TokenizerError> {
        let tokenizer = |file: &str, text: &TokenLimits| {
            let tokenizer = Tokenizer::from_file(&files.folder.join(file), *text);
            Ok(Self::Text(Box::new(tokenizer?)))
        };
        match &files.manifest.task {
            ModelTask::Embed(it) => tokenizer(&it.tokenizer_file, &it.text),
            ModelTask::Classify(it) => match &it.input {
                ClassifierInput::Text {
                    tokenizer_file,
                    text,
                } => tokenizer(tokenizer_file, text),
                ClassifierInput::Image(image) => Ok(Self::Image(ImageReader::new(image.clone()))),
                ClassifierInput::Bytes(bytes) => Ok(Self::Bytes(BytesReader::new(bytes.clone()))),
            },
            ModelTask::Generic { .. } => Ok(Self::Tensors(TensorReader::new(inputs.to_vec()))),
            ModelTask::Generate(it) => tokenizer(&it.tokenizer_file, &it.text),
        }
    }

    /// What a session reads of this input. `truncate` cuts a text that is too long.
    pub fn read(&self, input: &Input, truncate: bool) -> Result<Payload, InputError> {
        match (self, input) {
            (Self::Text(tokenizer), Input::Text(text)) => {
                tokenizer.encode_text(text, truncate).map(Payload::Tokens)
            }
            (Self::Text(tokenizer), Input::Tokens(ids)) => {
                tokenizer.encode_ids(ids, truncate).map(Payload::Tokens)
            }
            (Self::Image(reader), Input::Blob(blob)) => Ok(reader.read(blob)?),
            (Self::Bytes(reader), Input::Blob(blob)) => reader.read(blob),
            (Self::Tensors(reader), Input::Tensors(tensors)) => Ok(reader.read(tensors)?),
            _ => Err(InputError::Kind {
                given: kind(input),
                wanted: self.wants(),
            }),
        }
    }

    /// How much work reading an input is, in bytes of a text that would be as much. Little enough is
    /// done where it is asked for, because waking another thread would take longer.
    pub fn effort(&self, input: &Input) -> usize {
        match input {
            Input::Text(text) => text.len(),
            // A picture is decoded; the bytes of a file are looked at where they begin and end.
            Input::Blob(blob) if matches!(self, Self::Image(_)) => blob.len().max(4096),
            Input::Tokens(_) | Input::LongText(_) | Input::Blob(_) | Input::Tensors(_) => 0,
        }
    }

    /// Most bytes that a session's form of this input takes, told without reading it. Tensors take none: they stay where
    /// they came.
    pub fn decoded_bytes(&self, input: &Input) -> usize {
        match (self, input) {
            (Self::Text(tokenizer), Input::Text(text)) => tokenizer.most_bytes(text.len()),
            (Self::Text(tokenizer), Input::Tokens(ids)) => tokenizer.most_bytes(ids.len()),
            (Self::Image(reader), Input::Blob(_)) => reader.decoded_bytes(),
            (Self::Bytes(reader), Input::Blob(_)) => reader.decoded_bytes(),
            // Anything else is refused, or is tensors.
            _ => 0,
        }
    }

    fn wants(&self) -> &'static str {
        match self {
            Self::Text(_) => "text or token ids",
            Self::Image(_) => "a picture (JPEG, PNG or WebP)",
            Self::Bytes(_) => "a file",
            Self::Tensors(_) => "tensors",
        }
    }

    /// What a tokenizer makes of a text, for models that read text.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        match self {
            Self::Text(tokenizer) => Some(tokenizer),
            Self::Image(_) | Self::Bytes(_) | Self::Tensors(_) => None,
        }
    }
}

fn kind(input: &Input) -> &'static str {
    match input {
        Input::Text(_) => "text",
        Input::LongText(_) => "the digest of a text",
        Input::Tokens(_) => "token ids",
        Input::Blob(_) => "a file",
        Input::Tensors(_) => "tensors",
    }
}

/// What edges are told of a model: what it reads and gives.
pub fn model_kind(files: &ModelFiles, inputs: &[TensorInfo], outputs: &[TensorInfo]) -> ModelKind {
    let most = u32::try_from(MAX_BLOB_BYTES).unwrap_or(u32::MAX);
    match &files.manifest.task {
        ModelTask::Embed(it) => ModelKind::Embed {
            text: it.text,
            dimensions: it.dimensions,
        },
        ModelTask::Classify(it) => ModelKind::Classify {
            reads: match &it.input {
                ClassifierInput::Text { text, .. } => Reads::Text(*text),
                ClassifierInput::Image(image) => Reads::Image {
                    max_bytes: image.max_bytes.min(most),
                },
                ClassifierInput::Bytes(bytes) => Reads::Bytes {
                    max_bytes: bytes.max_bytes.min(most),
                },
            },
            labels: files.labels.clone(),
        },
        ModelTask::Generic { batched } => ModelKind::Generic {
            inputs: inputs.to_vec(),
            outputs: outputs.to_vec(),
            batched: *batched,
        },
        ModelTask::Generate(it) => ModelKind::Generate {
            text: it.text,
            max_new_tokens: it.max_new_tokens,
            chat: it.template_file.is_some(),
        },
    }
}
