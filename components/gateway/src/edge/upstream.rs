//! Calls to the inference host.

use std::convert::Infallible;
use std::time::Duration;

use brink_protocol::generate::frame::{FrameReader, MAX_FRAME_BYTES};
use brink_protocol::infer::decode_reply;
use brink_protocol::limits::MAX_MESSAGE_BYTES;
use brink_protocol::{
    CATALOG_PATH, Catalog, GENERATE_PATH, GenerateEvent, GenerateRequest, INFER_PATH, InferReply,
    MEDIA_TYPE, STREAM_PATH, StreamRequest, TOKENIZE_PATH, TokenizeReply, TokenizeRequest, message,
};
use bytes::Bytes;
use futures_util::stream;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use serde::de::DeserializeOwned;
use spin_sdk::http::send;
use spin_sdk::wasip3::http::types::{ErrorCode, RequestOptions};
use spin_sdk::wasip3::http_compat::{IncomingResponseBody, RequestOptionsExtension};

use super::Edge;
use super::body::{self, ReadError};
use crate::error::ApiError;
use crate::items::{MAX_ANSWER_BYTES, TextWaits, UpstreamCall};

/// A host that is up accepts a connection at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The host answers at its deadline by itself; only a lost answer is waited for longer.
pub(super) const GRACE: Duration = Duration::from_millis(500);
/// What a client is told to wait when the host is gone.
pub(super) const RETRY_AFTER_MS: u32 = 1000;
/// A catalogue takes no model time.
const CATALOG_TIMEOUT: Duration = Duration::from_secs(2);
/// A host that is busy is late with its sign of life.
const QUIET_GRACE: Duration = Duration::from_secs(15);

/// Most bytes of an answer beside the results: what is said of each.
const MAX_ANSWER_HEAD_BYTES: u64 = 256 * 1024;

/// Why a call brought no message.
enum CallError {
    /// As the client is told.
    Told(ApiError),
    /// The answer has more bytes than the limit.
    TooLarge(u64),
}

/// A call, and what its answer may cost.
struct Ask<B> {
    method: Method,
    path: &'static str,
    body: B,
    timeout: Duration,
    /// Most bytes of the answer.
    limit: u64,
}

impl Edge {
    /// Asks the host which models it serves.
    pub(super) async fn fetch_catalog(&self) -> Result<Catalog, ApiError> {
        let ask = Ask {
            method: Method::GET,
            path: CATALOG_PATH,
            body: Full::new(Bytes::new()),
            timeout: CATALOG_TIMEOUT,
            limit: MAX_MESSAGE_BYTES as u64,
        };
        self.message(ask).await
    }

    /// Asks the host for what is missing. The call is sent piece by piece, and the results are slices of what
    /// comes back.
    pub(super) async fn fetch_results(&self, call: &UpstreamCall) -> Result<InferReply, ApiError> {
        let frames = call
            .pieces()
            .map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
        let ask = Ask {
            method: Method::POST,
            path: INFER_PATH,
            body: StreamBody::new(stream::iter(frames)),
            timeout: self.settings.upstream_timeout + GRACE,
            limit: MAX_ANSWER_BYTES as u64 + MAX_ANSWER_HEAD_BYTES,
        };
        let bytes = self.ask(ask).await.map_err(|error| match error {
            CallError::Told(error) => error,
            CallError::TooLarge(_) => ApiError::answer_too_large(MAX_ANSWER_BYTES),
        })?;
        decode_reply(&bytes).map_err(|error| ApiError::host_nonsense(&error.to_string()))
    }

    /// Asks the host what its tokenizer makes of texts.
    pub(super) async fn fetch_tokens(
        &self,
        call: &TokenizeRequest,
    ) -> Result<TokenizeReply, ApiError> {
        let ask = Ask {
            method: Method::POST,
            path: TOKENIZE_PATH,
            body: Full::new(Bytes::from(message::encode(call))),
            timeout: self.settings.upstream_timeout,
            limit: MAX_MESSAGE_BYTES as u64,
        };
        self.message(ask).await
    }

    /// Asks the host for a text.
    ///
    /// # Errors
    /// When it cannot begin: what the host says, or why it could not be asked. Boxed, for it is large and rare.
    pub(super) async fn open_text(
        &self,
        call: &GenerateRequest,
        waits: TextWaits,
    ) -> Result<TextStream, Box<Result<InferReply, ApiError>>> {
        self.open(GENERATE_PATH, message::encode(call), waits).await
    }

    /// Asks the host about a text that it keeps.
    ///
    /// # Errors
    /// As for [`open_text`](Self::open_text).
    pub(super) async fn open_kept(
        &self,
        call: &StreamRequest,
        waits: TextWaits,
    ) -> Result<TextStream, Box<Result<InferReply, ApiError>>> {
        self.open(STREAM_PATH, message::encode(call), waits).await
    }

