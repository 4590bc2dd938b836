//! Elements of a tensor written as JSON, in one flat list.

use brink_protocol::tensor::{Datatype, Strings};
use bytes::Bytes;

/// Why elements are not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unwritten {
    /// They have no such form: the end of a sentence that begins with the tensor.
    NoForm(String),
    /// There is more than the limit.
    TooLarge,
}

impl From<String> for Unwritten {
    fn from(what: String) -> Self {
        Self::NoForm(what)
    }
}

/// Appends the elements of all rows, until `out` has more than `limit` bytes.
pub(super) fn elements(
    datatype: Datatype,
    rows: &[Bytes],
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), Unwritten> {
    reserve(datatype, rows, limit, out);
    out.push(b'[');
    let start = out.len();
    for row in rows {
        let mut list = List { start, limit, out };
        match datatype {
            Datatype::Bool => list.add(row, |[one]| one != 0, boolean),
            Datatype::Uint8 => list.add(row, u8::from_le_bytes, integer),
            Datatype::Uint16 => list.add(row, u16::from_le_bytes, integer),
            Datatype::Uint32 => list.add(row, u32::from_le_bytes, integer),
            Datatype::Uint64 => list.add(row, u64::from_le_bytes, integer),
            Datatype::Int8 => list.add(row, i8::from_le_bytes, integer),
            Datatype::Int16 => list.add(row, i16::from_le_bytes, integer),
            Datatype::Int32 => list.add(row, i32::from_le_bytes, integer),
            Datatype::Int64 => list.add(row, i64::from_le_bytes, integer),
            Datatype::Fp32 => list.add(row, f32::from_le_bytes, single),
            Datatype::Fp64 => list.add(row, f64::from_le_bytes, double),
            Datatype::Bytes => list.strings(row),
            Datatype::Fp16 | Datatype::Bf16 => Err(no_form(datatype.name()).into()),
        }?;
    }
    out.push(b']');
    Ok(())
}

/// Makes room once, for the longest that each number can be, and for hardly more than the limit.
fn reserve(datatype: Datatype, rows: &[Bytes], limit: usize, out: &mut Vec<u8>) {
    let longest = match datatype {
        Datatype::Uint8 => 4,
        Datatype::Int8 => 5,
        Datatype::Bool | Datatype::Uint16 => 6,
        Datatype::Int16 => 7,
        Datatype::Uint32 => 11,
        Datatype::Int32 => 12,
        Datatype::Fp32 => 16,
        Datatype::Uint64 | Datatype::Int64 => 21,
        Datatype::Fp64 => 25,
        // Of strings, the bytes are counted instead.
        Datatype::Bytes | Datatype::Fp16 | Datatype::Bf16 => 1,
    };
    let bytes: usize = rows.iter().map(Bytes::len).sum();
    let elements = bytes / datatype.size().unwrap_or(1);
    let wanted = elements.saturating_mul(longest).saturating_add(64);
    // So much more that the element which is too much does not make all of it move.
    let most = limit.saturating_sub(out.len()).saturating_add(64);
    out.reserve_exact(wanted.min(most));
}

/// A list that is being written.
struct List<'a> {
    /// Where its first element is.
    start: usize,
    limit: usize,
    out: &'a mut Vec<u8>,
}

impl List<'_> {
    fn add<T, const N: usize>(
        &mut self,
        data: &[u8],
        read: impl Fn([u8; N]) -> T,
        write: impl Fn(T, &mut Vec<u8>) -> Option<()>,
    ) -> Result<(), Unwritten> {
        let (elements, _) = data.as_chunks::<N>();
        for element in elements {
            self.begin()?;
            write(read(*element), self.out)
                .ok_or_else(|| no_form("an element that is not finite"))?;
        }
        Ok(())
    }

    fn strings(&mut self, data: &[u8]) -> Result<(), Unwritten> {
        for string in Strings::new(data) {
            self.begin()?;
            let text = string
                .ok()
                .and_then(|string| std::str::from_utf8(string).ok());
            let text = text.ok_or_else(|| no_form("a string that is no UTF-8"))?;
            serde_json::to_writer(&mut *self.out, text).expect("a string always serialises");
        }
        Ok(())
    }

    /// Parts an element from the one before it.
    fn begin(&mut self) -> Result<(), Unwritten> {
        if self.out.len() > self.start {
            self.out.push(b',');
        }
        match self.out.len() > self.limit {
            true => Err(Unwritten::TooLarge),
            false => Ok(()),
        }
    }
}

