//! The call for results: all items that an edge lacks, in one message.

use std::borrow::Cow;
use std::num::{NonZeroU32, NonZeroU64};

#[cfg(doc)]
use brink_cache::key::LONG_TEXT_BYTES;
use brink_cache::key::{ItemBytes, PrefixParts, Task, task_parameters};
use brink_cache::{KeyPrefix, ModelDigest, Outcome, Scope};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::fault::{Fault, FaultCode};
use crate::limits::{MAX_BLOB_BYTES, MAX_INPUT_BYTES, MAX_INPUT_TOKENS, MAX_INPUTS};
use crate::message::{self, MessageError};
use crate::tensor::{Tensor, TensorError};

/// What the host answers.
pub type InferReply = Result<InferAnswer, Fault>;

/// Asks for the results of some items. Items of one call are distinct; the edge has
/// already removed duplicates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InferRequest {
    /// Ties the host's logs to the edge's.
    pub request_id: String,
    /// Who may read the results.
    pub scope: Scope,
    /// Who asks. The host's time is shared fairly between tenants.
    pub tenant: String,
    /// How urgent it is among what the tenant asks for, as in RFC 9218: 0 the most, 7 the least.
    pub urgency: u8,
    /// The model's name.
    pub model: String,
    /// The model that the edge's keys are bound to.
    pub digest: ModelDigest,
    /// What it is asked to do.
    pub task: Task,
    /// Whether inputs above the model's limit are cut instead of refused.
    pub truncate: bool,
    /// Whether the host may answer from its result store.
    pub look_up: bool,
    /// Whether the host may keep the results.
    pub store: bool,
    /// How long the caller waits, in milliseconds.
    pub timeout_ms: u32,
    /// What the tenant may take from a host; `None` if it is not limited.
    pub share: Option<TenantShare>,
    /// The items.
    pub inputs: Vec<Input>,
}

/// What a tenant may take from a host. The host counts, for all edges that ask it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantShare {
    /// Whose share it is.
    pub tenant: String,
    /// Most calls in flight.
    pub max_concurrent: Option<NonZeroU32>,
    /// Most model time in a minute, in milliseconds.
    pub model_ms_per_minute: Option<NonZeroU64>,
}

/// One item.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Input {
    /// UTF-8 text.
    Text(String),
    /// BLAKE3-256 of a text of more than [`LONG_TEXT_BYTES`]: names a stored result. A host cannot
    /// compute it.
    LongText([u8; 32]),
    /// Token ids of the model's vocabulary. The special tokens that the model expects around a text
    /// are added unless the list already has them.
    Tokens(Vec<u32>),
    /// A file or a picture, as the client sent it.
    Blob(Bytes),
    /// What one row of a batch consists of, in the order of the model's inputs.
    Tensors(Vec<Tensor>),
}

/// Urgency of a request that says nothing (RFC 9218 §4.1).
pub const DEFAULT_URGENCY: u8 = 3;
/// The least urgent (RFC 9218 §4.1).
pub const LEAST_URGENCY: u8 = 7;

impl Input {
    /// The item's part of its key.
    pub fn bytes(&self) -> ItemBytes<'_> {
        match self {
            Self::Text(text) => ItemBytes::Text(text),
            Self::LongText(digest) => ItemBytes::LongText(digest),
            Self::Tokens(tokens) => ItemBytes::Tokens(tokens),
            Self::Blob(blob) => ItemBytes::Blob(blob),
            Self::Tensors(tensors) => ItemBytes::Tensors(canonical(tensors)),
        }
    }

    /// Why no model could take this item, whatever its tokenizer says.
    fn refusal(&self) -> Option<String> {
        match self {
            Self::LongText(_) => {
                Some("the input is the digest of a text; no model reads that".to_owned())
            }
            Self::Text(text) if text.is_empty() => Some("the input is an empty string".to_owned()),
            Self::Tokens(tokens) if tokens.is_empty() => Some("the input has no tokens".to_owned()),
            Self::Text(text) if text.len() > MAX_INPUT_BYTES => Some(format!(
                "the input has {} bytes; at most {MAX_INPUT_BYTES} are allowed",
                text.len()
            )),
            Self::Tokens(tokens) if tokens.len() > MAX_INPUT_TOKENS => Some(format!(
                "the input has {} tokens; at most {MAX_INPUT_TOKENS} are allowed",
                tokens.len()
            )),
            Self::Blob(blob) if blob.len() > MAX_BLOB_BYTES => Some(format!(
                "the input has {} bytes; at most {MAX_BLOB_BYTES} are allowed",
                blob.len()
            )),
            Self::Tensors(tensors) => tensors.iter().find_map(tensor_refusal),
            Self::Text(_) | Self::Tokens(_) | Self::Blob(_) => None,
        }
    }
}

