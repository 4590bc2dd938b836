//! The call for text: a prompt goes to a model, and what it writes comes back while it is written.
//!
//! The answer is a stream of [`frame`]s, one for each [`GenerateEvent`]. The last one is
//! [`Finished`](GenerateEvent::Finished) or [`Failed`](GenerateEvent::Failed); a stream that ends without
//! either was cut off. Nothing of an answer is stored by the host; calls for the same text may share it while it
//! is written.

pub mod frame;
mod kept;
mod sampling;
mod written;

use brink_cache::key::{ItemBytes, PrefixParts, Task};
use brink_cache::{Key, KeyPrefix, ModelDigest, Scope};
use serde::{Deserialize, Serialize};

use crate::fault::{Fault, FaultCode};
use crate::infer::{LEAST_URGENCY, TenantShare};
use crate::limits::{MAX_INPUT_BYTES, MAX_INPUT_TOKENS};

pub use kept::{STREAM_ID_BYTES, STREAM_PATH, StreamAsk, StreamRequest, unknown_stream};
pub use sampling::{MAX_LOGPROBS, MAX_STOPS, Sampling};
pub use written::{Choice, Gathering, TEXT_MEDIA, Written};

/// Path of the call.
pub const GENERATE_PATH: &str = "/brink/v1/generate";

/// Most messages of a conversation; more are no conversation, and each is work for a template.
pub const MAX_MESSAGES: usize = 1024;

/// Asks a model to write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenerateRequest {
    /// Ties the host's logs to the edge's.
    pub request_id: String,
    /// Who asks. The host's time is shared fairly between tenants.
    pub tenant: String,
    /// How urgent it is among what the tenant asks for, as in RFC 9218: 0 the most, 7 the least.
    pub urgency: u8,
    /// The model's name.
    pub model: String,
    /// The model that the caller read about in the catalogue.
    pub digest: ModelDigest,
    /// How long the caller waits for the last token, in milliseconds.
    pub timeout_ms: u32,
    /// What the tenant may take from a host; `None` if it is not limited.
    pub share: Option<TenantShare>,
    /// Between whom the text is shared while it is written: whoever calls for the same joins it. `None` for a
    /// text of one's own.
    pub sharing: Option<Scope>,
    /// Whether the text is kept for a while for readers who come back.
    pub keep: bool,
    /// After how many milliseconds without an event [`Idle`](GenerateEvent::Idle) is sent; 0 for never.
    pub heartbeat_ms: u32,
    /// What the model is to go on from.
    pub prompt: Prompt,
    /// How each token is chosen.
    pub sampling: Sampling,
}

/// What a model goes on from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Prompt {
    /// A conversation, put into words by the model's chat template.
    Messages(Vec<Message>),
    /// A text, as it is.
    Text(String),
    /// Token ids of the model's vocabulary, as they are.
    Tokens(Vec<u32>),
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// Who speaks in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// The operator of an application.
    System,
    /// A person.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// The name in APIs and templates.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// What happens while a model writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum GenerateEvent {
    /// The text is kept under this id. Comes before all others where that was asked for.
    Kept {
        /// 32 hexadecimal digits.
        id: String,
    },
    /// The prompt is read. The first event, unless the call failed before.
    Started {
        /// Tokens of the prompt.
        prompt_tokens: u32,
        /// Whether another call had asked for the text already.
        is_shared: bool,
    },
    /// More text.
    Delta(Delta),
    /// Nothing happened for a while; the text goes on.
    Idle,
    /// The end.
    Finished {
        /// Why nothing more comes.
        reason: FinishReason,
        /// What it took.
        usage: Usage,
    },
    /// The end, before its time. What came before it stands.
    Failed(Fault),
}

/// More text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Delta {
    /// The text. Whole characters only. May be empty where tokens are, because a character or what may
    /// become a stop string is held back until more is known.
    pub text: String,
    /// Tokens that were written since the last event.
    pub tokens: u32,
    /// One for each of those tokens, if they were asked for.
    pub logprobs: Vec<TokenLogprob>,
}

impl Delta {
    /// Adds what came after it.
    pub fn append(&mut self, more: &Self) {
        self.text.push_str(&more.text);
        self.tokens += more.tokens;
        self.logprobs.extend_from_slice(&more.logprobs);
    }
}

/// How probable a token was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    /// The token that was chosen.
    pub chosen: Logprob,
    /// The most probable ones, the most probable first.
    pub top: Vec<Logprob>,
}

/// A token and the logarithm of its probability, before temperature and penalties.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Logprob {
    /// Its place in the vocabulary.
    pub id: u32,
    /// Its bytes, which need not be whole characters; none of a special token.
    pub bytes: Vec<u8>,
    /// Natural logarithm.
    pub logprob: f32,
}

/// Why nothing more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FinishReason {
    /// The model ended its text, or a stop string came.
    Stop,
    /// The most tokens were written, or the model's context is full.
    Length,
}

impl FinishReason {
    /// OpenAI's `finish_reason`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// What an answer took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Those of them that another request had left in the model's memory.
    pub cached_tokens: u32,
    /// Tokens that were written, the one that ends a text included.
    pub completion_tokens: u32,
    /// From the arrival of the call to the first token, in microseconds.
    pub first_token_us: u32,
    /// This call's share of the model's time, in microseconds.
    pub cost_us: u32,
}

