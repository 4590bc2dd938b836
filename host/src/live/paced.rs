//! A source of tokens at a pace, which stands in for a model where the transport is what is measured.
//!
//! Only with `live.paced_source`: `{"id":"1","op":"paced","body":{"rate":4,"tokens":100}}` over a WebSocket, and
//! `GET /v1/paced?rate=4&tokens=100` as chunks of OpenAI's API in an event stream. Both go through the same outbox as
//! every streamed answer. With `every` nothing is merged, for comparison.
//!
//! A token is the time at which it was made, in milliseconds, so that another process on the same machine can tell
//! how old it is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use brink_protocol::refusal::ErrorForm;
use bytes::Bytes;
use futures_util::stream;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use serde::Deserialize;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::frame::quoted;
use super::merge::{Key, OutboxLimits, Piece, TooSlow};
use super::outbox::{Receiver, Sender, Undeliverable, outbox};
use crate::server::{Answer, Refusal, RequestBody};

/// Where the event stream is.
pub(super) const PATH: &str = "/v1/paced";

/// How fast tokens come, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pace {
    /// Tokens per second.
    rate: u32,
    /// Tokens in all.
    tokens: u32,
    /// Whether each is sent by itself.
    #[serde(default)]
    every: bool,
}

const MAX_RATE: u32 = 1_000;
const MAX_TOKENS: u32 = 1_000_000;

impl Pace {
    /// Reads `{"rate":4,"tokens":100,"every":false}`.
    pub(super) fn from_json(text: &str) -> Result<Self, String> {
        let wanted = "body is none of rate, tokens and every";
        let pace: Self = serde_json::from_str(text).map_err(|_| wanted.to_owned())?;
        pace.checked()
    }

    /// Reads `rate=4&tokens=100&every=1`.
    fn from_query(query: &str) -> Result<Self, String> {
        let mut pace = Self {
            rate: 0,
            tokens: 0,
            every: false,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("rate", rate)) => pace.rate = rate.parse().unwrap_or_default(),
                Some(("tokens", tokens)) => pace.tokens = tokens.parse().unwrap_or_default(),
                Some(("every", every)) => pace.every = every == "1",
                _ => return Err("only rate, tokens and every can be asked for".to_owned()),
            }
        }
        pace.checked()
    }

    fn checked(self) -> Result<Self, String> {
        if !(1..=MAX_RATE).contains(&self.rate) {
            return Err(format!("rate is not from 1 to {MAX_RATE}"));
        }
        if !(1..=MAX_TOKENS).contains(&self.tokens) {
            return Err(format!("tokens is not from 1 to {MAX_TOKENS}"));
        }
        Ok(self)
    }
}

/// Makes tokens until there are enough. What is due is made at once, whether or not anybody reads.
pub(super) async fn produce(pace: Pace, sender: &Sender, key: &Key) -> Result<(), Undeliverable> {
    let start = Instant::now();
    let interval = Duration::from_secs(1) / pace.rate;
    for number in 1..=pace.tokens {
        tokio::time::sleep_until(start + interval * number).await;
        let token = token();
        if pace.every {
            sender.alone(key, &token)?;
        } else {
            sender.text(key, &token)?;
        }
    }
    Ok(())
}

/// A space and six digits: the milliseconds of the wall clock, to base 36. They repeat after 25 days.
#[expect(
    clippy::disallowed_methods,
    reason = "another process reads the same clock to tell the age of a token"
)]
fn token() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let mut rest = since.unwrap_or_default().as_millis();
    let mut token = *b"       ";
    for digit in token[1..].iter_mut().rev() {
        *digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[(rest % 36) as usize];
        rest /= 36;
    }
    String::from_utf8_lossy(&token).into_owned()
}

/// Answers [`PATH`] before another answer does, if it is enabled.
#[derive(Clone)]
pub struct PacedSource<A> {
    inner: A,
    limits: Option<OutboxLimits>,
}

impl<A> PacedSource<A> {
    /// In front of `inner`; `None` leaves all to it.
    pub fn new(inner: A, limits: Option<OutboxLimits>) -> Self {
        Self { inner, limits }
    }
}

