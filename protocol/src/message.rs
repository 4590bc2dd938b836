//! The envelope: a mark, a version, then the [postcard](https://postcard.jamesmunns.com)
//! form of the value. No trailing bytes are allowed.

use serde::{Deserialize, Serialize};

use crate::limits::MAX_MESSAGE_BYTES;

const MAGIC: &[u8; 3] = b"BRM";
const VERSION: u8 = 5;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Larger than [`MAX_MESSAGE_BYTES`].
    #[error("the message has {0} bytes; at most {MAX_MESSAGE_BYTES} are allowed")]
    TooLarge(usize),
    /// Not written by Brink.
    #[error("the bytes are not a Brink message")]
    Foreign,
    /// Edge and host are of different releases.
    #[error(
        "the message has version {0}; this release speaks version {VERSION}: deploy edge and host of one release"
    )]
    Version(u8),
    /// Cut off or altered.
    #[error("the message cannot be read to its end")]
    Malformed,
}

/// The bytes of a value.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.push(VERSION);
    postcard::to_extend(value, bytes).expect("messages hold no value that cannot be serialised")
}

/// The value in the bytes, which it may borrow from.
pub fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, MessageError> {
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(MessageError::TooLarge(bytes.len()));
    }
    let rest = bytes.strip_prefix(MAGIC).ok_or(MessageError::Foreign)?;
    let (version, rest) = rest.split_first().ok_or(MessageError::Foreign)?;
    if *version != VERSION {
        return Err(MessageError::Version(*version));
    }
    match postcard::take_from_bytes(rest) {
        Ok((value, [])) => Ok(value),
        _ => Err(MessageError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{InferReply, InferRequest};

    #[test]
    fn other_bytes_are_named() {
        let check = |bytes: &[u8], expected| {
            assert_eq!(decode::<Vec<u8>>(bytes), Err(expected));
        };
        check(b"", MessageError::Foreign);
        check(b"{}", MessageError::Foreign);
        check(b"BRM\x09", MessageError::Version(9));
        check(b"BRM\x05\x05a", MessageError::Malformed);
        let mut longer = encode(&vec![1u8]);
        longer.push(0);
        check(&longer, MessageError::Malformed);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(mut bytes: Vec<u8>) {
            let _ = decode::<InferRequest>(&bytes);
            bytes.splice(0..0, *b"BRM\x05");
            let _ = decode::<InferRequest>(&bytes);
            let _ = decode::<InferReply>(&bytes);
        }
    }
}
