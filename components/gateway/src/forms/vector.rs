//! Vectors as bytes: cutting to fewer dimensions, and writing into JSON.

use std::borrow::Cow;

use base64_simd::STANDARD;

use super::openai::EncodingFormat;

/// Bytes of one element.
pub(crate) const ELEMENT: usize = size_of::<f32>();

/// Whether bytes are a vector of so many finite elements. NaN and infinity have no form in
/// JSON, and no model that works produces them.
pub(crate) fn is_valid(vector: &[u8], dimensions: usize) -> bool {
    // NaN and infinity have all bits of the exponent set (IEEE 754). Without an early exit the
    // compiler looks at several elements at once.
    const EXPONENT: u32 = 0x7f80_0000;
    let any_not_finite = elements(vector).fold(false, |any, element| {
        any | (element.to_bits() & EXPONENT == EXPONENT)
    });
    vector.len() == dimensions * ELEMENT && !any_not_finite
}

/// Cuts a vector to its first `dimensions` elements and gives it length one again, as
/// OpenAI's API does. A vector that is already that long stays as the model made it.
pub(crate) fn shortened(vector: &[u8], dimensions: usize) -> Cow<'_, [u8]> {
    if vector.len() <= dimensions * ELEMENT {
        return Cow::Borrowed(vector);
    }
    let kept = &vector[..dimensions * ELEMENT];
    let square: f64 = elements(kept).map(|x| f64::from(x) * f64::from(x)).sum();
    if square == 0.0 {
        return Cow::Borrowed(kept);
    }
    let scale = 1.0 / square.sqrt();
    let scaled = elements(kept).flat_map(|x| ((f64::from(x) * scale) as f32).to_le_bytes());
    Cow::Owned(scaled.collect())
}

/// The cosine of the angle between two vectors of one length; 0 if one of them has no direction.
pub(crate) fn cosine(one: &[u8], other: &[u8]) -> f32 {
    let pairs = || {
        elements(one)
            .zip(elements(other))
            .map(|(a, b)| (f64::from(a), f64::from(b)))
    };
    let dot: f64 = pairs().map(|(a, b)| a * b).sum();
    let squares: f64 =
        pairs().map(|(a, _)| a * a).sum::<f64>() * pairs().map(|(_, b)| b * b).sum::<f64>();
    match squares > 0.0 {
        true => (dot / squares.sqrt()) as f32,
        false => 0.0,
    }
}

/// Appends the vector as a JSON value.
pub(crate) fn write(vector: &[u8], format: EncodingFormat, out: &mut Vec<u8>) {
    match format {
        EncodingFormat::Base64 => write_base64(vector, out),
        EncodingFormat::Float => write_floats(vector, out),
    }
}

/// Appends one number, which is finite.
pub(crate) fn write_element(element: f32, out: &mut Vec<u8>) {
    out.extend_from_slice(ryu::Buffer::new().format_finite(element).as_bytes());
}

/// Most bytes that [`write`] appends.
pub(crate) fn written_size(vector_bytes: usize, format: EncodingFormat) -> usize {
    match format {
        EncodingFormat::Base64 => vector_bytes.div_ceil(3) * 4 + 2,
        // Shortest round-trip form of an f32 below one: about 13 characters with the comma.
        EncodingFormat::Float => vector_bytes / ELEMENT * 14 + 2,
    }
}

fn write_base64(vector: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    STANDARD.encode_append(vector, out);
    out.push(b'"');
}

fn write_floats(vector: &[u8], out: &mut Vec<u8>) {
    let mut buffer = ryu::Buffer::new();
    out.push(b'[');
    for (position, element) in elements(vector).enumerate() {
        if position > 0 {
            out.push(b',');
        }
        out.extend_from_slice(buffer.format_finite(element).as_bytes());
    }
    out.push(b']');
}

/// The elements of a vector.
pub(crate) fn elements(vector: &[u8]) -> impl Iterator<Item = f32> + '_ {
    let (chunks, _) = vector.as_chunks::<ELEMENT>();
    chunks.iter().map(|bytes| f32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(vector: &[f32]) -> Vec<u8> {
        vector
            .iter()
            .flat_map(|element| element.to_le_bytes())
            .collect()
    }

    fn written(vector: &[f32], format: EncodingFormat) -> Vec<u8> {
        let mut out = Vec::new();
        write(&bytes(vector), format, &mut out);
        assert!(out.len() <= written_size(vector.len() * ELEMENT, format) + 8 * vector.len());
        out
    }

    #[test]
    fn shortening_gives_length_one() {
        let short = shortened(&bytes(&[3.0, 4.0, 100.0]), 2).into_owned();
        assert_eq!(short, bytes(&[0.6, 0.8]));
        assert_eq!(*shortened(&bytes(&[3.0, 4.0]), 2), bytes(&[3.0, 4.0]));
        assert_eq!(*shortened(&bytes(&[0.0, 0.0, 1.0]), 2), bytes(&[0.0, 0.0]));
    }

    #[test]
    fn cosine_is_that_of_the_angle() {
        let cosine = |one: &[f32], other: &[f32]| cosine(&bytes(one), &bytes(other));
        assert_eq!(cosine(&[3.0, 4.0], &[6.0, 8.0]), 1.0);
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 2.0]), 0.0);
        assert_eq!(cosine(&[1.0, 0.0], &[-2.0, 0.0]), -1.0);
        assert_eq!(cosine(&[0.0, 0.0], &[1.0, 0.0]), 0.0);
        let largest = [f32::MAX; 2];
        assert!((cosine(&largest, &largest) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn only_finite_vectors_of_the_right_size_are_valid() {
        assert!(is_valid(&bytes(&[1.0, 2.0]), 2));
        assert!(!is_valid(&bytes(&[1.0]), 2));
        assert!(!is_valid(&bytes(&[1.0, f32::NAN]), 2));
        assert!(!is_valid(&bytes(&[1.0, f32::INFINITY]), 2));
        assert!(!is_valid(&[0; 7], 2));
    }

    proptest! {
        /// Both forms give back exactly the vector that went in.
        #[test]
        fn written_vectors_are_read_back(vector in prop::collection::vec(prop::num::f32::NORMAL | prop::num::f32::ZERO | prop::num::f32::SUBNORMAL, 0..20)) {
            let floats: Vec<f32> = serde_json::from_slice(&written(&vector, EncodingFormat::Float)).unwrap();
            prop_assert_eq!(&floats, &vector);
            let text: String = serde_json::from_slice(&written(&vector, EncodingFormat::Base64)).unwrap();
            prop_assert_eq!(STANDARD.decode_to_vec(text).unwrap(), bytes(&vector));
        }
    }
}
