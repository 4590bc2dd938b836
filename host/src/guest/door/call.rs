//! Calls that a door asks the host to make, instead of waiting for them in an instance.
//!
//! They go where the component's own requests go: past the same allow-list, within the same limits. The
//! instance is free meanwhile, so that a request which waits for a model holds its head and body and
//! nothing more.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use tokio::time::Instant;
use wasmtime::{ensure, format_err};
use wasmtime_wasi_http::{Error as HttpError, RequestOptions, WasiBody};

use super::head::{self, split};
use super::instance::Message;
use crate::guest::outbound::{Network, Outbound};
use crate::guest::state::ComponentContext;
use crate::telemetry::Trace;

/// How the head of a call begins.
const CALL: &[u8] = b"call ";
/// The same for one whose answer is passed on as it comes.
const STREAM: &[u8] = b"stream ";
/// How long it may take.
const TIMEOUT: &[u8] = b"timeout-ms";
/// How names of headers begin that are the component's own.
const NOTE: &[u8] = b"note-";

/// Most bytes of a result: an instance has to hold it beside the answer made of it. A gateway's answer may have
/// 16 MiB of results.
const MAX_RESULT_BYTES: usize = 17 << 20;

/// Whether a component wants a call made.
pub(super) fn is_call(message: &Message) -> bool {
    message.head.starts_with(CALL) || is_stream(message)
}

/// Whether it wants the answer passed on as it comes.
pub(super) fn is_stream(message: &Message) -> bool {
    message.head.starts_with(STREAM)
}

/// What came of a call.
pub(super) enum Brought {
    /// All of the answer, or the reason why there is none.
    Whole(Message),
    /// The beginning of an answer that is to be passed on.
    Begun(WasiBody),
}

/// A request that is to be sent, and how long the head of its answer may take.
struct Wanted {
    request: Request<WasiBody>,
    timeout: Option<Duration>,
}

/// Makes the call and gives its result, or the reason why there is none. An answer that is to be passed on is given as it
/// begins.
///
/// # Errors
/// When the message is no call.
pub(super) async fn make(
    call: &Message,
    component: &Arc<ComponentContext>,
    network: &Arc<Network>,
    trace: Option<&Trace>,
) -> wasmtime::Result<Brought> {
    let Wanted { request, timeout } = read(call)?;
    let options = RequestOptions {
        connect_timeout: None,
        first_byte_timeout: timeout,
        between_bytes_timeout: timeout,
    };
    let mut outbound = Outbound::new(Arc::clone(component), Arc::clone(network));
    outbound.work_under(trace.cloned());
    let began = Instant::now();
    let answer = match outbound.send(request, Some(options)) {
        Ok(sent) => sent.await,
        Err(error) => Err(error),
    };
    let answer = match answer {
        Ok(answer) if is_stream(call) && answer.status().is_success() => {
            return Ok(Brought::Begun(answer.into_body()));
        }
        answer => answer,
    };
    Ok(Brought::Whole(match answer {
        Ok(answer) => {
            let status = answer.status();
            match Limited::new(answer.into_body(), MAX_RESULT_BYTES)
                .collect()
                .await
            {
                Ok(body) => Message {
                    head: told(status, began.elapsed()),
                    body: body.to_bytes(),
                },
                Err(error) if error.is::<LengthLimitError>() => without_body("too-large"),
                Err(_) => without_body("unreachable"),
            }
        }
        Err(HttpError::HttpResponseTimeout | HttpError::ConnectionReadTimeout) => {
            without_body("timeout")
        }
        Err(_) => without_body("unreachable"),
    }))
}

fn told(status: StatusCode, took: Duration) -> Bytes {
    format!("{}\ntook-us: {}", status.as_u16(), took.as_micros()).into()
}

fn without_body(head: &'static str) -> Message {
    Message {
        head: Bytes::from_static(head.as_bytes()),
        body: Bytes::new(),
    }
}

/// Reads `call METHOD url` or `stream METHOD url`, and its headers.
fn read(call: &Message) -> wasmtime::Result<Wanted> {
    let (first, mut rest) = split(b'\n', &call.head);
    let target = first
        .strip_prefix(CALL)
        .or_else(|| first.strip_prefix(STREAM));
    let target = target.map(|target| split(b' ', target));
    let Some((method, Some(url))) = target else {
        return Err(format_err!("a call without a method and a URL"));
    };
    let body = Full::new(call.body.clone()).map_err(|never| match never {});
    let mut request = Request::new(body.boxed_unsync());
    *request.method_mut() = Method::from_bytes(method)?;
    *request.uri_mut() = Uri::try_from(url)?;
    let mut timeout = None;
    while let Some(lines) = rest {
        let line;
        (line, rest) = split(b'\n', lines);
        let (name, value) = head::read_line(line)?;
        if name == TIMEOUT {
            timeout = Some(Duration::from_millis(std::str::from_utf8(value)?.parse()?));
        } else if !name.starts_with(NOTE) {
            let name = HeaderName::from_bytes(name)?;
            ensure!(
                !head::is_forbidden(&name) && name != CONTENT_LENGTH,
                "the header {name} belongs to the host"
            );
            let value = HeaderValue::from_maybe_shared(call.head.slice_ref(value))?;
            request.headers_mut().append(name, value);
        }
    }
    Ok(Wanted { request, timeout })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(head: &'static str) -> Message {
        Message {
            head: Bytes::from_static(head.as_bytes()),
            body: Bytes::from_static(b"body"),
        }
    }

    #[test]
    fn a_call_is_a_request_without_the_components_notes() {
        let call = call(
            "call POST http://a.internal/x?y\ncontent-type: text/plain\ntimeout-ms: 250\nnote-id: 7",
        );
        assert!(is_call(&call));
        let wanted = read(&call).expect("a call");
        assert_eq!(wanted.timeout, Some(Duration::from_millis(250)));
        assert_eq!(wanted.request.method(), Method::POST);
        assert_eq!(wanted.request.uri(), "http://a.internal/x?y");
        assert_eq!(wanted.request.headers().len(), 1);
        assert_eq!(wanted.request.headers()["content-type"], "text/plain");
    }

    #[test]
    fn what_is_no_call_is_refused() {
        for head in [
            "call ",
            "call POST",
            "call POST \u{7f}",
            "call PO ST http://a/",
            "call POST http://a/\nhost: b",
            "call POST http://a/\ncontent-length: 9",
            "call POST http://a/\ntimeout-ms: soon",
            "call POST http://a/\nno colon",
        ] {
            assert!(read(&call(head)).is_err(), "{head}");
        }
        assert!(!is_call(&call("200")));
    }
}
