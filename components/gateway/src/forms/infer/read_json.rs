//! Elements of a tensor as JSON: numbers, booleans or strings, in one list or nested as the shape has them.
//!
//! What is kept goes where it stays: room is made once, for as many elements as the shape says and the text can
//! hold, and never for more bytes than the caller allows. So a million numbers take their text and
//! their elements, and nothing beside.
//!
//! Elements are told by place and type. What they are is the client's alone.

use std::fmt;

use brink_protocol::tensor::Datatype;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::json_error::reason;

/// Why elements cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ElementsError {
    /// The end of a sentence that begins with the tensor.
    Wrong(String),
    /// They have so many bytes, or more.
    TooLarge(u64),
}

impl From<String> for ElementsError {
    fn from(what: String) -> Self {
        Self::Wrong(what)
    }
}

/// Reads the member `data` of an input into the bytes of its elements, at most `room`.
pub(super) fn elements(
    data: &RawValue,
    datatype: Datatype,
    shape: &[u64],
    room: u64,
) -> Result<Vec<u8>, ElementsError> {
    if matches!(datatype, Datatype::Fp16 | Datatype::Bf16) {
        return Err(format!(
            "is of {}, which has no form in JSON; send it as binary data",
            datatype.name()
        )
        .into());
    }
    // serde would quote it.
    if !data.get().starts_with('[') {
        return Err("has data that is no list of elements".to_owned().into());
    }
    let expected = shape
        .iter()
        .try_fold(1u64, |all, size| all.checked_mul(*size));
    let expected = expected.ok_or_else(|| "has a shape that is too large".to_owned())?;
    let bytes = most_bytes(data.get(), datatype, expected);
    if bytes > room {
        return Err(ElementsError::TooLarge(bytes));
    }
    let mut sink = Sink {
        datatype,
        bytes: Vec::with_capacity(usize::try_from(bytes).unwrap_or_default()),
        count: 0,
    };
    let mut deserializer = serde_json::Deserializer::from_str(data.get());
    let list = List {
        sink: &mut sink,
        shape,
        is_outermost: true,
    };
    list.deserialize(&mut deserializer)
        .map_err(|error| format!("has data that cannot be read: {}", reason(&error)))?;
    match expected == sink.count {
        true => Ok(sink.bytes),
        false => Err(format!(
            "has {} elements in data; its shape makes {expected}",
            sink.count
        )
        .into()),
    }
}

/// Most bytes that so many elements of this text can make. An element has a byte of text at least, and one that
/// parts it from the next; a string has its quotes, too, and no fewer bytes of text than it has itself.
fn most_bytes(text: &str, datatype: Datatype, expected: u64) -> u64 {
    let text = text.len() as u64;
    match datatype.size() {
        Some(size) => expected.min(text / 2 + 1).saturating_mul(size as u64),
        None => {
            let elements = expected.min(text / 3 + 1);
            text.saturating_sub(3 * elements) + 4 * elements
        }
    }
}

/// Where elements go, in the form in which tensors have them.
struct Sink {
    datatype: Datatype,
    bytes: Vec<u8>,
    count: u64,
}

