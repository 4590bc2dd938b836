//! One form for JSON that means one thing: RFC 8785 (JSON Canonicalization Scheme).
//!
//! Order of members, white space and the way numbers are written must not split cache
//! entries. What RFC 8785 cannot tell apart must not share one either, so two things are
//! refused here rather than made canonical:
//!
//! - A member that occurs twice. Readers disagree about which one counts (RFC 8259 §4); were
//!   the cache to read one and the upstream the other, one client could plant an answer under
//!   another request's key.
//! - An integer beyond 2^53, which a double cannot hold exactly. `seed` 9007199254740993 and
//!   9007199254740992 would be one. (Beyond 2^64 serde_json itself reads doubles.)

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Largest integer that a double holds together with all below it.
const MAX_EXACT: u64 = 1 << 53;

/// Why there is no canonical form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// No JSON, or a member that occurs twice.
    #[error("the body is no JSON with distinct members: line {line}, column {column}")]
    Json {
        /// Where, from 1.
        line: usize,
        /// Where, from 1.
        column: usize,
    },
    /// JSON, and no object.
    #[error("the body is JSON and no object")]
    NotAnObject,
    /// A number that no double holds exactly.
    #[error("the body holds an integer beyond 2^53, which has no canonical form")]
    Inexact,
}

/// Reads a JSON object whose members, at every depth, are distinct.
pub fn parse(body: &[u8]) -> Result<Map<String, Value>, CanonicalError> {
    match serde_json::from_slice(body) {
        Ok(Distinct(Value::Object(object))) => Ok(object),
        Ok(_) => Err(CanonicalError::NotAnObject),
        Err(error) => Err(CanonicalError::Json {
            line: error.line(),
            column: error.column(),
        }),
    }
}

/// The canonical form of a value.
pub fn value(value: &Value) -> Result<String, CanonicalError> {
    if !is_exact(value) {
        return Err(CanonicalError::Inexact);
    }
    Ok(serde_json_canonicalizer::to_string(value)
        .expect("a JSON value has text as member names and finite numbers"))
}

/// The canonical form of an object that holds the chosen members of another.
pub fn members(
    object: &Map<String, Value>,
    is_chosen: impl Fn(&str, &Value) -> bool,
) -> Result<String, CanonicalError> {
    let chosen = object
        .iter()
        .filter(|(name, value)| is_chosen(name, value))
        .map(|(name, value)| (name.clone(), value.clone()));
    value(&Value::Object(chosen.collect()))
}

fn is_exact(value: &Value) -> bool {
    match value {
        Value::Number(number) => {
            let size = number
                .as_u64()
                .or_else(|| number.as_i64().map(i64::unsigned_abs));
            size.is_none_or(|size| size <= MAX_EXACT)
        }
        Value::Array(elements) => elements.iter().all(is_exact),
        Value::Object(members) => members.values().all(is_exact),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

/// A value without repeated members. serde_json's own reader keeps the last one.
struct Distinct(Value);

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DistinctVisitor).map(Self)
    }
}

struct DistinctVisitor;

