//! Texts through the synchronous door: the host makes the call and passes each piece of the answer on through here, in
//! whatever instance is free.
//!
//! ```text
//!  answer --> the call, and a DoorStream as its notes
//!  resume (streaming) --> the head of the answer
//!  pass (DoorStream, piece) --> DoorStream, what the client gets        for each piece
//!  resume (gathered) --> the entry to store                              once the text is whole
//! ```
//!
//! So a stream holds no instance, and costs a few kilobytes: its text so far and how it is written.

use brink_protocol::generate::frame::FrameReader;
use brink_protocol::generate::{GenerateEvent, broken_off};
use brink_protocol::{InferReply, message};
use serde::{Deserialize, Serialize};

use crate::error::ApiError;
use crate::items::{Gathered, Progress, Streaming, answer};

/// A stream between two pieces.
#[derive(Debug, Serialize, Deserialize)]
pub struct DoorStream {
    streaming: Streaming,
    reader: FrameReader,
    progress: Progress,
}

impl DoorStream {
    /// Nothing has come yet.
    pub fn new(streaming: Streaming) -> Self {
        Self {
            streaming,
            reader: FrameReader::default(),
            progress: Progress::Open,
        }
    }

    /// As it travels: a message, in hexadecimal digits where it is a note.
    pub fn encode(&self) -> Vec<u8> {
        message::encode(self)
    }

    /// Reads what [`encode`](Self::encode) has written; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        message::decode(bytes).ok()
    }

    /// Takes a piece of the host's answer, and gives what the client gets.
    pub fn take(&mut self, piece: &[u8]) -> String {
        let mut out = String::new();
        self.reader.push(piece);
        while self.progress == Progress::Open {
            match self.reader.next_event() {
                Ok(Some(event)) => self.event(&event, &mut out),
                Ok(None) => break,
                Err(_) => self.event(&broken_off(), &mut out),
            }
        }
        out
    }

    /// The host's answer is over. Gives what the client gets at last, and the text as the result that it is; `None`
    /// if it is not whole.
    pub fn end(mut self) -> (String, Option<Vec<u8>>) {
        let mut out = String::new();
        if self.progress == Progress::Open {
            self.event(&broken_off(), &mut out);
        }
        let whole = self.progress == Progress::Complete;
        let told = whole.then(|| message::encode::<InferReply>(&Ok(self.streaming.into_answer())));
        (out, told)
    }

    fn event(&mut self, event: &GenerateEvent, out: &mut String) {
        self.progress = self.streaming.event(0, event, out);
    }
}

/// What a whole answer of the host to a call for one text says.
///
/// # Errors
/// 502 when it is no text, nor a reason why there is none.
pub fn gathered(bytes: &[u8]) -> Result<InferReply, ApiError> {
    let mut reader = FrameReader::default();
    reader.push(bytes);
    let mut gathered = Gathered::default();
    loop {
        let event = match reader.next_event() {
            Ok(Some(event)) => event,
            Ok(None) => broken_off(),
            Err(error) => return Err(ApiError::host_nonsense(&error.to_string())),
        };
        if let Some(ended) = gathered.add(&event) {
            return Ok(ended
                .map(|item| answer([item]))
                .map_err(|fault| brink_protocol::Fault {
                    item: Some(0),
                    ..fault
                }));
        }
    }
}
