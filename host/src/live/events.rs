//! Reads an event stream (`text/event-stream`, the HTML standard) as it comes, in whatever parts.
//!
//! Pure. Fields but `data` and `event` are left out, as are comments. Lines end in LF or CRLF; a lone CR, which
//! no server of today sends, is part of a line.

use bytes::{Buf, BytesMut};

/// Largest event, in bytes: more than any chunk of an answer.
const MAX_EVENT: usize = 1 << 20;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// Its kind, if it has one.
    pub(super) name: Option<String>,
    /// Its lines of data, joined.
    pub(super) data: String,
}

/// What is wrong with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoEvent {
    /// An event is too large.
    #[error("an event of the answer has more than {MAX_EVENT} bytes")]
    TooLarge,
    /// It is no text.
    #[error("an event of the answer is no UTF-8")]
    NotUtf8,
}

/// The events of one stream.
#[derive(Debug, Default)]
pub(super) struct Events {
    buffer: BytesMut,
    /// Bytes of the buffer in which there is no end of a line.
    searched: usize,
    event: Event,
    has_data: bool,
}

impl Events {
    /// Adds what has come.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole event; `None` until more has come.
    pub(super) fn next(&mut self) -> Result<Option<Event>, NoEvent> {
        while let Some(found) = memchr::memchr(b'\n', &self.buffer[self.searched..]) {
            let end = self.searched + found;
            self.searched = 0;
            let line = self.buffer.split_to(end);
            self.buffer.advance(1);
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            if line.is_empty() {
                if let Some(event) = self.finish() {
                    return Ok(Some(event));
                }
            } else {
                self.line(line)?;
            }
        }
        self.searched = self.buffer.len();
        if self.buffer.len() + self.event.data.len() > MAX_EVENT {
            return Err(NoEvent::TooLarge);
        }
        Ok(None)
    }

    fn line(&mut self, line: &[u8]) -> Result<(), NoEvent> {
        let line = std::str::from_utf8(line).map_err(|_| NoEvent::NotUtf8)?;
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            "event" => self.event.name = Some(value.to_owned()),
            _ => {}
        }
        if self.event.data.len() > MAX_EVENT {
            return Err(NoEvent::TooLarge);
        }
        Ok(())
    }

    /// An event without data is none.
    fn finish(&mut self) -> Option<Event> {
        let event = std::mem::take(&mut self.event);
        std::mem::take(&mut self.has_data).then_some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(events: &mut Events) -> Vec<(Option<String>, String)> {
        let next = || events.next().unwrap();
        std::iter::from_fn(next)
            .map(|event| (event.name, event.data))
            .collect()
    }

    #[test]
    fn events_are_the_same_however_the_stream_is_cut() {
        let stream = b": ping\n\ndata: {\"a\":1}\r\n\r\nevent: done\ndata: x\ndata:y\nid: 7\n\nevent: empty\n\ndata: \xc3\xa9\n\n";
        let expected = vec![
            (None, "{\"a\":1}".to_owned()),
            (Some("done".to_owned()), "x\ny".to_owned()),
            (None, "é".to_owned()),
        ];
        for size in 1..stream.len() {
            let mut events = Events::default();
            let mut found = Vec::new();
            for part in stream.chunks(size) {
                events.push(part);
                found.extend(all(&mut events));
            }
            assert_eq!(found, expected, "in parts of {size}");
        }
    }

    #[test]
    fn an_event_without_an_end_is_not_kept_for_ever() {
        let mut events = Events::default();
        events.push(&vec![b'x'; MAX_EVENT + 1]);
        assert_eq!(events.next(), Err(NoEvent::TooLarge));
        let mut events = Events::default();
        let line = [b"data: ".as_slice(), &[b'x'; 1000], b"\n"].concat();
        let failed = (0..2000).find_map(|_| {
            events.push(&line);
            events.next().err()
        });
        assert_eq!(failed, Some(NoEvent::TooLarge));
        let mut events = Events::default();
        events.push(b"data: \xff\n\n");
        assert_eq!(events.next(), Err(NoEvent::NotUtf8));
    }
}
