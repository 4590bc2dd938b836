//! Answers one request of a socket, through the same way as a request of HTTP: its answer becomes frames.
//!
//! Dropping the future ends the request, as a client of HTTP does that leaves.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::command::Ask;
use super::events::Events;
use super::frame::{Frame, quoted};
use super::merge::Key;
use super::metrics::RequestOutcome;
use super::outbox::{Sender, Undeliverable};
use super::translate::{Told, Translator};
use crate::server::{Answer, Refusal};

/// Who asks: what all requests of a socket have in common.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// Where the connection comes from.
    pub(super) address: SocketAddr,
    /// Fields that the socket was opened with: who asks, and through which host.
    pub(super) headers: HeaderMap,
}

/// How one request is answered.
pub(super) struct Asking<A> {
    pub(super) answering: A,
    pub(super) caller: Arc<Caller>,
    pub(super) sender: Sender,
    /// Of the first choice.
    pub(super) key: Key,
    /// Largest answer in one frame, in bytes.
    pub(super) max_answer_bytes: usize,
}

/// Fields of an answer that are told where they are wanted.
const TOLD: [&str; 11] = [
    "age",
    "brink-items",
    "brink-policy",
    "cache-status",
    "content-type",
    "etag",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "server-timing",
    "x-request-id",
];

impl Caller {
    /// A request in this caller's name.
    pub(super) fn request(&self, ask: Ask) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(ask.body));
        *request.method_mut() = ask.method;
        *request.uri_mut() = Uri::from(ask.path);
        let headers = request.headers_mut();
        *headers = self.headers.clone();
        // Those of the request are others than those of the socket, so nothing is replaced.
        headers.extend(ask.headers);
        request
    }
}

impl<A: Answer> Asking<A> {
    /// Asks, and puts the whole answer into the outbox.
    pub(super) async fn run(self, ask: Ask) -> RequestOutcome {
        let wants_head = ask.wants_head;
        let request = self.caller.request(ask);
        let response = self.answering.answer(request, self.caller.address).await;
        let put = if is_event_stream(&response) {
            self.stream(response).await
        } else {
            self.whole(response, wants_head).await
        };
        put.unwrap_or_else(|gone| match gone {
            Undeliverable::TooSlow(_) => RequestOutcome::Slow,
            Undeliverable::Cancelled => RequestOutcome::Cancelled,
        })
    }

    async fn whole(
        &self,
        response: Response<Body>,
        wants_head: bool,
    ) -> Result<RequestOutcome, Undeliverable> {
        let (parts, body) = response.into_parts();
        let body = match Limited::new(body, self.max_answer_bytes).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return self.refuse(self.broken(&*error)).await,
        };
        let is_refusal = parts.status.is_client_error() || parts.status.is_server_error();
        let id = &self.key.id;
        let frame = Frame::of(id, body.len()).number("status", parts.status.as_u16().into());
        let frame = match retry_after_ms(&parts.headers) {
            Some(wait) if is_refusal => frame.number("retry_after_ms", wait),
            _ => frame,
        };
        let frame = if wants_head {
            frame.json("head", &head(&parts.headers))
        } else {
            frame
        };
        let frame = if is_refusal {
            frame.json("error", &error_of(&body, parts.status))
        } else {
            match result_of(&body) {
                Some(result) => frame.json("result", &result),
                None => return self.refuse(not_text()).await,
            }
        };
        self.sender.frame(self.key.request, frame.end()).await?;
        Ok(if is_refusal {
            RequestOutcome::Refused
        } else {
            RequestOutcome::Answered
        })
    }

    async fn stream(&self, response: Response<Body>) -> Result<RequestOutcome, Undeliverable> {
        let mut body = response.into_body();
        let mut events = Events::default();
        let mut translator = Translator::new(self.key.id.clone());
        while let Some(part) = body.frame().await {
            let Ok(part) = part else {
                return self.refuse(cut()).await;
            };
            let Ok(data) = part.into_data() else {
                continue;
            };
            events.push(&data);
            loop {
                let event = match events.next() {
                    Ok(Some(event)) => event,
                    Ok(None) => break,
                    Err(error) => return self.refuse(unusable(error.to_string())).await,
                };
                for told in translator.event(&event) {
                    if self.tell(told).await? {
                        return Ok(RequestOutcome::Streamed);
                    }
                }
            }
        }
        match translator.end() {
            Some(done) => {
                self.sender.frame(self.key.request, done).await?;
                Ok(RequestOutcome::Streamed)
            }
            None => self.refuse(cut()).await,
        }
    }

    /// Whether that was the end.
    async fn tell(&self, told: Told) -> Result<bool, Undeliverable> {
        match told {
            Told::Text(choice, text) => {
                let key = Key {
                    choice,
                    ..self.key.clone()
                };
                self.sender.text(&key, &text)?;
                Ok(false)
            }
            Told::Frame(frame) => {
                self.sender.frame(self.key.request, frame).await?;
                Ok(false)
            }
            Told::End(frame) => {
                self.sender.frame(self.key.request, frame).await?;
                Ok(true)
            }
        }
    }

    async fn refuse(&self, refusal: Refusal) -> Result<RequestOutcome, Undeliverable> {
        let frame = refusal_frame(Some(&self.key.id), &refusal);
        self.sender.frame(self.key.request, frame).await?;
        Ok(RequestOutcome::Refused)
    }

    fn broken(&self, error: &(dyn std::error::Error + 'static)) -> Refusal {
        if !error.is::<LengthLimitError>() {
            return cut();
        }
        let max = self.max_answer_bytes;
        unusable(format!(
            "the answer has more than {max} bytes (live.max_answer_bytes); ask for it over HTTP"
        ))
    }
}