    async fn open(
        &self,
        path: &'static str,
        call: Vec<u8>,
        waits: TextWaits,
    ) -> Result<TextStream, Box<Result<InferReply, ApiError>>> {
        let longest = waits.timeout + GRACE;
        let quiet = match waits.heartbeat {
            Duration::ZERO => longest,
            heartbeat => heartbeat + QUIET_GRACE,
        };
        let ask = Ask {
            method: Method::POST,
            path,
            body: Full::new(Bytes::from(call)),
            timeout: longest,
            limit: MAX_FRAME_BYTES as u64,
        };
        let told = |error| Box::new(Err(error));
        let response = self.send(ask.into_request(self, quiet).map_err(told)?, longest);
        let response = response.await.map_err(told)?;
        let is_begun = response.status().is_success();
        let mut stream = TextStream {
            body: response.into_body(),
            reader: FrameReader::default(),
        };
        if is_begun {
            return Ok(stream);
        }
        Err(Box::new(match stream.next().await {
            Some(GenerateEvent::Failed(fault)) => Ok(Err(fault)),
            _ => Err(ApiError::host_nonsense("a refusal without a reason")),
        }))
    }

    async fn message<T: DeserializeOwned>(&self, ask: Ask<Full<Bytes>>) -> Result<T, ApiError> {
        let bytes = self.ask(ask).await.map_err(|error| match error {
            CallError::Told(error) => error,
            CallError::TooLarge(size) => ApiError::host_nonsense(&format!("{size} bytes")),
        })?;
        message::decode(&bytes).map_err(|error| ApiError::host_nonsense(&error.to_string()))
    }

    async fn ask<B>(&self, ask: Ask<B>) -> Result<Bytes, CallError>
    where
        B: Body<Data = Bytes, Error = Infallible> + Unpin + 'static,
    {
        let Ask { timeout, limit, .. } = ask;
        let request = ask.into_request(self, timeout).map_err(CallError::Told)?;
        let response = self.send(request, timeout).await.map_err(CallError::Told)?;
        let announced = body::announced(response.headers());
        body::read(response.into_body(), announced, limit)
            .await
            .map_err(|error| match error {
                ReadError::TooLarge(size) => CallError::TooLarge(size),
                ReadError::Broken => CallError::Told(ApiError::host_unavailable(RETRY_AFTER_MS)),
            })
    }
}

impl Edge {
    async fn send<B>(
        &self,
        request: Request<B>,
        timeout: Duration,
    ) -> Result<Response<IncomingResponseBody>, ApiError>
    where
        B: Body<Data = Bytes, Error = Infallible> + Unpin + 'static,
    {
        let sent = send(request).await;
        sent.map_err(|error| unreachable_host(&error, timeout))
    }
}

impl<B> Ask<B> {
    /// `quiet` is the longest time between two pieces of the answer.
    fn into_request(self, edge: &Edge, quiet: Duration) -> Result<Request<B>, ApiError> {
        let options = options(self.timeout);
        // As below: a host that does not know it keeps its own limit.
        let _ = options.set_between_bytes_timeout(nanos(quiet));
        Request::builder()
            .method(self.method)
            .uri(format!("{}{}", edge.settings.upstream, self.path))
            .header(CONTENT_TYPE, MEDIA_TYPE)
            .extension(RequestOptionsExtension(options))
            .body(self.body)
            .map_err(|error| {
                ApiError::host_nonsense(&format!("the variable upstream is no URL: {error}"))
            })
    }
}

/// A text as it comes from the host.
pub(super) struct TextStream {
    body: IncomingResponseBody,
    reader: FrameReader,
}

impl TextStream {
    /// The next event; `None` when there are no more, also because the connection broke.
    pub(super) async fn next(&mut self) -> Option<GenerateEvent> {
        loop {
            match self.reader.next_event() {
                Ok(Some(event)) => return Some(event),
                Ok(None) => {}
                Err(error) => {
                    eprintln!("the inference host's text cannot be read: {error}");
                    return None;
                }
            }
            let frame = self.body.frame().await?.ok()?;
            if let Ok(data) = frame.into_data() {
                self.reader.push(&data);
            }
        }
    }
}

fn nanos(duration: Duration) -> Option<u64> {
    Some(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

pub(super) fn options(timeout: Duration) -> RequestOptions {
    let options = RequestOptions::new();
    // A host that knows no such option keeps its own limit: nothing to do about it here.
    let _ = options.set_connect_timeout(nanos(CONNECT_TIMEOUT));
    let _ = options.set_first_byte_timeout(nanos(timeout));
    let _ = options.set_between_bytes_timeout(nanos(timeout));
    options
}

fn unreachable_host(error: &ErrorCode, timeout: Duration) -> ApiError {
    eprintln!("the call to the inference host failed: {error:?}");
    match error {
        ErrorCode::HttpResponseTimeout | ErrorCode::ConnectionReadTimeout => timed_out(timeout),
        _ => ApiError::host_unavailable(RETRY_AFTER_MS),
    }
}

pub(super) fn timed_out(timeout: Duration) -> ApiError {
    ApiError::host_timeout(timeout.as_millis().try_into().unwrap_or(u32::MAX))
}