impl Sink {
    fn push<E: Error>(&mut self, bytes: &[u8]) -> Result<(), E> {
        self.count += 1;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn wrong<E: Error>(&self, what: &str) -> E {
        let (place, name) = (self.count, self.datatype.name());
        E::custom(format!("element {place} is {what}, which is no {name}"))
    }

    fn integer<E: Error>(&mut self, value: i128) -> Result<(), E> {
        match self.datatype {
            Datatype::Uint8 => self.whole(value, u8::to_le_bytes),
            Datatype::Uint16 => self.whole(value, u16::to_le_bytes),
            Datatype::Uint32 => self.whole(value, u32::to_le_bytes),
            Datatype::Uint64 => self.whole(value, u64::to_le_bytes),
            Datatype::Int8 => self.whole(value, i8::to_le_bytes),
            Datatype::Int16 => self.whole(value, i16::to_le_bytes),
            Datatype::Int32 => self.whole(value, i32::to_le_bytes),
            Datatype::Int64 => self.whole(value, i64::to_le_bytes),
            Datatype::Fp32 | Datatype::Fp64 => self.float(value as f64),
            Datatype::Bool | Datatype::Fp16 | Datatype::Bf16 | Datatype::Bytes => {
                Err(self.wrong("a number"))
            }
        }
    }

    fn whole<T: TryFrom<i128>, const N: usize, E: Error>(
        &mut self,
        value: i128,
        form: fn(T) -> [u8; N],
    ) -> Result<(), E> {
        match T::try_from(value) {
            Ok(value) => self.push(&form(value)),
            Err(_) => Err(self.wrong("a number out of range")),
        }
    }

    fn float<E: Error>(&mut self, value: f64) -> Result<(), E> {
        match self.datatype {
            Datatype::Fp64 => self.push(&value.to_le_bytes()),
            Datatype::Fp32 if (value as f32).is_finite() => {
                self.push(&(value as f32).to_le_bytes())
            }
            Datatype::Fp32 => Err(self.wrong("a number out of range")),
            _ => Err(self.wrong("a number with a fraction or an exponent")),
        }
    }

    fn boolean<E: Error>(&mut self, value: bool) -> Result<(), E> {
        match self.datatype {
            Datatype::Bool => self.push(&[value.into()]),
            _ => Err(self.wrong("a boolean")),
        }
    }

    fn string<E: Error>(&mut self, value: &str) -> Result<(), E> {
        let length = u32::try_from(value.len());
        match (self.datatype, length) {
            (Datatype::Bytes, Ok(length)) => {
                self.bytes.extend_from_slice(&length.to_le_bytes());
                self.push(value.as_bytes())
            }
            _ => Err(self.wrong("a string")),
        }
    }
}

/// A list at one level of nesting. `shape` is what is left of it from this level on.
struct List<'a> {
    sink: &'a mut Sink,
    shape: &'a [u64],
    /// The outermost list may hold all elements, whatever the shape.
    is_outermost: bool,
}

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let inner = self.shape.get(1..).unwrap_or_default();
        let mut length = 0u64;
        let mut nested = None;
        loop {
            let element = Element {
                sink: &mut *self.sink,
                inner,
            };
            let Some(is_list) = list.next_element_seed(element)? else {
                break;
            };
            if *nested.get_or_insert(is_list) != is_list {
                return Err(A::Error::custom("it has elements beside lists of elements"));
            }
            length += 1;
        }
        // A flat list stands for the whole shape; any other has the length that the shape says.
        let is_flat = self.is_outermost && nested != Some(true);
        match self.shape.first() {
            Some(expected) if !is_flat && *expected != length => Err(A::Error::custom(format!(
                "a list has {length} elements where the shape says {expected}"
            ))),
            Some(_) if !is_flat && nested == Some(false) && !inner.is_empty() => {
                Err(A::Error::custom("its lists are not as deep as the shape"))
            }
            _ => Ok(()),
        }
    }
}

