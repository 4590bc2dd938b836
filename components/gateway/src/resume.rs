//! Requests that the synchronous door answers in two steps, with a call to the host in between.
//!
//! ```text
//!  answer: head, body -> Missing -> Ask: the call, and notes -.
//!                                                             host calls upstream; no instance is held
//!  resume: head, body, notes -> Missing, once more <----------'
//!                                  '-> is it the same call? -> the answer, and entries to store
//! ```
//!
//! Nothing is kept in between, so the second step reads the request again: that costs microseconds, and a
//! request that waits costs its own bytes. What it finds has to lead to the very same call. If it does not,
//! because the model, the policy or the stored entries have changed, the other door begins anew.

use std::time::Duration;

use brink_cache::Key;

use crate::hit::LookUp;
use crate::items::Fetched;
use crate::rate::{Admission, RATE_LIMIT, RATE_LIMIT_POLICY};
use crate::reply::Reply;

/// What a call to the host begins with.
const CALL: &str = "call POST ";
/// The same for one whose answer is passed on piece by piece.
const STREAM: &str = "stream POST ";
const WRITER: &str = "note-writer";
const ID: &str = "note-id";
const FOUND: &str = "note-found";
const LIMIT: &str = "note-ratelimit";
const LIMIT_POLICY: &str = "note-ratelimit-policy";

/// What the second step has to know of the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// The request's id.
    pub id: String,
    /// What each look-up gave, in order.
    pub found: String,
    /// What the tenant is told of its limits, if it has some.
    pub limits: Option<[String; 2]>,
    /// How the pieces of the answer are passed on ([`DoorStream`](crate::door_stream::DoorStream)), where they are.
    pub writer: Option<Vec<u8>>,
}

impl Notes {
    /// Of a request that was admitted, or is not limited.
    pub fn new(id: String, found: String, admission: Option<&Admission>) -> Self {
        let limits = admission.map(|admission| admission.fields().map(|(_, value)| value));
        Self {
            id,
            found,
            limits,
            writer: None,
        }
    }

    /// For a call whose answer is passed on piece by piece.
    pub fn with_writer(self, writer: Vec<u8>) -> Self {
        let writer = Some(writer);
        Self { writer, ..self }
    }

    /// The head of a call to `url` that may take so long. `media` is what its body is.
    pub fn call(&self, url: &str, media: &str, timeout: Duration) -> Vec<u8> {
        let Self {
            id,
            found,
            limits,
            writer,
        } = self;
        let begin = if writer.is_some() { STREAM } else { CALL };
        let timeout = timeout.as_millis();
        let mut head = format!(
            "{begin}{url}\ncontent-type: {media}\ntimeout-ms: {timeout}\n{ID}: {id}\n{FOUND}: {found}"
        );
        if let Some([policy, limit]) = limits {
            head.push_str(&format!("\n{LIMIT_POLICY}: {policy}\n{LIMIT}: {limit}"));
        }
        if let Some(writer) = writer {
            head.push_str(&format!("\n{WRITER}: {}", hex(writer)));
        }
        head.into_bytes()
    }

    /// Reads them back; `None` for anything else.
    pub fn read(head: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(head).ok()?.split('\n');
        let first = lines.next()?;
        first
            .strip_prefix(CALL)
            .or_else(|| first.strip_prefix(STREAM))?;
        let mut notes = Self::default();
        let (mut policy, mut limit) = (None, None);
        for line in lines {
            let (name, value) = line.split_once(": ")?;
            match name {
                ID => value.clone_into(&mut notes.id),
                FOUND => value.clone_into(&mut notes.found),
                LIMIT_POLICY => policy = Some(value.to_owned()),
                LIMIT => limit = Some(value.to_owned()),
                WRITER => notes.writer = Some(from_hex(value)?),
                _ => {}
            }
        }
        notes.limits = policy.zip(limit).map(|(policy, limit)| [policy, limit]);
        Some(notes)
    }

    /// Tells the client where it stands.
    pub fn tell(&self, reply: Reply) -> Reply {
        match &self.limits {
            None => reply,
            Some([policy, limit]) => reply
                .join(RATE_LIMIT_POLICY, policy)
                .join(RATE_LIMIT, limit),
        }
    }
}

/// Values of headers are text.
fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = |byte: &u8| [byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)] as char);
    bytes.iter().flat_map(digits).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()
    };
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}

/// How the host's call went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The answer has begun, and is passed on as it comes.
    Streaming,
    /// It was passed on to its end, and this is what became of it.
    Gathered,
    /// There is an answer, and how long it took.
    Answered(Duration),
    /// It took too long.
    TimedOut,
    /// It has more bytes than the host takes.
    TooLarge,
    /// Nobody answered.
    Unreachable,
}

impl Told {
    /// Reads the head of a result.
    pub fn read(head: &[u8]) -> Self {
        let head = std::str::from_utf8(head).unwrap_or_default();
        let mut lines = head.split('\n');
        match lines.next() {
            Some("streaming") => Self::Streaming,
            Some("gathered") => Self::Gathered,
            Some("timeout") => Self::TimedOut,
            Some("too-large") => Self::TooLarge,
            // What the host says is in the body, whatever its status.
            Some(status) if status.parse::<u16>().is_ok() => {
                let took = lines.find_map(|line| line.strip_prefix("took-us: "));
                let took = took.and_then(|took| took.parse().ok()).unwrap_or(0);
                Self::Answered(Duration::from_micros(took))
            }
            _ => Self::Unreachable,
        }
    }
}

