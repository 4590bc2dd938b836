//! The inputs of a body: a string, strings, token ids, or lists of token ids.

use std::fmt;

use brink_protocol::limits::{MAX_INPUT_BYTES, MAX_INPUT_TOKENS, MAX_INPUTS, MAX_MESSAGE_BYTES};
use brink_protocol::{Input, ModelInfo, TextLimits};
use http::StatusCode;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use super::at_most::skip;
use crate::error::ApiError;

/// All inputs of a request, in the client's order.
///
/// One more than the limit is kept at most, which [`check_inputs`] refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inputs(pub(crate) Vec<Input>);

const EXPECTED: &str =
    "a string, an array of strings, an array of token ids, or an array of arrays of token ids";

impl<'de> Deserialize<'de> for Inputs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InputsVisitor)
    }
}

struct InputsVisitor;

impl<'de> Visitor<'de> for InputsVisitor {
    type Value = Inputs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Inputs, E> {
        Ok(Inputs(vec![Input::Text(text.to_owned())]))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Inputs, E> {
        Ok(Inputs(vec![Input::Text(text)]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Inputs, A::Error> {
        match array.next_element::<Element>()? {
            None => Ok(Inputs(Vec::new())),
            Some(Element::Token(first)) => Ok(Inputs(vec![Input::Tokens(rest_of_tokens(
                vec![first],
                array,
            )?)])),
            Some(Element::Input(first)) => rest_of_inputs(first, array),
        }
    }
}

/// The first element decides what the array is.
enum Element {
    Token(u32),
    Input(Input),
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ElementVisitor)
    }
}

struct ElementVisitor;

impl<'de> Visitor<'de> for ElementVisitor {
    type Value = Element;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a token id (0 to 4294967295), or an array of token ids")
    }

    fn visit_u64<E: Error>(self, token: u64) -> Result<Element, E> {
        u32::try_from(token).map(Element::Token).map_err(|_| {
            E::custom(format!(
                "a token id is above {}, the highest allowed",
                u32::MAX
            ))
        })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Element, E> {
        Ok(Element::Input(Input::Text(text.to_owned())))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Element, E> {
        Ok(Element::Input(Input::Text(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<Element, A::Error> {
        let tokens = rest_of_tokens(Vec::new(), array)?;
        Ok(Element::Input(Input::Tokens(tokens)))
    }
}

/// One too many tells that there are, as it does of inputs: a token takes more room here than in a body.
fn rest_of_tokens<'de, A: SeqAccess<'de>>(
    mut tokens: Vec<u32>,
    mut array: A,
) -> Result<Vec<u32>, A::Error> {
    while tokens.len() <= MAX_INPUT_TOKENS {
        match array.next_element()? {
            Some(token) => tokens.push(token),
            None => return Ok(tokens),
        }
    }
    skip(array)?;
    Ok(tokens)
}

fn rest_of_inputs<'de, A: SeqAccess<'de>>(first: Input, mut array: A) -> Result<Inputs, A::Error> {
    let wants_text = matches!(first, Input::Text(_));
    let mut inputs = vec![first];
    while let Some(element) = array.next_element::<Element>()? {
        match element {
            Element::Input(input) if matches!(input, Input::Text(_)) == wants_text => {
                inputs.push(input);
            }
            _ => {
                return Err(A::Error::custom(format!(
                    "the elements differ in kind; expected {EXPECTED}"
                )));
            }
        }
        // One too many tells that there are; the rest of an endless array is never kept.
        if inputs.len() > MAX_INPUTS {
            skip(array)?;
            break;
        }
    }
    Ok(Inputs(inputs))
}

/// Checks how many there are.
pub(super) fn check_count(member: &str, inputs: &[Input]) -> Result<(), ApiError> {
    if inputs.is_empty() {
        let message = format!("{member} is an empty array; at least one is needed");
        return Err(ApiError::invalid(member, message));
    }
    match inputs.len() > MAX_INPUTS {
        true => Err(ApiError::too_many_inputs(member)),
        false => Ok(()),
    }
}

/// Checks the limits that hold for every model. `member` is what the client calls its inputs.
pub(crate) fn check_inputs(member: &str, inputs: &[Input]) -> Result<(), ApiError> {
    check_count(member, inputs)?;
    check_each(inputs, |index| format!("{member}[{index}]"))
}

/// Checks each input. `param` is what the client calls the input of an index.
pub(super) fn check_each(
    inputs: &[Input],
    param: impl Fn(usize) -> String,
) -> Result<(), ApiError> {
    for (index, input) in inputs.iter().enumerate() {
        let message = match input {
            Input::Text(text) if text.is_empty() => "is an empty string".to_owned(),
            Input::Tokens(tokens) if tokens.is_empty() => "has no tokens".to_owned(),
            Input::Text(text) if text.len() > MAX_INPUT_BYTES => format!(
                "has {} bytes; at most {MAX_INPUT_BYTES} are allowed",
                text.len()
            ),
            Input::Tokens(tokens) if tokens.len() > MAX_INPUT_TOKENS => {
                format!("has more than {MAX_INPUT_TOKENS} tokens, the most allowed")
            }
            _ => continue,
        };
        let param = param(index);
        let message = format!("{param} {message}");
        return Err(ApiError::invalid(param, message));
    }
    Ok(())
}

/// Holds token ids against the model that they are for.
pub(super) fn check_tokens(
    member: &str,
    inputs: &[Input],
    truncate: bool,
    (model, limits): (&ModelInfo, TextLimits),
) -> Result<(), ApiError> {
    for (index, input) in inputs.iter().enumerate() {
        let Input::Tokens(tokens) = input else {
            continue;
        };
        let unknown = tokens.iter().position(|token| *token >= limits.vocabulary);
        if let Some(position) = unknown {
            let message = format!(
                "has the token id {} at position {position}; the ids of {} are below {}",
                tokens[position], model.name, limits.vocabulary
            );
            return Err(wrong_input(member, index, &message));
        }
        if !truncate && tokens.len() > limits.max_tokens as usize {
            let message = format!(
                "has {} tokens; the model {} takes at most {}, special tokens included (\"truncate\": true cuts longer inputs)",
                tokens.len(),
                model.name,
                limits.max_tokens
            );
            let mut error = wrong_input(member, index, &message);
            error.code = brink_protocol::FaultCode::InputTooLong.name();
            return Err(error);
        }
    }
    Ok(())
}

/// Most bytes of all inputs of a request together, as they cross the wire to the host: what a message may have,
/// less a mebibyte for all that is around them. The body's own limit is a setting, and usually lower.
pub(super) const MAX_TOTAL_BYTES: usize = MAX_MESSAGE_BYTES - (1 << 20);

/// Checks what the inputs have together.
pub(super) fn check_total(member: &str, inputs: &[Input]) -> Result<(), ApiError> {
    let bytes = |input: &Input| match input {
        Input::Text(text) => text.len(),
        Input::Blob(blob) => blob.len(),
        Input::LongText(digest) => digest.len(),
        Input::Tokens(tokens) => tokens.len() * size_of::<u32>(),
        Input::Tensors(tensors) => tensors.iter().map(|tensor| tensor.data.len()).sum(),
    };
    let total: usize = inputs.iter().map(bytes).sum();
    if total <= MAX_TOTAL_BYTES {
        return Ok(());
    }
    let message =
        format!("{member} has {total} bytes in all; at most {MAX_TOTAL_BYTES} are allowed");
    Err(ApiError {
        param: Some(member.to_owned()),
        ..ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "inputs_too_large", message)
    })
}

/// 400: that input, and what of it.
pub(super) fn wrong_input(member: &str, index: usize, message: &str) -> ApiError {
    let param = format!("{member}[{index}]");
    let message = format!("{param} {message}");
    ApiError::invalid(param, message)
}
