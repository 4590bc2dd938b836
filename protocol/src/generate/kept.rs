//! The calls about a text that is kept for readers who come back.

use serde::{Deserialize, Serialize};

use crate::fault::{Fault, FaultCode};

/// Path of these calls.
pub const STREAM_PATH: &str = "/brink/v1/stream";
/// Bytes of a kept text's id: 32 hexadecimal digits.
pub const STREAM_ID_BYTES: usize = 32;

/// Asks for a text that was begun with [`keep`](super::GenerateRequest::keep). The answer to
/// [`Read`](StreamAsk::Read) is a stream like that of the first call; that to [`GiveUp`](StreamAsk::GiveUp) is empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamRequest {
    /// Ties the host's logs to the edge's.
    pub request_id: String,
    /// Who asks. Others' texts are as if they were not there.
    pub tenant: String,
    /// The id that [`Kept`](super::GenerateEvent::Kept) has told.
    pub id: String,
    /// What is asked.
    pub ask: StreamAsk,
}

/// What is asked of a kept text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamAsk {
    /// Goes on with the text.
    Read {
        /// Bytes of it that were read.
        from: u64,
        /// As in [`GenerateRequest`](super::GenerateRequest::heartbeat_ms).
        heartbeat_ms: u32,
    },
    /// The text is not wanted any more.
    GiveUp,
}

impl StreamRequest {
    /// Checks what holds for every id.
    ///
    /// # Errors
    /// 404 for what is no id: whoever asks for it can do nothing else about it.
    pub fn validate(&self) -> Result<(), Fault> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        match self.id.len() == STREAM_ID_BYTES && self.id.bytes().all(is_digit) {
            true => Ok(()),
            false => Err(unknown_stream()),
        }
    }
}

/// There is no such text, or no longer, or it is somebody else's.
pub fn unknown_stream() -> Fault {
    Fault {
        code: FaultCode::UnknownStream,
        message: "there is no such stream; it may have been kept for its time, or been given up"
            .to_owned(),
        item: None,
        retry_after_ms: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_id_is_not_found() {
        let ask = |id: &str| StreamRequest {
            request_id: "r".to_owned(),
            tenant: "t".to_owned(),
            id: id.to_owned(),
            ask: StreamAsk::GiveUp,
        };
        assert_eq!(ask(&"0f".repeat(16)).validate(), Ok(()));
        for id in ["", "0f", &"0F".repeat(16), &"x".repeat(100_000)] {
            assert_eq!(ask(id).validate(), Err(unknown_stream()));
        }
    }
}
