//! From the events of a streamed answer to compact frames.
//!
//! A chunk of OpenAI's API says a few bytes of text in some 250 bytes; here it becomes the text alone, which can be
//! merged while it waits, and what the chunks say once (why it ended, what it used) becomes the last frame. A chunk that
//! says more than that (log probabilities, calls of tools) is passed on whole.
//!
//! Pure. Not here: reading events (see [`events`](super::events)) and errors before the stream (see `ask`).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::events::Event;
use super::frame::{Frame, quoted};

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Text of a choice.
    Text(u32, String),
    /// A message.
    Frame(String),
    /// The last message.
    End(String),
}

/// One streamed answer.
#[derive(Debug)]
pub(super) struct Translator {
    id: Arc<str>,
    /// Why choices ended.
    reasons: BTreeMap<u32, String>,
    /// As JSON.
    usage: Option<String>,
    /// Such streams end with `[DONE]`; without it they were cut.
    has_chunks: bool,
}

#[derive(Deserialize)]
struct Chunk<'a> {
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    /// Our own short form.
    #[serde(borrow)]
    t: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: u32,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    logprobs: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
    #[serde(borrow)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_calls: Option<&'a RawValue>,
}

fn says(value: Option<&RawValue>) -> bool {
    value.is_some_and(|value| value.get() != "null")
}

impl Choice<'_> {
    fn says_more_than_text(&self) -> bool {
        let delta = self.delta.as_ref();
        says(self.logprobs)
            || delta.is_some_and(|delta| says(delta.refusal) || says(delta.tool_calls))
    }

    fn text(&self) -> Option<&str> {
        let delta = self
            .delta
            .as_ref()
            .and_then(|delta| delta.content.as_deref());
        delta
            .or(self.text.as_deref())
            .filter(|text| !text.is_empty())
    }
}

impl Translator {
    pub(super) fn new(id: Arc<str>) -> Self {
        Self {
            id,
            reasons: BTreeMap::new(),
            usage: None,
            has_chunks: false,
        }
    }

