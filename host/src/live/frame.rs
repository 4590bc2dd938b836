//! How our messages are written (docs/websocket.md): by hand, for most of them are a few bytes of text.

use std::fmt::Write;

/// A message about a request, or about the connection.
#[derive(Debug)]
pub(super) struct Frame(String);

impl Frame {
    /// `{"id":"1"`
    pub(super) fn of(id: &str, room: usize) -> Self {
        let mut frame = Self(String::with_capacity(room + id.len() + 32));
        frame.0.push_str("{\"id\":");
        frame.push_text(id);
        frame
    }

    /// `{"id":null`: nobody knows which request is meant.
    pub(super) fn of_nothing() -> Self {
        Self("{\"id\":null".to_owned())
    }

    /// `,"name":7`
    pub(super) fn number(mut self, name: &str, value: u64) -> Self {
        // Writing to a string never fails.
        let _ = write!(self.0, ",\"{name}\":{value}");
        self
    }

    /// `,"name":"text"`
    pub(super) fn text(mut self, name: &str, text: &str) -> Self {
        self.push_name(name);
        self.push_text(text);
        self
    }

    /// `,"name":` and what is JSON already.
    pub(super) fn json(mut self, name: &str, json: &str) -> Self {
        self.push_name(name);
        self.0.push_str(json);
        self
    }

    /// The whole message.
    pub(super) fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }

    fn push_name(&mut self, name: &str) {
        self.0.push_str(",\"");
        self.0.push_str(name);
        self.0.push_str("\":");
    }

    fn push_text(&mut self, text: &str) {
        self.0.push_str(&quoted(text));
    }
}

/// A text as JSON.
pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text is always JSON")
}

/// `{"id":"1","t":" word"}`; choices after the first are numbered: `"i":1`.
pub(super) fn text(id: &str, choice: u32, text: &str) -> String {
    let frame = Frame::of(id, text.len());
    let frame = match choice {
        0 => frame,
        choice => frame.number("i", choice.into()),
    };
    frame.text("t", text).end()
}

/// `{"t":" word"}`: more of the text that the last message of text was of.
pub(super) fn more_text(text: &str) -> String {
    format!("{{\"t\":{}}}", quoted(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_as_short_as_can_be() {
        assert_eq!(text("1", 0, " word"), r#"{"id":"1","t":" word"}"#);
        assert_eq!(more_text(" word"), r#"{"t":" word"}"#);
        assert_eq!(text("1", 2, "\n"), r#"{"id":"1","i":2,"t":"\n"}"#);
    }

    #[test]
    fn ids_are_quoted() {
        let frame = Frame::of("a\"b", 0)
            .number("status", 200)
            .json("result", "[]");
        assert_eq!(frame.end(), r#"{"id":"a\"b","status":200,"result":[]}"#);
        let frame = Frame::of_nothing().text("error", "x");
        assert_eq!(frame.end(), r#"{"id":null,"error":"x"}"#);
    }
}