fn tensor_refusal(tensor: &Tensor) -> Option<String> {
    let refusal = |error: TensorError| format!("the tensor {} {error}", tensor.name);
    tensor.check().err().map(refusal)
}

/// The bytes that identify tensors: what messages carry, where every part has its length before it. Their elements
/// are not copied.
fn canonical(tensors: &[Tensor]) -> Vec<Cow<'_, [u8]>> {
    let count = postcard::to_stdvec(&tensors.len()).expect("numbers always serialise");
    let pieces = tensors.iter().flat_map(|tensor| {
        let head: Cow<'_, [u8]> = tensor.head().into();
        [head, Cow::Borrowed(&tensor.data[..])]
    });
    std::iter::once(count.into()).chain(pieces).collect()
}

impl InferRequest {
    /// The hash of everything that this request's keys share.
    pub fn key_prefix(&self) -> KeyPrefix {
        KeyPrefix::new(PrefixParts {
            scope: &self.scope,
            model: &self.model,
            digest: &self.digest,
            task: self.task,
            parameters: task_parameters(self.truncate),
        })
    }

    /// Checks the limits that hold for every model.
    pub fn validate(&self) -> Result<(), Fault> {
        if self.urgency > LEAST_URGENCY {
            let message = format!(
                "urgency is {}; 0 to {LEAST_URGENCY} are allowed",
                self.urgency
            );
            return Err(bad_request(message, None));
        }
        let count = self.inputs.len();
        if count == 0 || count > MAX_INPUTS {
            return Err(bad_request(
                format!("the call has {count} inputs; 1 to {MAX_INPUTS} are allowed"),
                None,
            ));
        }
        for (index, input) in self.inputs.iter().enumerate() {
            if let Some(message) = input.refusal() {
                return Err(bad_request(message, Some(index as u32)));
            }
        }
        Ok(())
    }
}

fn bad_request(message: String, item: Option<u32>) -> Fault {
    Fault {
        code: FaultCode::BadRequest,
        message,
        item,
        retry_after_ms: None,
    }
}

/// The results, one per input and in the same order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InferAnswer {
    /// The results.
    pub items: Vec<InferredItem>,
    /// Where the time went.
    pub timings: Timings,
    /// What is left of the tenant's model time, if that is limited.
    pub model_time: Option<ModelTime>,
}

/// Reads a reply. Its outputs are slices of `bytes`: an edge has no room for a copy of each.
///
/// # Errors
/// What [`message::decode`] says of bytes that are no reply.
pub fn decode_reply(bytes: &Bytes) -> Result<InferReply, MessageError> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        items: Vec<Item<'a>>,
        timings: Timings,
        model_time: Option<ModelTime>,
    }
    #[derive(Deserialize)]
    struct Item<'a> {
        output: &'a [u8],
        tokens: u32,
        cost_us: u32,
        outcome: Outcome,
    }
    let reply: Result<Answer<'_>, Fault> = message::decode(bytes)?;
    let item = |item: Item<'_>| InferredItem {
        output: bytes.slice_ref(item.output),
        tokens: item.tokens,
        cost_us: item.cost_us,
        outcome: item.outcome,
    };
    Ok(reply.map(|answer| InferAnswer {
        items: answer.items.into_iter().map(item).collect(),
        timings: answer.timings,
        model_time: answer.model_time,
    }))
}

/// What is left of a tenant's model time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelTime {
    /// Milliseconds left.
    pub left_ms: u64,
    /// Milliseconds until all of it is there again.
    pub full_after_ms: u64,
}