    /// What this event says, in order.
    pub(super) fn event(&mut self, event: &Event) -> Vec<Told> {
        let data = event.data.trim();
        if data == "[DONE]" {
            return vec![Told::End(self.done())];
        }
        let Ok(chunk) = serde_json::from_str::<Chunk<'_>>(data) else {
            return vec![self.passed_on(event)];
        };
        if let Some(error) = chunk.error.filter(|error| error.get() != "null") {
            let frame = Frame::of(&self.id, error.get().len());
            return vec![Told::End(frame.json("error", error.get()).end())];
        }
        if let Some(text) = chunk.t {
            return vec![Told::Text(0, text.into_owned())];
        }
        let Some(choices) = &chunk.choices else {
            return vec![self.passed_on(event)];
        };
        self.has_chunks = true;
        if let Some(usage) = chunk.usage.filter(|usage| usage.get() != "null") {
            self.usage = Some(usage.get().to_owned());
        }
        self.choices(choices, event)
    }

    fn choices(&mut self, choices: &[Choice<'_>], event: &Event) -> Vec<Told> {
        let mut told = Vec::new();
        if choices.iter().any(Choice::says_more_than_text) {
            told.push(self.passed_on(event));
        } else {
            let texts = choices.iter();
            told.extend(
                texts
                    .filter_map(|choice| Some(Told::Text(choice.index, choice.text()?.to_owned()))),
            );
        }
        for choice in choices {
            if let Some(reason) = &choice.finish_reason {
                self.reasons.insert(choice.index, reason.to_string());
            }
        }
        told
    }

    /// An event of another kind, as it is: JSON, or a text.
    fn passed_on(&self, event: &Event) -> Told {
        let is_json = serde_json::from_str::<&RawValue>(&event.data).is_ok();
        let frame = Frame::of(&self.id, event.data.len());
        let frame = match &event.name {
            Some(name) => frame.text("name", name),
            None => frame,
        };
        let frame = if is_json {
            // On one line, as it came.
            frame.json("event", &event.data)
        } else {
            frame.text("event", &event.data)
        };
        Told::Frame(frame.end())
    }

    /// The end of a stream that did not say so itself: `None` if it was cut.
    pub(super) fn end(&self) -> Option<String> {
        (!self.has_chunks).then(|| self.done())
    }

    fn done(&self) -> String {
        let mut done = Vec::new();
        if let Some(reason) = self.reasons.get(&0) {
            done.push(format!("\"finish_reason\":{}", quoted(reason)));
        }
        if self.reasons.len() > 1 {
            let all: Vec<String> = self.reasons.values().map(|reason| quoted(reason)).collect();
            done.push(format!("\"finish_reasons\":[{}]", all.join(",")));
        }
        if let Some(usage) = &self.usage {
            done.push(format!("\"usage\":{usage}"));
        }
        let done = format!("{{{}}}", done.join(","));
        Frame::of(&self.id, done.len()).json("done", &done).end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(translator: &mut Translator, data: &str) -> Vec<Told> {
        translator.event(&Event {
            name: None,
            data: data.to_owned(),
        })
    }

    fn text(choice: u32, text: &str) -> Vec<Told> {
        vec![Told::Text(choice, text.to_owned())]
    }

    #[test]
    fn a_chat_becomes_its_text_and_one_last_frame() {
        let mut chat = Translator::new("1".into());
        let role = r#"{"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#;
        assert_eq!(told(&mut chat, role), []);
        let word = r#"{"id":"c","choices":[{"index":0,"delta":{"content":" w\u00f6rd"},"logprobs":null,"finish_reason":null}]}"#;
        assert_eq!(told(&mut chat, word), text(0, " wörd"));
        let stop = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
        assert_eq!(told(&mut chat, stop), []);
        let usage = r#"{"choices":[],"usage":{"total_tokens":3}}"#;
        assert_eq!(told(&mut chat, usage), []);
        assert_eq!(chat.end(), None, "without [DONE] it was cut");
        let done = r#"{"id":"1","done":{"finish_reason":"stop","usage":{"total_tokens":3}}}"#;
        assert_eq!(told(&mut chat, "[DONE]"), [Told::End(done.to_owned())]);
    }

    #[test]
    fn completions_choices_and_our_own_form_are_understood() {
        let mut stream = Translator::new("1".into());
        assert_eq!(
            told(&mut stream, r#"{"choices":[{"index":1,"text":"a"}]}"#),
            text(1, "a")
        );
        assert_eq!(told(&mut stream, r#"{"t":"b"}"#), text(0, "b"));
        let stop = r#"{"choices":[{"index":1,"text":"","finish_reason":"length"},{"index":0,"text":"","finish_reason":"stop"}]}"#;
        assert_eq!(told(&mut stream, stop), []);
        let done =
            r#"{"id":"1","done":{"finish_reason":"stop","finish_reasons":["stop","length"]}}"#;
        assert_eq!(told(&mut stream, "[DONE]"), [Told::End(done.to_owned())]);
    }

    #[test]
    fn what_says_more_is_passed_on_whole() {
        let mut stream = Translator::new("1".into());
        let check = |stream: &mut Translator, data: &str, expected: &str| {
            assert_eq!(told(stream, data), [Told::Frame(expected.to_owned())]);
        };
        let tools = r#"{"choices":[{"index":0,"delta":{"content":"x","tool_calls":[1]}}]}"#;
        check(
            &mut stream,
            tools,
            &format!(r#"{{"id":"1","event":{tools}}}"#),
        );
        check(
            &mut stream,
            "plain \"text\"",
            r#"{"id":"1","event":"plain \"text\""}"#,
        );
        check(
            &mut stream,
            r#"{"other":1}"#,
            r#"{"id":"1","event":{"other":1}}"#,
        );
    }

    #[test]
    fn an_error_in_the_middle_ends_the_stream() {
        let mut stream = Translator::new("1".into());
        let error = r#"{"error":{"message":"m","code":"c"}}"#;
        let expected = r#"{"id":"1","error":{"message":"m","code":"c"}}"#;
        assert_eq!(told(&mut stream, error), [Told::End(expected.to_owned())]);
        let own = Translator::new("1".into());
        assert_eq!(own.end().as_deref(), Some(r#"{"id":"1","done":{}}"#));
    }
}