/// A store that notes what each look-up gave.
#[derive(Debug)]
pub struct Recording<S> {
    store: S,
    found: String,
}

const ABSENT: char = '0';
const THERE: char = '1';
const FAILED: char = '2';

impl<S: LookUp> Recording<S> {
    /// Nothing was asked yet.
    pub fn new(store: S) -> Self {
        let found = String::new();
        Self { store, found }
    }

    /// What was found.
    pub fn found(self) -> String {
        self.found
    }
}

impl<S: LookUp> LookUp for Recording<S> {
    fn get(&mut self, key: &Key) -> Fetched {
        let fetched = self.store.get(key);
        self.found.push(match fetched {
            Fetched::Absent | Fetched::NotAsked => ABSENT,
            Fetched::Bytes(_) => THERE,
            Fetched::Failed => FAILED,
        });
        fetched
    }
}

/// A store that gives what it gave before: what was missing is still missing, although others may have
/// stored it meanwhile.
#[derive(Debug)]
pub struct Replaying<'a, S> {
    store: S,
    found: std::str::Chars<'a>,
}

impl<'a, S: LookUp> Replaying<'a, S> {
    /// As it was noted.
    pub fn new(store: S, found: &'a str) -> Self {
        let found = found.chars();
        Self { store, found }
    }
}

impl<S: LookUp> LookUp for Replaying<'_, S> {
    fn get(&mut self, key: &Key) -> Fetched {
        match self.found.next() {
            Some(THERE) => self.store.get(key),
            Some(FAILED) => Fetched::Failed,
            _ => Fetched::Absent,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::StatusCode;

    use super::*;

    /// Gives what it holds, front first, and `Absent` at the end.
    struct Queue(Vec<Fetched>);

    impl LookUp for Queue {
        fn get(&mut self, _: &Key) -> Fetched {
            match self.0.is_empty() {
                true => Fetched::Absent,
                false => self.0.remove(0),
            }
        }
    }

    #[test]
    fn notes_come_back_as_they_were_written() {
        for limits in [
            None,
            Some(["\"requests\";q=2;w=2".to_owned(), "r".to_owned()]),
        ] {
            let notes = Notes {
                id: "req-1".to_owned(),
                found: "0102".to_owned(),
                limits,
                writer: None,
            };
            let head = notes.call("http://h/infer", "a/b", Duration::from_secs(2));
            assert!(
                head.starts_with(
                    b"call POST http://h/infer\ncontent-type: a/b\ntimeout-ms: 2000\n"
                )
            );
            assert_eq!(Notes::read(&head), Some(notes.clone()));
            let notes = notes.with_writer(vec![0, 10, 255]);
            let head = notes.call("http://h/generate", "a/b", Duration::from_secs(2));
            assert!(head.starts_with(b"stream POST http://h/generate\n"));
            assert_eq!(Notes::read(&head), Some(notes));
        }
        for foreign in [
            &b""[..],
            b"200",
            b"call GET x",
            b"call POST x\nno colon",
            b"stream POST x\nnote-writer: 0",
            b"stream POST x\nnote-writer: 0g",
            b"\xff",
        ] {
            assert_eq!(Notes::read(foreign), None);
        }
    }

    #[test]
    fn limits_are_told_once_the_answer_is_there() {
        let notes = Notes {
            limits: Some(["p".to_owned(), "l".to_owned()]),
            ..Notes::default()
        };
        let reply = notes.tell(Reply::empty(StatusCode::OK));
        assert_eq!(reply.header("ratelimit"), Some("l"));
        assert_eq!(reply.header("ratelimit-policy"), Some("p"));
    }

    #[test]
    fn results_tell_how_the_call_went() {
        let took = Told::Answered(Duration::from_micros(1500));
        assert_eq!(Told::read(b"200\ntook-us: 1500"), took);
        assert_eq!(Told::read(b"503"), Told::Answered(Duration::ZERO));
        assert_eq!(Told::read(b"timeout"), Told::TimedOut);
        assert_eq!(Told::read(b"too-large"), Told::TooLarge);
        for head in [&b"unreachable"[..], b"", b"\xff", b"else"] {
            assert_eq!(Told::read(head), Told::Unreachable);
        }
    }

    #[test]
    fn what_was_missing_is_missing_again_and_the_rest_is_looked_up() {
        let key = Key::from_hex(&"0".repeat(64)).unwrap();
        let there = || Fetched::Bytes(Bytes::from_static(b"entry"));
        let first = vec![there(), Fetched::Absent, Fetched::Failed];
        let mut recording = Recording::new(Queue(first.clone()));
        let given: Vec<_> = (0..3).map(|_| recording.get(&key)).collect();
        assert_eq!(given, first);
        let found = recording.found();
        assert_eq!(found, "102");
        // Another request has stored it all.
        let mut replaying = Replaying::new(Queue(vec![there(), there(), there()]), &found);
        let again: Vec<_> = (0..4).map(|_| replaying.get(&key)).collect();
        assert_eq!(again[..3], first);
        assert_eq!(again[3], Fetched::Absent, "more than was noted");
    }
}