impl GenerateRequest {
    /// What makes the text of this call, among those that share it; `None` where it is not shared.
    pub fn sharing_key(&self) -> Option<Key> {
        let prefix = KeyPrefix::new(PrefixParts {
            scope: self.sharing.as_ref()?,
            model: &self.model,
            digest: &self.digest,
            task: Task::Generate,
            parameters: "",
        });
        let sampling =
            postcard::to_stdvec(&self.sampling).expect("numbers and texts always serialise");
        let prompt = postcard::to_stdvec(&self.prompt).expect("texts and numbers always serialise");
        // Each is of a form that says where it ends.
        Some(prefix.key(ItemBytes::Tensors(vec![sampling.into(), prompt.into()])))
    }

    /// Checks the limits that hold for every model.
    ///
    /// # Errors
    /// The first limit that is not kept.
    pub fn validate(&self) -> Result<(), Fault> {
        let urgency = self.urgency;
        let problem = if urgency > LEAST_URGENCY {
            Some(format!(
                "urgency is {urgency}; 0 to {LEAST_URGENCY} are allowed"
            ))
        } else {
            self.prompt.refusal().or_else(|| self.sampling.refusal())
        };
        problem.map_or(Ok(()), |message| Err(bad_request(message)))
    }
}

impl Prompt {
    /// Why no model could take it. The first word is the member's name.
    pub fn refusal(&self) -> Option<String> {
        match self {
            Self::Messages(messages) => conversation_refusal(messages),
            Self::Text(text) if text.is_empty() => Some("prompt is an empty string".to_owned()),
            Self::Text(text) => too_many_bytes("prompt", text.len()),
            Self::Tokens(tokens) if tokens.is_empty() => Some("prompt has no tokens".to_owned()),
            Self::Tokens(tokens) => (tokens.len() > MAX_INPUT_TOKENS).then(|| {
                let count = tokens.len();
                format!("prompt has {count} tokens; at most {MAX_INPUT_TOKENS} are allowed")
            }),
        }
    }
}

fn conversation_refusal(messages: &[Message]) -> Option<String> {
    let count = messages.len();
    if !(1..=MAX_MESSAGES).contains(&count) {
        return Some(format!(
            "messages has {count} elements; 1 to {MAX_MESSAGES} are allowed"
        ));
    }
    let system = |(place, message): &(usize, &Message)| *place > 0 && message.role == Role::System;
    if let Some((place, _)) = messages.iter().enumerate().find(system) {
        return Some(format!(
            "messages[{place}].role is system; only the first message may be the system's"
        ));
    }
    if messages.iter().all(|message| message.role == Role::System) {
        return Some(
            "messages has nothing but a system message; one of a user is needed".to_owned(),
        );
    }
    let bytes = messages.iter().map(|message| message.content.len()).sum();
    too_many_bytes("messages", bytes)
}

fn too_many_bytes(name: &str, bytes: usize) -> Option<String> {
    (bytes > MAX_INPUT_BYTES)
        .then(|| format!("{name} has {bytes} bytes of text; at most {MAX_INPUT_BYTES} are allowed"))
}

/// What a stream that ends without an end has come to.
pub fn broken_off() -> GenerateEvent {
    GenerateEvent::Failed(Fault {
        code: FaultCode::Overloaded,
        message: "the inference host's answer broke off".to_owned(),
        item: None,
        retry_after_ms: Some(1_000),
    })
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
mod tests {
    use super::*;
    use crate::message;

    fn message_of(role: Role, content: &str) -> Message {
        Message {
            role,
            content: content.to_owned(),
        }
    }

    fn request(prompt: Prompt, sampling: Sampling) -> GenerateRequest {
        GenerateRequest {
            request_id: "r".to_owned(),
            tenant: "default".to_owned(),
            urgency: 3,
            model: "m".to_owned(),
            digest: ModelDigest([1; 32]),
            timeout_ms: 1000,
            share: None,
            sharing: None,
            keep: false,
            heartbeat_ms: 0,
            prompt,
            sampling,
        }
    }

    #[test]
    fn prompts_beyond_the_limits_are_refused_by_name_and_value() {
        let check = |prompt: Prompt, part: &str| {
            let fault = request(prompt, Sampling::default()).validate();
            let fault = fault.expect_err(part);
            assert_eq!(fault.code, FaultCode::BadRequest);
            assert!(fault.message.contains(part), "{}", fault.message);
        };
        let user = || message_of(Role::User, "hello");
        let system = || message_of(Role::System, "be kind");
        check(Prompt::Messages(vec![]), "messages has 0 elements");
        check(Prompt::Messages(vec![user(); 1025]), "1025 elements");
        check(Prompt::Messages(vec![system()]), "nothing but a system");
        check(
            Prompt::Messages(vec![user(), system()]),
            "messages[1].role is system",
        );
        let long = message_of(Role::User, &"x".repeat(MAX_INPUT_BYTES + 1));
        check(Prompt::Messages(vec![long]), "messages has 262145 bytes");
        check(Prompt::Text(String::new()), "empty string");
        check(Prompt::Tokens(vec![]), "no tokens");
        check(Prompt::Tokens(vec![1; 16_385]), "16385 tokens");
        let fine = Prompt::Messages(vec![system(), user()]);
        assert_eq!(request(fine, Sampling::default()).validate(), Ok(()));
    }

    #[test]
    fn messages_are_read_back() {
        let sent = request(Prompt::Text("a".to_owned()), Sampling::default());
        assert_eq!(message::decode(&message::encode(&sent)), Ok(sent));
    }
}
