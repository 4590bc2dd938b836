//! One WebSocket as a session sees it, whichever library speaks the protocol.
//!
//! The library is named in this file only. It answers pings and fragments, checks UTF-8, and compresses; who is
//! asked whether it is still there, and when, is the session's matter, which has a clock that tests can pause.
//!
//! After a mistake in the protocol the library sends nothing more. Clients are told what was wrong all the same: the
//! closing frame is then written to the connection itself (RFC 6455 §7.1.7).

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Sink, Stream};
use sockudo_ws::error::CloseReason;
use sockudo_ws::{
    CompressedWebSocketStream, Config, DeflateConfig, Error, Message, WebSocketStream,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A WebSocket.
pub(super) trait Socket: Send + Unpin + 'static {
    /// What comes next from the client.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Received>;

    /// Puts something behind what is being sent.
    ///
    /// # Errors
    /// When nothing can be sent any more.
    fn start_send(&mut self, frame: Outgoing) -> Result<(), Gone>;

    /// Sends what was put there.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>>;

    /// Bytes that the connection has taken so far: whether a long write makes headway.
    fn written(&self) -> u64;
}

/// What came from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// A text message, in UTF-8.
    Text(Bytes),
    /// A binary message, which the protocol has no use for.
    Binary,
    /// A ping, which was answered, or a pong.
    Alive,
    /// It closed, or answered that we close.
    Closed,
    /// Nothing more will come.
    Failed(Fault),
}

/// Why nothing more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A message was larger than allowed.
    TooBig,
    /// A text message was no UTF-8.
    NotUtf8,
    /// A frame was none.
    Protocol,
    /// The connection is gone.
    Gone,
}

/// What goes to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outgoing {
    /// A message.
    Text(String),
    /// The question whether it is there.
    Ping,
    /// The end, with a code and a reason of at most 123 bytes.
    Close(u16, &'static str),
}

/// The connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection is gone")]
pub(super) struct Gone;

/// `Sec-WebSocket-Accept` for a client's key (RFC 6455 §4.2.2).
pub(super) fn accept_key(key: &str) -> String {
    sockudo_ws::handshake::generate_accept_key(key)
}

/// How a socket is compressed, and what the client is told about it.
#[derive(Clone, Debug)]
pub(super) struct Compression(DeflateConfig);

impl Compression {
    /// Agrees with a client's `Sec-WebSocket-Extensions`, if it offers what is understood.
    pub(super) fn agree(offers: &str) -> Option<Self> {
        offers.split(',').find_map(|offer| {
            let offer = sockudo_ws::deflate::parse_deflate_offer(offer.trim())?;
            // The client's wishes: a smaller window, or no memory from message to message.
            DeflateConfig::from_params(&offer).ok().map(Self)
        })
    }

    /// `Sec-WebSocket-Extensions` of the answer.
    pub(super) fn answer(&self) -> String {
        self.0.to_response_header()
    }
}

/// A WebSocket over a connection that was upgraded.
pub(super) struct Upgraded<T> {
    stream: Protocol<T>,
    line: Line<T>,
    /// After a fault: what is still to be written to the line itself.
    last_words: Option<BytesMut>,
}