/// An element, or a list of them; tells which.
struct Element<'a> {
    sink: &'a mut Sink,
    /// The shape of a list in its place.
    inner: &'a [u64],
}

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, a boolean, a string, or a list of them")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<bool, E> {
        self.sink.boolean(value).map(|()| false)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<bool, E> {
        self.sink.integer(value.into()).map(|()| false)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<bool, E> {
        self.sink.integer(value.into()).map(|()| false)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<bool, E> {
        self.sink.float(value).map(|()| false)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<bool, E> {
        self.sink.string(value).map(|()| false)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<bool, A::Error> {
        if self.inner.is_empty() {
            return Err(A::Error::custom("its lists are deeper than the shape"));
        }
        let list_of = List {
            sink: self.sink,
            shape: self.inner,
            is_outermost: false,
        };
        list_of.visit_seq(list).map(|()| true)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(data: &str, datatype: Datatype, shape: &[u64]) -> Result<Vec<u8>, String> {
        let read = elements(serde_json::from_str(data).unwrap(), datatype, shape, 1000);
        read.map_err(|error| match error {
            ElementsError::Wrong(what) => what,
            ElementsError::TooLarge(bytes) => format!("{bytes} bytes"),
        })
    }

    #[test]
    fn flat_and_nested_lists_are_the_same() {
        let bytes = Ok(vec![1, 2, 3, 4]);
        for data in ["[1,2,3,4]", "[[1,2],[3,4]]"] {
            assert_eq!(read(data, Datatype::Uint8, &[2, 2]), bytes, "{data}");
        }
        assert_eq!(
            read("[[[1],[2]],[[3],[4]]]", Datatype::Uint8, &[2, 2, 1]),
            bytes
        );
        assert_eq!(read("[]", Datatype::Uint8, &[0, 2]), Ok(vec![]));
        assert_eq!(read("[7]", Datatype::Uint8, &[]), Ok(vec![7]));
        assert_eq!(read("[true,false]", Datatype::Bool, &[2]), Ok(vec![1, 0]));
        assert_eq!(
            read(r#"["é",""]"#, Datatype::Bytes, &[2]),
            Ok(b"\x02\0\0\0\xc3\xa9\0\0\0\0".to_vec())
        );
        assert_eq!(
            read("[1,-2.5]", Datatype::Fp32, &[2]),
            Ok([1.0f32.to_le_bytes(), (-2.5f32).to_le_bytes()].concat())
        );
        assert_eq!(
            read("[-9223372036854775808]", Datatype::Int64, &[1]),
            Ok(i64::MIN.to_le_bytes().to_vec())
        );
        assert_eq!(
            read("[18446744073709551615]", Datatype::Uint64, &[1]),
            Ok(vec![0xff; 8])
        );
    }

    #[test]
    fn what_does_not_fit_is_told_by_place_and_type() {
        let check = |data: &str, datatype, shape: &[u64], part: &str| {
            let message = read(data, datatype, shape).unwrap_err();
            assert!(message.contains(part), "{message}");
        };
        check(
            "[1,256]",
            Datatype::Uint8,
            &[2],
            "element 1 is a number out of range, which is no UINT8",
        );
        check("[-1]", Datatype::Uint64, &[1], "no UINT64");
        check("[2147483648]", Datatype::Int32, &[1], "no INT32");
        check("[1.5]", Datatype::Int32, &[1], "a fraction");
        check("[1e39]", Datatype::Fp32, &[1], "no FP32");
        check("[1]", Datatype::Bool, &[1], "a number, which is no BOOL");
        check("[true]", Datatype::Fp32, &[1], "no FP32");
        check(r#"["secret"]"#, Datatype::Fp32, &[1], "a string");
        check("[1]", Datatype::Bytes, &[1], "no BYTES");
        check("[1]", Datatype::Fp16, &[1], "binary data");
        check("[1]", Datatype::Bf16, &[1], "binary data");
        check(
            "[1,2]",
            Datatype::Uint8,
            &[3],
            "2 elements in data; its shape makes 3",
        );
        check(
            "[[1,2],[3]]",
            Datatype::Uint8,
            &[2, 2],
            "where the shape says 2",
        );
        check("[[1],2]", Datatype::Uint8, &[2, 1], "beside");
        check("[[1,2]]", Datatype::Uint8, &[2], "deeper");
        check("[[1,2]]", Datatype::Uint8, &[1, 2, 1], "not as deep");
        check("[]", Datatype::Uint8, &[u64::MAX, 2], "too large");
        check("1", Datatype::Uint8, &[1], "list");
        check("[null]", Datatype::Uint8, &[1], "null");
    }

    #[test]
    fn no_element_is_told() {
        for (data, datatype) in [
            (r#"["4711"]"#, Datatype::Fp32),
            (r#"[["4711"]]"#, Datatype::Bytes),
            ("[4711]", Datatype::Uint8),
            ("[-4711]", Datatype::Uint64),
            ("[4711]", Datatype::Bool),
            ("[4711]", Datatype::Bytes),
            ("[0.4711]", Datatype::Int32),
            ("[4711e300]", Datatype::Fp32),
            (r#"[{"4711":4711}]"#, Datatype::Fp32),
        ] {
            let message = read(data, datatype, &[1]).unwrap_err();
            assert!(!message.contains("4711"), "{data}: {message}");
        }
    }

    #[test]
    fn room_is_made_once_for_what_can_be_there_and_no_more_than_allowed() {
        let ask = |data: &str, datatype, shape: &[u64], room| {
            elements(serde_json::from_str(data).unwrap(), datatype, shape, room)
        };
        let numbers = format!("[{}]", ["0.25"; 500].join(","));
        let read = ask(&numbers, Datatype::Fp32, &[500], 2000).unwrap();
        assert_eq!((read.len(), read.capacity()), (2000, 2000));
        let expected = Err(ElementsError::TooLarge(2000));
        assert_eq!(ask(&numbers, Datatype::Fp32, &[500], 1999), expected);
        // A shape that claims more than the text can hold.
        let claimed = ask("[1,2]", Datatype::Fp64, &[1 << 40], 1000);
        assert!(matches!(claimed, Err(ElementsError::Wrong(what)) if what.contains("2 elements")));
        let strings = format!("[{}]", ["\"ab\""; 100].join(","));
        let read = ask(&strings, Datatype::Bytes, &[100], 1000).unwrap();
        assert!(
            read.len() == 600 && read.capacity() <= 602,
            "{}",
            read.capacity()
        );
    }

    proptest! {
        #[test]
        fn no_data_makes_the_reader_panic(data in r#"[\[\]",0-9.eE+-]{0,30}"#, shape in prop::collection::vec(0u64..4, 0..4)) {
            let Ok(raw) = serde_json::from_str::<&RawValue>(&data) else { return Ok(()); };
            for datatype in Datatype::ALL {
                if let (Ok(bytes), Some(size)) = (elements(raw, datatype, &shape, 1000), datatype.size()) {
                    prop_assert_eq!(bytes.len() as u64, shape.iter().product::<u64>() * size as u64);
                }
            }
        }
    }
}
