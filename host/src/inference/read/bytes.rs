//! The beginning and the end of a file, as numbers.

use super::InputError;
use crate::inference::backend::Payload;
use crate::inference::model::BytesInput;

/// Reads files.
#[derive(Debug)]
pub struct BytesReader(BytesInput);

impl BytesReader {
    pub(super) fn new(input: BytesInput) -> Self {
        Self(input)
    }

    pub(super) fn decoded_bytes(&self) -> usize {
        (self.0.begin as usize + self.0.end as usize) * size_of::<u32>()
    }

    pub(super) fn read(&self, file: &[u8]) -> Result<Payload, InputError> {
        let it = &self.0;
        if file.len() > it.max_bytes as usize {
            return Err(InputError::TooManyBytes {
                bytes: file.len(),
                max_bytes: it.max_bytes,
            });
        }
        let block = file.len().min(it.block as usize);
        let (begin, end) = (it.begin as usize, it.end as usize);
        let mut first = &file[..block];
        let mut last = &file[file.len() - block..];
        if it.strip {
            first = strip_start(first);
            last = strip_end(last);
        }
        let first = &first[..first.len().min(begin)];
        let last = &last[last.len().saturating_sub(end)..];
        let mut numbers = vec![it.padding; begin + end];
        for (cell, byte) in numbers.iter_mut().zip(first) {
            *cell = u32::from(*byte);
        }
        // The end is aligned to the end.
        for (cell, byte) in numbers.iter_mut().rev().zip(last.iter().rev()) {
            *cell = u32::from(*byte);
        }
        Ok(Payload::Tokens(numbers))
    }
}

/// White space of ASCII with the vertical tab, which `u8::is_ascii_whitespace` leaves out.
fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ')
}

fn strip_start(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| !is_space(*byte));
    &bytes[start.unwrap_or(bytes.len())..]
}

fn strip_end(bytes: &[u8]) -> &[u8] {
    let last = bytes.iter().rposition(|byte| !is_space(*byte));
    &bytes[..last.map_or(0, |last| last + 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(begin: u32, end: u32, strip: bool) -> BytesReader {
        BytesReader::new(BytesInput {
            tensor: "bytes".to_owned(),
            begin,
            end,
            block: 8,
            padding: 256,
            strip,
            max_bytes: 20,
        })
    }

    #[test]
    fn beginning_and_end_are_aligned_to_their_sides() {
        let check = |file: &[u8], expected: &[u32]| {
            let read = reader(3, 3, true).read(file);
            assert_eq!(read, Ok(Payload::Tokens(expected.to_vec())), "{file:?}");
        };
        check(b"", &[256; 6]);
        check(b"a", &[97, 256, 256, 256, 256, 97]);
        check(b"abcdefgh", &[97, 98, 99, 102, 103, 104]);
        check(b" \x0b\na\t\r\n", &[97, 9, 13, 11, 10, 97]);
        check(b"         ", &[256; 6]);
        // Only a block is looked at, from either side.
        check(b"        ab        ", &[256; 6]);
    }

    #[test]
    fn white_space_may_count_and_sizes_have_a_limit() {
        let read = reader(2, 1, false).read(b" a ");
        assert_eq!(read, Ok(Payload::Tokens(vec![32, 97, 32])));
        let error = reader(1, 1, false).read(&[0; 21]).expect_err("too large");
        assert_eq!(
            error.to_string(),
            "the input has 21 bytes; the model takes at most 20"
        );
    }
}