fn boolean(value: bool, out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(if value { b"true" } else { b"false" });
    Some(())
}

fn integer<T: itoa::Integer>(value: T, out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    Some(())
}

fn single(value: f32, out: &mut Vec<u8>) -> Option<()> {
    let mut buffer = ryu::Buffer::new();
    let written = value.is_finite().then(|| buffer.format_finite(value))?;
    out.extend_from_slice(written.as_bytes());
    Some(())
}

fn double(value: f64, out: &mut Vec<u8>) -> Option<()> {
    let mut buffer = ryu::Buffer::new();
    let written = value.is_finite().then(|| buffer.format_finite(value))?;
    out.extend_from_slice(written.as_bytes());
    Some(())
}

fn no_form(what: &str) -> String {
    format!("has {what}, which has no form in JSON; ask for it as binary data")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::super::read_json;
    use super::*;

    fn written(datatype: Datatype, data: &[u8]) -> Result<String, String> {
        let mut out = Vec::new();
        match elements(datatype, &[Bytes::copy_from_slice(data)], 10_000, &mut out) {
            Ok(()) => Ok(String::from_utf8(out).unwrap()),
            Err(Unwritten::NoForm(what)) => Err(what),
            Err(Unwritten::TooLarge) => Err("too large".to_owned()),
        }
    }

    #[test]
    fn rows_are_one_list_in_room_that_is_made_once() {
        let rows =
            [1.5f32, -f32::MIN_POSITIVE].map(|one| Bytes::from(one.to_le_bytes().repeat(500)));
        let mut out = Vec::new();
        elements(Datatype::Fp32, &rows, 100_000, &mut out).unwrap();
        assert_eq!(out.capacity(), 1000 * 16 + 64);
        let read: Vec<f32> = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            (read.len(), read[499], read[500]),
            (1000, 1.5, -f32::MIN_POSITIVE)
        );
        let mut out = Vec::new();
        let refused = elements(Datatype::Fp32, &rows, 1000, &mut out);
        assert_eq!(refused, Err(Unwritten::TooLarge));
        assert!(out.capacity() <= 2000, "{}", out.capacity());
    }

    #[test]
    fn what_has_no_form_is_told() {
        let nan = f32::NAN.to_le_bytes();
        assert!(
            written(Datatype::Fp32, &nan)
                .unwrap_err()
                .contains("not finite")
        );
        assert!(
            written(Datatype::Fp16, &[0; 2])
                .unwrap_err()
                .contains("FP16")
        );
        assert!(
            written(Datatype::Bytes, b"\x01\0\0\0\xff")
                .unwrap_err()
                .contains("UTF-8")
        );
        assert_eq!(
            written(Datatype::Bool, &[1, 0]),
            Ok("[true,false]".to_owned())
        );
        assert_eq!(
            written(Datatype::Bytes, b"\x01\0\0\0\""),
            Ok(r#"["\""]"#.to_owned())
        );
    }

    proptest! {
        /// Every element is read back as it was.
        #[test]
        fn written_elements_are_read_back(data in prop::collection::vec(any::<u8>(), 0..64)) {
            for datatype in Datatype::ALL {
                let Some(size) = datatype.size() else { continue };
                let count = data.len() / size;
                let mut data = data[..count * size].to_vec();
                if datatype == Datatype::Bool {
                    data.iter_mut().for_each(|byte| *byte &= 1);
                }
                let Ok(text) = written(datatype, &data) else { continue };
                let raw: &RawValue = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(read_json::elements(raw, datatype, &[count as u64], 1000), Ok(data), "{}", text);
            }
        }
    }
}
