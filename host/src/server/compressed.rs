//! Event streams compressed, for clients that ask for it.
//!
//! Every event is flushed, so compression delays nothing. It costs the host memory for each stream (a compressor's window and tables) and time for
//! each event, so a client asks for it in the URL (`compress=1`), beside the `Accept-Encoding` that browsers always send;
//! and only so many streams have it at a time: further ones are sent as they are. Whole answers are never compressed here.
//! Events of our own routes take fewer bytes than compressed chunks of OpenAI's API, with no such cost.

use std::io::Write;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, VARY};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body as HttpBody, Frame};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::{Answer, RequestBody};

/// Answers through another answer, and compresses its event streams where that is asked for.
#[derive(Clone)]
pub struct Compressed<A> {
    inner: A,
    slots: Arc<Semaphore>,
}

impl<A> Compressed<A> {
    /// At most `limit` streams at a time.
    pub fn new(inner: A, limit: usize) -> Self {
        Self {
            inner,
            slots: Arc::new(Semaphore::new(limit)),
        }
    }
}

impl<A: Answer> Answer for Compressed<A> {
    async fn answer<B: RequestBody>(
        &self,
        request: Request<B>,
        client: SocketAddr,
    ) -> Response<Body> {
        let is_asked_for = asks(request.uri().query()) && takes_gzip(request.headers());
        let response = self.inner.answer(request, client).await;
        if !is_asked_for || !is_plain_event_stream(response.headers()) {
            return response;
        }
        match self.slots.clone().try_acquire_owned() {
            Ok(slot) => compress(response, slot),
            Err(_) => response,
        }
    }
}

fn asks(query: Option<&str>) -> bool {
    let mut pairs = query.unwrap_or_default().split('&');
    pairs.any(|pair| pair == "compress=1")
}

/// RFC 9110 §12.5.3. A client that weighs codings is not asked for more than whether it refuses this one.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter();
    let members = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    members.into_iter().any(|member| {
        let (coding, weight) = member.split_once(';').unwrap_or((member, ""));
        let weight = weight.trim().strip_prefix("q=").unwrap_or("1");
        coding.trim().eq_ignore_ascii_case("gzip")
            && weight
                .trim()
                .parse::<f32>()
                .is_ok_and(|weight| weight > 0.0)
    })
}

fn is_plain_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("text/event-stream"))
        && !headers.contains_key(CONTENT_ENCODING)
}

fn compress(response: Response<Body>, slot: OwnedSemaphorePermit) -> Response<Body> {
    let mut response = response.map(|body| {
        Body::new(Gzip {
            body,
            encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())),
            _slot: slot,
        })
    });
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    // They are those of other bytes.
    headers.remove(ETAG);
    headers.remove("repr-digest");
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    response
}

/// A body that is compressed piece by piece.
struct Gzip {
    body: Body,
    /// `None` once the end is sent.
    encoder: Option<GzEncoder<Vec<u8>>>,
    _slot: OwnedSemaphorePermit,
}

impl Gzip {
    fn squeeze(&mut self, data: &[u8]) -> std::io::Result<Bytes> {
        let Some(encoder) = &mut self.encoder else {
            return Ok(Bytes::new());
        };
        encoder.write_all(data)?;
        // What was written goes out, and what comes next can still refer to it.
        encoder.flush()?;
        Ok(std::mem::take(encoder.get_mut()).into())
    }
}

impl HttpBody for Gzip {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.encoder.is_none() {
            return Poll::Ready(None);
        }
        let piece = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => self.squeeze(&data),
                // Trailers tell nothing of an event stream.
                Err(_) => Ok(Bytes::new()),
            },
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => {
                let ended = self.encoder.take().map(GzEncoder::finish);
                ended.transpose().map(|end| end.unwrap_or_default().into())
            }
        };
        Poll::Ready(Some(piece.map(Frame::data).map_err(axum::Error::new)))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use futures_util::stream;
    use http_body_util::BodyExt;

    use super::*;

    const EVENTS: [&str; 3] = ["data: one\n\n", ": ping\n\n", "data: two\n\n"];

    #[derive(Clone)]
    struct Fixed(&'static str);

    impl Answer for Fixed {
        async fn answer<B: RequestBody>(
            &self,
            _request: Request<B>,
            _client: SocketAddr,
        ) -> Response<Body> {
            let events = EVENTS.map(|event| Ok::<_, axum::Error>(Bytes::from(event)));
            let mut response = Response::new(Body::from_stream(stream::iter(events)));
            let kind = HeaderValue::from_static(self.0);
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
    }

    async fn ask(answer: &Compressed<Fixed>, target: &str, takes: &str) -> Response<Body> {
        let request = Request::builder()
            .uri(target)
            .header(ACCEPT_ENCODING, takes);
        let request = request.body(Body::empty()).expect("a request");
        answer.answer(request, ([127, 0, 0, 1], 1).into()).await
    }

    #[tokio::test]
    async fn each_event_can_be_read_when_it_comes() {
        let answer = Compressed::new(Fixed("text/event-stream"), 1);
        let response = ask(&answer, "/v1/streams?x=1&compress=1", "br, gzip").await;
        assert_eq!(response.headers()[CONTENT_ENCODING], "gzip");
        assert_eq!(response.headers()[VARY], "accept-encoding");
        // A second one is sent as it is: there is room for one.
        let plain = ask(&answer, "/?compress=1", "gzip").await;
        assert!(!plain.headers().contains_key(CONTENT_ENCODING));
        let mut body = response.into_body();
        let (mut sent, mut expected) = (Vec::new(), String::new());
        for event in EVENTS {
            let frame = body.frame().await.expect("an event").expect("no error");
            sent.extend(frame.into_data().expect("data"));
            expected.push_str(event);
            let mut read = vec![0; expected.len()];
            GzDecoder::new(&sent[..])
                .read_exact(&mut read)
                .expect("it was flushed");
            assert_eq!(read, expected.as_bytes());
        }
        let end = body.collect().await.expect("an end").to_bytes();
        sent.extend(end);
        let mut whole = String::new();
        GzDecoder::new(&sent[..])
            .read_to_string(&mut whole)
            .expect("a whole member");
        assert_eq!(whole, expected);
    }

    #[tokio::test]
    async fn only_event_streams_of_those_who_ask_are_compressed() {
        let check = |kind: &'static str, target: &'static str, takes: &'static str| async move {
            let answer = Compressed::new(Fixed(kind), 8);
            let response = ask(&answer, target, takes).await;
            response.headers().contains_key(CONTENT_ENCODING)
        };
        assert!(check("text/event-stream", "/?compress=1", "gzip;q=0.5").await);
        assert!(!check("text/event-stream", "/?compress=1", "gzip;q=0").await);
        assert!(!check("text/event-stream", "/?compress=1", "br").await);
        assert!(!check("text/event-stream", "/?compress=0", "gzip").await);
        assert!(!check("text/event-stream", "/", "gzip").await);
        assert!(!check("application/json", "/?compress=1", "gzip").await);
    }
}