/// One result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InferredItem {
    /// What the model gave. Of an embedding, the vector: `f32`, little-endian, as many as the model has
    /// dimensions. Of a classification, one such number for each label. Otherwise the tensors, see
    /// [`encode_tensors`](crate::tensor::encode_tensors).
    pub output: Bytes,
    /// Tokens that the model read, special tokens included; 0 where it reads none.
    pub tokens: u32,
    /// The item's share of the model run, in microseconds.
    pub cost_us: u32,
    /// How the host came by it.
    pub outcome: Outcome,
}

/// The longest waits among the items of a call, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    /// From the arrival of the call to a place in a batch.
    pub queue_us: u32,
    /// In the model run.
    pub inference_us: u32,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tensor::{Datatype, encode_tensors};

    fn request(inputs: Vec<Input>) -> InferRequest {
        InferRequest {
            request_id: "r".to_owned(),
            scope: Scope::Tenant("default".to_owned()),
            tenant: "default".to_owned(),
            urgency: DEFAULT_URGENCY,
            model: "m".to_owned(),
            digest: ModelDigest([1; 32]),
            task: Task::Embed,
            truncate: false,
            look_up: true,
            store: true,
            timeout_ms: 1000,
            share: None,
            inputs,
        }
    }

    #[test]
    fn limits_name_the_item_and_the_value() {
        let check = |inputs: Vec<Input>, item: Option<u32>, part: &str| {
            let fault = request(inputs).validate().expect_err("over a limit");
            assert_eq!(fault.item, item);
            assert!(fault.message.contains(part), "{}", fault.message);
        };
        let text = |text: &str| Input::Text(text.to_owned());
        check(vec![], None, "0 inputs");
        check(vec![text("a"); MAX_INPUTS + 1], None, "2049 inputs");
        check(vec![text("a"), text("")], Some(1), "empty");
        check(vec![Input::Tokens(vec![])], Some(0), "no tokens");
        check(vec![Input::LongText([0; 32])], Some(0), "digest");
        check(
            vec![Input::Text("x".repeat(MAX_INPUT_BYTES + 1))],
            Some(0),
            "262145 bytes",
        );
        check(
            vec![Input::Tokens(vec![1; MAX_INPUT_TOKENS + 1])],
            Some(0),
            "16385 tokens",
        );
    }

    #[test]
    fn messages_are_read_back() {
        let sent = request(vec![Input::Text("a".to_owned()), Input::Tokens(vec![1, 2])]);
        let bytes = message::encode(&sent);
        assert_eq!(message::decode(&bytes), Ok(sent));

        let reply: InferReply = Ok(InferAnswer {
            items: vec![InferredItem {
                output: Bytes::from_static(&[0, 0, 128, 63]),
                tokens: 3,
                cost_us: 9,
                outcome: Outcome::Miss,
            }],
            timings: Timings::default(),
            model_time: None,
        });
        let bytes = Bytes::from(message::encode(&reply));
        assert_eq!(message::decode(&bytes), Ok(reply.clone()));
        let shared = decode_reply(&bytes).expect("a reply");
        let output = &shared.as_ref().expect("an answer").items[0].output;
        assert!(bytes.as_ptr_range().contains(&output.as_ptr()));
        assert_eq!(shared, reply);
        assert_eq!(decode_reply(&bytes.slice(1..)), Err(MessageError::Foreign));
    }

    proptest! {
        /// Keys were made of these bytes before they were cut into pieces, and entries lie under those keys.
        #[test]
        fn bytes_of_tensors_in_a_key_are_those_of_a_message(names in prop::collection::vec(".{0,200}", 0..3), shape: Vec<u64>, data: Vec<u8>) {
            let tensor = |name: String| Tensor {
                name,
                datatype: Datatype::Bytes,
                shape: shape.clone(),
                data: data.clone().into(),
            };
            let tensors: Vec<_> = names.into_iter().map(tensor).collect();
            prop_assert_eq!(canonical(&tensors).concat(), encode_tensors(&tensors));
        }
    }
}
