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

use std::fmt;
use std::time::Duration;

use brink_protocol::infer::LEAST_URGENCY;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::error::{ApiError, shorten};
use crate::forms::at_most::skip;

/// Most parameters of a request, of an input or of an output. Those that are known are a handful.
pub(super) const MAX_PARAMETERS: usize = 64;

/// Parameters as written: names, and of values what they can mean. At most one more than allowed is kept.
#[derive(Debug, Default)]
pub(super) struct Parameters(Vec<(String, Value)>);

/// A value, as far as any parameter here asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    /// A whole number from 0 on.
    Whole(u64),
    /// Any other number.
    Number,
    Flag(bool),
    Text {
        is_empty: bool,
    },
    /// What no parameter may be: null, a list or an object.
    Other,
}

impl Parameters {
    fn checked(&self) -> Result<&[(String, Value)], ApiError> {
        if self.0.len() <= MAX_PARAMETERS {
            return Ok(&self.0);
        }
        let message = format!(
            "there are more than {MAX_PARAMETERS} parameters, the most allowed in one place"
        );
        Err(ApiError::invalid("parameters", message))
    }
}

/// The last of several parameters of one name counts, as in most readers of JSON.
fn find<'p>(parameters: &'p [(String, Value)], name: &str) -> Option<&'p (String, Value)> {
    parameters.iter().rev().find(|(own, _)| own == name)
}

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ParametersVisitor;

        impl<'de> Visitor<'de> for ParametersVisitor {
            type Value = Parameters;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of parameters")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parameters, A::Error> {
                let mut parameters = Vec::new();
                while parameters.len() <= MAX_PARAMETERS {
                    match map.next_entry()? {
                        Some(parameter) => parameters.push(parameter),
                        None => return Ok(Parameters(parameters)),
                    }
                }
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Parameters(parameters))
            }
        }

        deserializer.deserialize_map(ParametersVisitor)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Whole(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Number)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Flag(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        let is_empty = value.is_empty();
        Ok(Value::Text { is_empty })
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Value, A::Error> {
        skip(list).map(|_| Value::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }
}

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
        for (name, value) in parameters.checked()? {
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
                _ if *value == Value::Other => {
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
    let parameters = parameters.checked()?;
    refuse_shared_memory(parameters)?;
    let size = find(parameters, "binary_data_size");
    size.map(|(name, value)| integer(name, value)).transpose()
}

/// How an output is wanted: binary or not, and how many classes of it.
pub(super) fn output(parameters: &Parameters) -> Result<(Option<bool>, Option<u64>), ApiError> {
    let parameters = parameters.checked()?;
    refuse_shared_memory(parameters)?;
    let binary = find(parameters, "binary_data");
    let classes = find(parameters, "classification");
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
        Value::Whole(number) => *number == 0,
        Value::Text { is_empty } => *is_empty,
        Value::Flag(flag) => !flag,
        Value::Number | Value::Other => false,
    };
    match means_none {
        true => Ok(()),
        false => Err(wrong(
            name,
            "asks for a sequence; models here know no request but the one that they answer",
        )),
    }
}

fn refuse_shared_memory(parameters: &[(String, Value)]) -> Result<(), ApiError> {
    let is_shared = |(name, _): &&(String, Value)| name.starts_with(SHARED_MEMORY);
    match parameters.iter().find(is_shared) {
        Some((name, _)) => Err(wrong(
            name,
            "asks for shared memory, which is not offered; send the bytes",
        )),
        None => Ok(()),
    }
}

fn integer(name: &str, value: &Value) -> Result<u64, ApiError> {
    match value {
        Value::Whole(number) => Ok(*number),
        _ => Err(wrong(name, "is no whole number from 0 on")),
    }
}

fn flag(name: &str, value: &Value) -> Result<bool, ApiError> {
    match value {
        Value::Flag(flag) => Ok(*flag),
        _ => Err(wrong(name, "is neither true nor false")),
    }
}

fn wrong(name: &str, what: &str) -> ApiError {
    let message = format!("the parameter {} {what}", shorten(name));
    ApiError::invalid("parameters", message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parameters(value: &serde_json::Value) -> Parameters {
        serde_json::from_str(&value.to_string()).unwrap()
    }

    fn wishes(value: serde_json::Value) -> Result<Wishes, String> {
        Wishes::read(&parameters(&value)).map_err(|error| error.message)
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
        let check = |value: serde_json::Value, part: &str| {
            let message = wishes(value).unwrap_err();
            assert!(message.contains(part), "{message}");
        };
        check(json!({"priority": -1}), "priority");
        check(json!({"timeout": "1"}), "timeout");
        check(json!({"binary_data_output": 1}), "binary_data_output");
        check(json!({"sequence_id": 7}), "sequence");
        check(json!({"triton_x": 1}), "reserved");
        check(json!({"custom": {}}), "custom");
        check(json!({"custom": [{}]}), "custom");
        check(json!({"custom": null}), "custom");
        let shared = parameters(&json!({"shared_memory_region": "r"}));
        let error = output(&shared).unwrap_err();
        assert!(error.message.contains("shared memory"), "{}", error.message);
        assert!(binary_size(&shared).is_err());
    }

    #[test]
    fn too_many_are_refused_and_not_kept() {
        let many = |count: usize| {
            let names = (0..count).map(|place| (place.to_string(), json!(1)));
            serde_json::Value::Object(names.collect())
        };
        assert!(wishes(many(MAX_PARAMETERS)).is_ok());
        assert!(wishes(many(MAX_PARAMETERS + 1)).unwrap_err().contains("64"));
        assert_eq!(parameters(&many(1000)).0.len(), MAX_PARAMETERS + 1);
    }
}