impl<'de> Visitor<'de> for DistinctVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON with distinct members")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number is not finite"))?;
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Distinct(element)) = elements.next_element()? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Distinct(value))) = members.next_entry::<String, _>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a member occurs twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str) -> String {
        let Distinct(parsed) = serde_json::from_str(text).unwrap();
        value(&parsed).unwrap()
    }

    #[test]
    fn example_of_the_rfc_is_canonicalised() {
        // RFC 8785 §3.2.2 (input) and §3.2.4 (bytes).
        let input = r#"{
            "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
            "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
            "literals": [null, true, false]
        }"#;
        let expected = "7b 22 6c 69 74 65 72 61 6c 73 22 3a 5b 6e 75 6c 6c 2c 74 72 75 65 2c 66 61 6c 73 65 5d \
            2c 22 6e 75 6d 62 65 72 73 22 3a 5b 33 33 33 33 33 33 33 33 33 2e 33 33 33 33 33 33 33 2c 31 65 2b \
            33 30 2c 34 2e 35 2c 30 2e 30 30 32 2c 31 65 2d 32 37 5d 2c 22 73 74 72 69 6e 67 22 3a 22 e2 82 ac \
            24 5c 75 30 30 30 66 5c 6e 41 27 42 5c 22 5c 5c 5c 5c 5c 22 2f 22 7d";
        let expected: Vec<u8> = expected
            .split_whitespace()
            .map(|byte| u8::from_str_radix(byte, 16).unwrap())
            .collect();
        assert_eq!(canonical(input).into_bytes(), expected);
    }

    #[test]
    fn members_are_sorted_by_utf_16_units() {
        // RFC 8785 §3.2.3: the smiley, a surrogate pair, goes before U+FB33.
        let input = "{\"\\u20ac\": 1, \"\\r\": 2, \"\\ufb33\": 3, \"1\": 4, \"\\ud83d\\ude00\": 5, \"\\u0080\": 6, \"\\u00f6\": 7}";
        assert_eq!(
            canonical(input),
            "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\u{fb33}\":3}"
        );
    }

    #[test]
    fn numbers_have_the_form_of_appendix_b() {
        let check = |bits: u64, expected: &str| {
            let number = Value::from(f64::from_bits(bits));
            assert_eq!(value(&number).unwrap(), expected, "{bits:016x}");
        };
        check(0x0000_0000_0000_0000, "0");
        check(0x8000_0000_0000_0000, "0");
        check(0x0000_0000_0000_0001, "5e-324");
        check(0x8000_0000_0000_0001, "-5e-324");
        check(0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308");
        check(0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308");
        check(0x4340_0000_0000_0000, "9007199254740992");
        check(0xc340_0000_0000_0000, "-9007199254740992");
        check(0x4430_0000_0000_0000, "295147905179352830000");
        check(0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22");
        check(0x44b5_2d02_c7e1_4af6, "1e+23");
        check(0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23");
        check(0x444b_1ae4_d6e2_ef4e, "999999999999999700000");
        check(0x444b_1ae4_d6e2_ef4f, "999999999999999900000");
        check(0x444b_1ae4_d6e2_ef50, "1e+21");
        check(0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7");
        check(0x3eb0_c6f7_a0b5_ed8d, "0.000001");
        check(0x41b3_de43_5555_5553, "333333333.3333332");
        check(0x41b3_de43_5555_5554, "333333333.33333325");
        check(0x41b3_de43_5555_5555, "333333333.3333333");
        check(0x41b3_de43_5555_5556, "333333333.3333334");
        check(0x41b3_de43_5555_5557, "333333333.33333343");
        check(0xbecb_f647_612f_3696, "-0.0000033333333333333333");
        check(0x4314_3ff3_c1cb_0959, "1424953923781206.2");
    }

    #[test]
    fn what_two_readers_would_read_differently_is_refused() {
        let check = |body: &str, expected: CanonicalError| {
            assert_eq!(parse(body.as_bytes()), Err(expected), "{body}");
        };
        let json = |column| CanonicalError::Json { line: 1, column };
        check(r#"{"a":1,"a":1}"#, json(13));
        check(r#"{"a":{"b":1,"\u0062":2}}"#, json(23));
        check(r#"{"a":1"#, json(6));
        check(r#"{"a":"\ud800"}"#, json(13));
        check("[1]", CanonicalError::NotAnObject);
        check("", json(0));
    }

    #[test]
    fn integers_that_no_double_holds_are_refused() {
        let check = |number: &str, expected: Option<&str>| {
            let body = format!("{{\"a\":[{number}]}}");
            let object = parse(body.as_bytes()).unwrap();
            let expected = expected.map(|number| format!("{{\"a\":[{number}]}}"));
            assert_eq!(members(&object, |_, _| true).ok(), expected, "{number}");
        };
        check("9007199254740992", Some("9007199254740992"));
        check("-9007199254740992", Some("-9007199254740992"));
        check("9007199254740993", None);
        check("-9007199254740993", None);
        check("18446744073709551615", None);
        check("1e3", Some("1000"));
        check("-0", Some("0"));
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            (-1e300..1e300).prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((".{0,4}", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// However a value is written, its canonical form is one, and is its own.
        #[test]
        fn canonical_form_does_not_depend_on_writing(json in json()) {
            let once = value(&json).unwrap();
            prop_assert_eq!(&canonical(&once), &once);
            prop_assert_eq!(&canonical(&serde_json::to_string_pretty(&json).unwrap()), &once);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            if let Ok(object) = parse(&bytes) {
                let _ = members(&object, |_, _| true);
            }
        }
    }
}
