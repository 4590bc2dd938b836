//! The `input` member: a string, strings, token ids, or lists of token ids.

use std::fmt;

use brink_protocol::Input;
use brink_protocol::limits::MAX_INPUTS;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// All inputs of a request, in the client's order.
///
/// Reading stops one past the limit: the rest of an endless array is never kept in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inputs(pub(super) Vec<Input>);

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
            Some(Element::Token(first)) => {
                Ok(Inputs(vec![Input::Tokens(rest_of_tokens(first, array)?)]))
            }
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
        u32::try_from(token)
            .map(Element::Token)
            .map_err(|_| E::custom(format!("the token id {token} is above {}", u32::MAX)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Element, E> {
        Ok(Element::Input(Input::Text(text.to_owned())))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Element, E> {
        Ok(Element::Input(Input::Text(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Element, A::Error> {
        let mut tokens = Vec::new();
        while let Some(token) = array.next_element()? {
            tokens.push(token);
        }
        Ok(Element::Input(Input::Tokens(tokens)))
    }
}

fn rest_of_tokens<'de, A: SeqAccess<'de>>(first: u32, mut array: A) -> Result<Vec<u32>, A::Error> {
    let mut tokens = vec![first];
    while let Some(token) = array.next_element()? {
        tokens.push(token);
    }
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
        if inputs.len() > MAX_INPUTS {
            return Err(A::Error::custom(format!(
                "the array has more than {MAX_INPUTS} inputs; at most {MAX_INPUTS} are allowed"
            )));
        }
    }
    Ok(Inputs(inputs))
}