enum Protocol<T> {
    Plain(Box<WebSocketStream<Line<T>>>),
    Compressed(Box<CompressedWebSocketStream<Line<T>>>),
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Upgraded<T> {
    /// The server's side of a connection.
    pub(super) fn new(connection: T, max_bytes: usize, compression: Option<Compression>) -> Self {
        let config = Config {
            max_message_size: max_bytes,
            max_frame_size: max_bytes,
            // Messages are small; a larger one makes room for itself.
            write_buffer_size: 2 << 10,
            auto_ping: false,
            idle_timeout: 0,
            ping_interval: 0,
            pong_timeout: 0,
            ..Config::default()
        };
        let line = Line(Arc::new(Mutex::new(Counted {
            connection,
            written: 0,
        })));
        let stream = match compression {
            None => Protocol::Plain(Box::new(WebSocketStream::server(line.clone(), config))),
            Some(Compression(deflate)) => Protocol::Compressed(Box::new(
                CompressedWebSocketStream::server(line.clone(), config, deflate),
            )),
        };
        Self {
            stream,
            line,
            last_words: None,
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        match &mut self.stream {
            Protocol::Plain(stream) => Pin::new(stream.as_mut()).poll_next(cx),
            Protocol::Compressed(stream) => Pin::new(stream.as_mut()).poll_next(cx),
        }
    }

    /// What comes after a fault is read and thrown away: with bytes unread, closing the connection would take the last
    /// words with it.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        let mut scratch = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.line).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                _ => return Poll::Ready(Received::Failed(Fault::Gone)),
            }
        }
    }

    fn poll_last_words(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(words) = self.last_words.as_mut().filter(|words| !words.is_empty()) {
            let written = ready!(Pin::new(&mut self.line).poll_write(cx, words))?;
            words.advance(written);
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        ready!(Pin::new(&mut self.line).poll_flush(cx))?;
        Pin::new(&mut self.line).poll_shutdown(cx)
    }
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Socket for Upgraded<T> {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        if self.last_words.is_some() {
            return self.poll_discard(cx);
        }
        let received = match ready!(self.poll_next(cx)) {
            None => Received::Failed(Fault::Gone),
            Some(Ok(Message::Text(text))) => Received::Text(text),
            Some(Ok(Message::Binary(_))) => Received::Binary,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Received::Alive,
            Some(Ok(Message::Close(_))) => Received::Closed,
            Some(Err(error)) => Received::Failed(fault(&error)),
        };
        if let Received::Failed(fault) = received
            && fault != Fault::Gone
        {
            self.last_words = Some(BytesMut::new());
        }
        Poll::Ready(received)
    }

    fn start_send(&mut self, frame: Outgoing) -> Result<(), Gone> {
        if let (Some(words), Outgoing::Close(code, reason)) = (&mut self.last_words, &frame) {
            close_frame(words, *code, reason);
            return Ok(());
        }
        let message = match frame {
            Outgoing::Text(text) => Message::Text(Bytes::from(text)),
            Outgoing::Ping => Message::Ping(Bytes::new()),
            Outgoing::Close(code, reason) => Message::Close(Some(CloseReason::new(code, reason))),
        };
        let sent = match &mut self.stream {
            Protocol::Plain(stream) => Pin::new(stream.as_mut()).start_send(message),
            Protocol::Compressed(stream) => Pin::new(stream.as_mut()).start_send(message),
        };
        sent.map_err(|_| Gone)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        if self.last_words.is_some() {
            return self.poll_last_words(cx).map_err(|_| Gone);
        }
        let flushed = match &mut self.stream {
            Protocol::Plain(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
            Protocol::Compressed(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        };
        flushed.map_err(|_| Gone)
    }

    fn written(&self) -> u64 {
        self.line.lock().written
    }
}

fn fault(error: &Error) -> Fault {
    match error {
        Error::MessageTooLarge | Error::FrameTooLarge => Fault::TooBig,
        Error::InvalidUtf8 => Fault::NotUtf8,
        Error::InvalidFrame(_)
        | Error::Protocol(_)
        | Error::InvalidCloseCode(_)
        | Error::Compression(_) => Fault::Protocol,
        _ => Fault::Gone,
    }
}

/// An unmasked closing frame (RFC 6455 §5.5.1).
fn close_frame(into: &mut BytesMut, code: u16, reason: &str) {
    const MOST: usize = 123;
    let reason = &reason.as_bytes()[..reason.len().min(MOST)];
    // The length is at most 125, so it fits seven bits.
    let length = u8::try_from(reason.len() + 2).unwrap_or(0);
    into.extend_from_slice(&[0x88, length]);
    into.extend_from_slice(&code.to_be_bytes());
    into.extend_from_slice(reason);
}

/// A connection that the library and this module both reach; one task polls both, so the lock is never contended.
struct Line<T>(Arc<Mutex<Counted<T>>>);

struct Counted<T> {
    connection: T,
    written: u64,
}

impl<T> Counted<T> {
    fn count(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            self.written += *bytes as u64;
        }
        written
    }
}

impl<T> Clone for Line<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Line<T> {
    fn lock(&self) -> MutexGuard<'_, Counted<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Line<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().connection).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Line<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut line = self.lock();
        let written = Pin::new(&mut line.connection).poll_write(cx, bytes);
        line.count(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut line = self.lock();
        let written = Pin::new(&mut line.connection).poll_write_vectored(cx, parts);
        line.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.lock().connection.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().connection).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().connection).poll_shutdown(cx)
    }
}
