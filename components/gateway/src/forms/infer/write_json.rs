//! Elements of a tensor written as JSON, in one flat list.

use brink_protocol::tensor::{Datatype, Tensor};

/// Appends the elements. The message says why there is no such form, and not of which tensor.
pub(super) fn elements(tensor: &Tensor, out: &mut Vec<u8>) -> Result<(), String> {
    out.push(b'[');
    let data = &tensor.data[..];
    match tensor.datatype {
        Datatype::Bool => list(data, |[one]| one != 0, boolean, out),
        Datatype::Uint8 => list(data, u8::from_le_bytes, integer, out),
        Datatype::Uint16 => list(data, u16::from_le_bytes, integer, out),
        Datatype::Uint32 => list(data, u32::from_le_bytes, integer, out),
        Datatype::Uint64 => list(data, u64::from_le_bytes, integer, out),
        Datatype::Int8 => list(data, i8::from_le_bytes, integer, out),
        Datatype::Int16 => list(data, i16::from_le_bytes, integer, out),
        Datatype::Int32 => list(data, i32::from_le_bytes, integer, out),
        Datatype::Int64 => list(data, i64::from_le_bytes, integer, out),
        Datatype::Fp32 => list(data, f32::from_le_bytes, single, out),
        Datatype::Fp64 => list(data, f64::from_le_bytes, double, out),
        Datatype::Bytes => strings(tensor, out),
        Datatype::Fp16 | Datatype::Bf16 => Err(no_form(tensor.datatype.name())),
    }?;
    out.push(b']');
    Ok(())
}

fn list<T, const N: usize>(
    data: &[u8],
    read: impl Fn([u8; N]) -> T,
    write: impl Fn(T, &mut Vec<u8>) -> Option<()>,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let (elements, _) = data.as_chunks::<N>();
    for (place, element) in elements.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write(read(*element), out).ok_or_else(|| no_form("an element that is not finite"))?;
    }
    Ok(())
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

fn strings(tensor: &Tensor, out: &mut Vec<u8>) -> Result<(), String> {
    for (place, string) in tensor.strings().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        let text = string
            .ok()
            .and_then(|string| std::str::from_utf8(string).ok());
        let text = text.ok_or_else(|| no_form("a string that is no UTF-8"))?;
        serde_json::to_writer(&mut *out, text).expect("a string always serialises");
    }
    Ok(())
}

fn no_form(what: &str) -> String {
    format!("has {what}, which has no form in JSON; ask for it as binary data")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::super::read_json;
    use super::*;

    fn written(datatype: Datatype, data: &[u8]) -> Result<String, String> {
        let tensor = Tensor {
            name: "t".to_owned(),
            datatype,
            shape: vec![],
            data: Bytes::copy_from_slice(data),
        };
        let mut out = Vec::new();
        elements(&tensor, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
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
                prop_assert_eq!(read_json::elements(raw, datatype, &[count as u64]), Ok(data), "{}", text);
            }
        }
    }
}