impl<A: Answer> Answer for PacedSource<A> {
    async fn answer<B: RequestBody>(
        &self,
        request: Request<B>,
        client: SocketAddr,
    ) -> Response<Body> {
        match self.limits {
            Some(limits) if request.uri().path() == PATH => {
                match Pace::from_query(request.uri().query().unwrap_or_default()) {
                    Ok(pace) => event_stream(pace, limits),
                    Err(message) => refusal(message).into_response(ErrorForm::OpenAi),
                }
            }
            _ => self.inner.answer(request, client).await,
        }
    }
}

fn refusal(message: String) -> Refusal {
    Refusal {
        status: StatusCode::BAD_REQUEST,
        code: "invalid_value",
        message,
        retry_after: None,
    }
}

fn event_stream(pace: Pace, limits: OutboxLimits) -> Response<Body> {
    let (sender, receiver) = outbox(limits);
    let key = Key {
        request: 0,
        id: Arc::from(""),
        choice: 0,
    };
    receiver.open(key.request);
    // Dropped with the body: then nobody reads any more.
    let mut source = JoinSet::new();
    source.spawn(async move {
        if produce(pace, &sender, &key).await.is_ok() {
            let last = "data: [DONE]\n\n".to_owned();
            // Whether it is still wanted is known to the body.
            let _ = sender.frame(key.request, last).await;
        }
        sender.close(key.request);
    });
    let events = stream::unfold((receiver, source), |(receiver, source)| async move {
        let next = next_events(&receiver).await?;
        Some((next, (receiver, source)))
    });
    let mut response = Response::new(Body::from_stream(events));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    // Or a proxy in front gathers the stream.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

async fn next_events(receiver: &Receiver) -> Option<Result<Bytes, TooSlow>> {
    let pieces = receiver.next().await.transpose()?;
    Some(pieces.map(|pieces| {
        let mut events = String::new();
        for piece in pieces {
            match piece {
                Piece::Text { text, .. } => events.push_str(&chunk(&text)),
                Piece::Frame { frame, .. } => events.push_str(&frame),
            }
        }
        Bytes::from(events)
    }))
}

/// A chunk as long as those of OpenAI's API.
fn chunk(text: &str) -> String {
    let text = quoted(text);
    format!(
        "data: {{\"id\":\"chatcmpl-paced00000000000000000000\",\"object\":\"chat.completion.chunk\",\
         \"created\":1700000000,\"model\":\"paced-source-0\",\"choices\":[{{\"index\":0,\"delta\":\
         {{\"content\":{text}}},\"logprobs\":null,\"finish_reason\":null}}]}}\n\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_has_limits() {
        let check = |query: &str, expected: &str| {
            let error = Pace::from_query(query).unwrap_err();
            assert!(error.contains(expected), "{query}: {error}");
        };
        check("", "rate");
        check("rate=1001&tokens=1", "rate is not from 1 to 1000");
        check("rate=1&tokens=0", "tokens");
        check("rate=1&tokens=x", "tokens");
        check("speed=1", "only rate");
        let every = Pace::from_query("rate=4&tokens=8&every=1").unwrap();
        let json = Pace::from_json(r#"{"rate":4,"tokens":8,"every":true}"#);
        assert_eq!(json, Ok(every));
        assert!(Pace::from_json(r#"{"rate":4}"#).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn the_stream_ends_with_its_last_token() {
        let pace = Pace::from_query("rate=100&tokens=10").unwrap();
        let response = event_stream(pace, OutboxLimits::default());
        let body = axum::body::to_bytes(response.into_body(), 1 << 20)
            .await
            .unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
        let tokens = text.matches(' ').count() - text.matches("data: ").count();
        assert_eq!(tokens, 10, "{text}");
        let events = text.matches("data: ").count() - 1;
        assert!(
            (3..=5).contains(&events),
            "merged to one each 40 ms: {events}"
        );
    }

    #[test]
    fn a_token_is_a_word_of_seven_bytes() {
        let token = token();
        assert_eq!((token.len(), &token[..1]), (7, " "));
    }
}
