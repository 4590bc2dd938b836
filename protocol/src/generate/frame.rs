//! Events on the wire: the length of a [`message`] as a `u32`, little-endian, then the message.
//!
//! Each message has its own mark and version, so a reader that joins the wrong stream finds out at the
//! first frame. Pure: bytes come in pieces of any size, events come out.

use serde::{Deserialize, Serialize};

use super::GenerateEvent;
use crate::message::{self, MessageError};

/// Most bytes of one frame. The largest is a delta that many tokens with their probabilities were merged
/// into: some 600 bytes each, and no model writes more than 16,384.
pub const MAX_FRAME_BYTES: usize = 16 << 20;
/// Bytes of the length.
const HEAD: usize = 4;

/// Why the bytes are no frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than [`MAX_FRAME_BYTES`].
    #[error("the frame has {0} bytes; at most {MAX_FRAME_BYTES} are allowed")]
    TooLarge(usize),
    /// What is in it is no event.
    #[error(transparent)]
    Message(#[from] MessageError),
}

/// The frame of an event.
pub fn encode(event: &GenerateEvent) -> Vec<u8> {
    let message = message::encode(event);
    let length = u32::try_from(message.len()).expect("an event is far below 4 GiB");
    let mut frame = length.to_le_bytes().to_vec();
    frame.extend(message);
    frame
}

/// Reads frames as their bytes arrive.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FrameReader {
    /// At most one frame and what came with its end.
    bytes: Vec<u8>,
    /// Bytes at the beginning that were read.
    read: usize,
}

impl FrameReader {
    /// Adds what arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.read);
        self.read = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next event; `None` until more bytes have arrived.
    ///
    /// # Errors
    /// When the bytes are no frames. The stream is of no use then.
    pub fn next_event(&mut self) -> Result<Option<GenerateEvent>, FrameError> {
        let rest = &self.bytes[self.read..];
        let Some((head, rest)) = rest.split_first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_le_bytes(*head)).unwrap_or(usize::MAX);
        if length > MAX_FRAME_BYTES {
            return Err(FrameError::TooLarge(length));
        }
        let Some(message) = rest.get(..length) else {
            return Ok(None);
        };
        let event = message::decode(message)?;
        self.read += HEAD + length;
        Ok(Some(event))
    }

    /// Whether the bytes so far end with a frame.
    pub fn is_at_end(&self) -> bool {
        self.read == self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::generate::{Delta, FinishReason, Usage};

    fn events() -> Vec<GenerateEvent> {
        let delta = |text: &str| {
            GenerateEvent::Delta(Delta {
                text: text.to_owned(),
                tokens: 1,
                logprobs: Vec::new(),
            })
        };
        vec![
            GenerateEvent::Started {
                prompt_tokens: 3,
                is_shared: false,
            },
            delta("The"),
            delta(""),
            GenerateEvent::Finished {
                reason: FinishReason::Stop,
                usage: Usage::default(),
            },
        ]
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_make_the_same_events(size in 1usize..40) {
            let bytes: Vec<u8> = events().iter().flat_map(encode).collect();
            let mut reader = FrameReader::default();
            let mut read = Vec::new();
            for piece in bytes.chunks(size) {
                reader.push(piece);
                while let Some(event) = reader.next_event().expect("frames") {
                    read.push(event);
                }
            }
            prop_assert_eq!(read, events());
            prop_assert!(reader.is_at_end());
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
            let mut reader = FrameReader::default();
            reader.push(&bytes);
            while let Ok(Some(_)) = reader.next_event() {}
        }
    }

    #[test]
    fn other_bytes_are_told() {
        let mut reader = FrameReader::default();
        reader.push(b"HTTP/1.1 200 OK");
        let length = u32::from_le_bytes(*b"HTTP") as usize;
        assert_eq!(reader.next_event(), Err(FrameError::TooLarge(length)));

        let mut reader = FrameReader::default();
        reader.push(b"\x02\0\0\0{}");
        let foreign = FrameError::Message(MessageError::Foreign);
        assert_eq!(reader.next_event(), Err(foreign));
    }
}