/// A refusal as a frame of the request that is meant, if it is known.
pub(super) fn refusal_frame(id: Option<&str>, refusal: &Refusal) -> String {
    let frame = id.map_or_else(Frame::of_nothing, |id| Frame::of(id, 128));
    let frame = frame.number("status", refusal.status.as_u16().into());
    let frame = match refusal.retry_after {
        Some(wait) => frame.number("retry_after_ms", milliseconds(wait)),
        None => frame,
    };
    let error = error_of(&refusal.body(), refusal.status);
    frame.json("error", &error).end()
}

fn milliseconds(wait: std::time::Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

fn unusable(message: String) -> Refusal {
    Refusal {
        status: StatusCode::BAD_GATEWAY,
        code: "answer_unusable",
        message,
        retry_after: None,
    }
}

fn cut() -> Refusal {
    Refusal {
        code: "answer_cut",
        ..unusable("the answer broke off".to_owned())
    }
}

fn not_text() -> Refusal {
    unusable("the answer is neither JSON nor text; ask for it over HTTP".to_owned())
}

fn is_event_stream(response: &Response<Body>) -> bool {
    let kind = response.headers().get(CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    response.status().is_success() && kind.starts_with("text/event-stream")
}

/// A body as JSON: itself, or a text.
fn result_of(body: &[u8]) -> Option<String> {
    if body.is_empty() {
        return Some("null".to_owned());
    }
    let text = std::str::from_utf8(body).ok()?;
    let json = serde_json::from_str::<&RawValue>(text);
    Some(json.map_or_else(|_| quoted(text), |json| json.get().to_owned()))
}

/// The `error` of a refusal, in whichever of the forms that our routes have.
fn error_of(body: &[u8], status: StatusCode) -> String {
    #[derive(Deserialize)]
    struct Refused<'a> {
        #[serde(borrow)]
        error: Option<&'a RawValue>,
        /// Of a problem document (RFC 9457).
        #[serde(borrow)]
        detail: Option<&'a RawValue>,
    }
    let refused = serde_json::from_slice::<Refused<'_>>(body).ok();
    let error = refused.and_then(|refused| refused.error.or(refused.detail));
    match error.map(RawValue::get) {
        Some(object) if object.starts_with('{') => object.to_owned(),
        Some(text) if text.starts_with('"') => format!("{{\"message\":{text}}}"),
        _ => {
            let reason = status.canonical_reason().unwrap_or("the request failed");
            format!("{{\"message\":{}}}", quoted(reason))
        }
    }
}

fn retry_after_ms(headers: &HeaderMap) -> Option<u64> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
    let seconds = || number(header::RETRY_AFTER.as_str());
    number("retry-after-ms").or_else(|| seconds().map(|seconds| seconds.saturating_mul(1000)))
}

fn head(headers: &HeaderMap) -> String {
    let fields = TOLD.iter().filter_map(|name| {
        let value = headers.get(*name)?.to_str().ok()?;
        Some(format!("{}:{}", quoted(name), quoted(value)))
    });
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_all_forms_become_objects() {
        let check = |body: &str, expected: &str| {
            assert_eq!(error_of(body.as_bytes(), StatusCode::NOT_FOUND), expected);
        };
        check(r#"{"error":{"message":"m"}}"#, r#"{"message":"m"}"#);
        check(
            r#"{"error":"m","error_type":"Validation"}"#,
            r#"{"message":"m"}"#,
        );
        check(r#"{"title":"t","detail":"d"}"#, r#"{"message":"d"}"#);
        check("<html>", r#"{"message":"Not Found"}"#);
        check(r#"{"error":7}"#, r#"{"message":"Not Found"}"#);
    }

    #[test]
    fn results_are_json_or_text() {
        assert_eq!(result_of(b" [1] ").as_deref(), Some("[1]"));
        assert_eq!(result_of(b"plain").as_deref(), Some("\"plain\""));
        assert_eq!(result_of(b"").as_deref(), Some("null"));
        assert_eq!(result_of(b"\xff"), None);
    }

    #[test]
    fn when_to_come_back_is_told_in_milliseconds() {
        let mut headers = HeaderMap::new();
        assert_eq!(retry_after_ms(&headers), None);
        headers.insert("retry-after", "2".parse().unwrap());
        assert_eq!(retry_after_ms(&headers), Some(2000));
        headers.insert("retry-after-ms", "1500".parse().unwrap());
        assert_eq!(retry_after_ms(&headers), Some(1500));
    }
}
