//! Parameters of requests, inputs and outputs: which are known, and what they mean here.
//!
//! | parameter | of | meaning |
//! | --- | --- | --- |
//! | `priority` | request | 1 is the most urgent, 0 the default; over the header `priority` |
//! | `timeout` | request | microseconds that the request may take, 0 for the default |
//! | `binary_data_output` | request | whether outputs are binary that do not say so themselves |
//! | `binary_data_size` | input | its bytes follow the JSON |
//! | `binary_data` | output | whether it is binary |
//! | `classification` | output | how many of its highest elements are told, with their labels |
//!
//! Sequences and shared memory are refused. Any other parameter is the model's own in this protocol; no
//! model here reads any, so they are ignored.

use std::time::Duration;

use brink_protocol::infer::LEAST_URGENCY;
use serde_json::{Map, Value};

use crate::error::{ApiError, shorten};

/// Parameters as written.
pub(super) type Parameters = Map<String, Value>;

/// Makes results depend on requests before this one.
const SEQUENCE: [&str; 3] = ["sequence_id", "sequence_start", "sequence_end"];
/// Names memory of a machine that the client would have to share.
const SHARED_MEMORY: &str = "shared_memory";

/// What a request's parameters ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    pub(super) urgency: Option<u8>,
    pub(super) timeout: Option<Duration>,
    pub(super) binary_output: bool,
}

impl Wishes {
    pub(super) fn read(parameters: &Parameters) -> Result<Self, ApiError> {
        let mut wishes = Self::default();
        for (name, value) in parameters {
            match name.as_str() {
                "priority" => wishes.urgency = urgency(integer(name, value)?),
                "timeout" => {
                    let timeout = integer(name, value)?;
                    wishes.timeout = (timeout > 0).then(|| Duration::from_micros(timeout));
                }
                "binary_data_output" => wishes.binary_output = flag(name, value)?,
                _ if SEQUENCE.contains(&name.as_str()) => refuse_sequence(name, value)?,
                _ if name.starts_with("triton_") => {
                    return Err(wrong(
                        name,
                        "is not known; names that begin with triton_ are reserved",
                    ));
                }
                _ if !is_plain(value) => {
                    return Err(wrong(name, "is no string, number or boolean"));
                }
                _ => {}
            }
        }
        Ok(wishes)
    }
}

/// Bytes that follow the JSON, of an input that has any there.
pub(super) fn binary_size(parameters: &Parameters) -> Result<Option<u64>, ApiError> {
    refuse_shared_memory(parameters)?;
    let size = parameters.get_key_value("binary_data_size");
    size.map(|(name, value)| integer(name, value)).transpose()
}

/// How an output is wanted: binary or not, and how many classes of it.
pub(super) fn output(parameters: &Parameters) -> Result<(Option<bool>, Option<u64>), ApiError> {
    refuse_shared_memory(parameters)?;
    let binary = parameters.get_key_value("binary_data");
    let classes = parameters.get_key_value("classification");
    Ok((
        binary.map(|(name, value)| flag(name, value)).transpose()?,
        classes
            .map(|(name, value)| integer(name, value))
            .transpose()?
            .filter(|classes| *classes > 0),
    ))
}

/// The protocol's priorities begin at 1, and those of RFC 9218 at 0.
fn urgency(priority: u64) -> Option<u8> {
    let urgency = priority.checked_sub(1)?.min(LEAST_URGENCY.into());
    u8::try_from(urgency).ok()
}

fn refuse_sequence(name: &str, value: &Value) -> Result<(), ApiError> {
    let means_none = match value {
        Value::Number(number) => number.as_u64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Bool(flag) => !flag,
        _ => false,
    };
    match means_none {
        true => Ok(()),
        false => Err(wrong(
            name,
            "asks for a sequence; models here know no request but the one that they answer",
        )),
    }
}

fn refuse_shared_memory(parameters: &Parameters) -> Result<(), ApiError> {
    match parameters
        .keys()
        .find(|name| name.starts_with(SHARED_MEMORY))
    {
        Some(name) => Err(wrong(
            name,
            "asks for shared memory, which is not offered; send the bytes",
        )),
        None => Ok(()),
    }
}

fn is_plain(value: &Value) -> bool {
    matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_))
}

fn integer(name: &str, value: &Value) -> Result<u64, ApiError> {
    value
        .as_u64()
        .ok_or_else(|| wrong(name, "is no whole number from 0 on"))
}

fn flag(name: &str, value: &Value) -> Result<bool, ApiError> {
    value
        .as_bool()
        .ok_or_else(|| wrong(name, "is neither true nor false"))
}

fn wrong(name: &str, what: &str) -> ApiError {
    let message = format!("the parameter {} {what}", shorten(name));
    ApiError::invalid("parameters", message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wishes(value: Value) -> Result<Wishes, String> {
        let parameters = value.as_object().cloned().unwrap_or_default();
        Wishes::read(&parameters).map_err(|error| error.message)
    }

    #[test]
    fn known_parameters_are_honoured_and_those_of_models_ignored() {
        let asked = wishes(
            json!({"priority": 2, "timeout": 5000, "binary_data_output": true,
            "sequence_id": 0, "sequence_start": false, "custom": "a", "n": 1, "b": true}),
        );
        assert_eq!(
            asked,
            Ok(Wishes {
                urgency: Some(1),
                timeout: Some(Duration::from_millis(5)),
                binary_output: true,
            })
        );
        assert_eq!(
            wishes(json!({"priority": 0, "timeout": 0})),
            Ok(Wishes::default())
        );
        assert_eq!(
            wishes(json!({"priority": 100})).map(|wishes| wishes.urgency),
            Ok(Some(7))
        );
    }

    #[test]
    fn others_are_refused_by_name() {
        let check = |value: Value, part: &str| {
            let message = wishes(value).unwrap_err();
            assert!(message.contains(part), "{message}");
        };
        check(json!({"priority": -1}), "priority");
        check(json!({"timeout": "1"}), "timeout");
        check(json!({"binary_data_output": 1}), "binary_data_output");
        check(json!({"sequence_id": 7}), "sequence");
        check(json!({"triton_x": 1}), "reserved");
        check(json!({"custom": {}}), "custom");
        let shared = json!({"shared_memory_region": "r"});
        let error = output(shared.as_object().unwrap()).unwrap_err();
        assert!(error.message.contains("shared memory"), "{}", error.message);
        assert!(binary_size(shared.as_object().unwrap()).is_err());
    }
}
