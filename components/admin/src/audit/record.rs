//! One record, and its form in a store.
//!
//! ```text
//!  "BRA"  version  postcard(record)
//!   3 B     1 B      to the end
//! ```

use brink_cache::UnixSeconds;
use serde::{Deserialize, Serialize};

use crate::world::Call;

const MAGIC: &[u8; 3] = b"BRA";
const VERSION: u8 = 1;

/// Longest summary, in characters; a longer one is cut.
const MAX_WHAT: usize = 300;

/// A change that an operator made, or tried to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its number: 1 more than that of the record before it.
    pub sequence: u64,
    /// How the writer knows it again; see [`Call::nonce`].
    pub nonce: u64,
    /// When.
    pub at: UnixSeconds,
    /// The name of the admin key.
    pub who: String,
    /// One line: what was changed into what.
    pub what: String,
    /// The id of the request.
    pub request_id: String,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a change ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was about to be made. If the record stays so, the writer was cut off, and the change may
    /// have been made.
    Begun,
    /// It was made.
    Done,
    /// The operator got an error. Where the store failed, the change may have been made in part.
    Failed,
}

impl Record {
    pub(super) fn begin(call: &Call<'_>, what: &str) -> Self {
        Self {
            sequence: 0,
            nonce: call.nonce,
            at: call.now,
            who: call.who.to_owned(),
            what: cut(what),
            request_id: call.request_id.to_owned(),
            outcome: Outcome::Begun,
        }
    }

    /// Whether both are the same change, however it ended.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (self.sequence, self.nonce) == (other.sequence, other.nonce)
    }

    /// For the log. Names in `what` are quoted, so that nothing in them starts a line of its own.
    pub(super) fn line(&self) -> String {
        let outcome = match self.outcome {
            Outcome::Begun => "begun",
            Outcome::Done => "done",
            Outcome::Failed => "failed",
        };
        format!(
            "admin {}: {}: {outcome} (record {}, request {})",
            self.who, self.what, self.sequence, self.request_id
        )
    }

    /// The bytes to store: below 2 KiB.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION);
        postcard::to_extend(self, bytes)
            .expect("plain structs without maps or unknown lengths always serialise")
    }

    /// Reads stored bytes; `None` if others wrote or cut them.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?.strip_prefix(&[VERSION])?;
        match postcard::take_from_bytes(rest) {
            Ok((record, [])) => Some(record),
            _ => None,
        }
    }
}

fn cut(what: &str) -> String {
    match what.char_indices().nth(MAX_WHAT) {
        Some((end, _)) => format!("{}...", &what[..end]),
        None => what.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use brink_gateway::head::Head;
    use proptest::prelude::*;

    use super::*;

    fn record(what: &str) -> Record {
        let call = Call {
            who: "ana",
            head: &Head::parse(b"GET /").unwrap(),
            body: b"",
            request_id: "req-1",
            now: UnixSeconds(1_800_000_000),
            nonce: 7,
        };
        Record::begin(&call, what)
    }

    #[test]
    fn version_1_is_read() {
        let stored = b"BRA\x01\x00\x07\x80\xa4\xa7\xda\x06\x03ana\x04what\x05req-1\x00";
        assert_eq!(Record::decode(stored), Some(record("what")));
        assert_eq!(record("what").encode(), stored);
    }

    #[test]
    fn long_summaries_are_cut_at_a_character() {
        let long = record(&"é".repeat(10_000));
        assert_eq!(long.what.chars().count(), MAX_WHAT + 3);
        assert!(long.encode().len() < 2048);
    }

    proptest! {
        #[test]
        fn records_are_read_back_and_other_bytes_are_none(what in ".*", noise: Vec<u8>) {
            let record = record(&what);
            let mut bytes = record.encode();
            prop_assert_eq!(Record::decode(&bytes), Some(record));
            bytes.push(0);
            prop_assert_eq!(Record::decode(&bytes), None);
            prop_assert_eq!(Record::decode(&noise), None);
        }
    }
}
