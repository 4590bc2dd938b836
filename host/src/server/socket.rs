//! A client's socket, lent to hyper for as long as the connection lives.
//!
//! hyper closes a connection whose request's head does not end in time without a word, and before
//! it knows the HTTP version it waits without a limit. [`lend`] keeps an eye on the socket: the
//! [`Lender`] knows whether anything was ever asked, and has the socket back in the end, to say why.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::Sleep;

/// Without a body, like hyper's own answers to heads that it cannot read.
const HEAD_TIMED_OUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Longest time for a client to take the last answer. Its buffer is empty, so it is a formality.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// What happened on a connection. Relaxed everywhere: one task reads and writes it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// A request arrived or something was sent, so hyper knows the version and its limits hold.
    opened: AtomicBool,
    /// Bytes arrived after the last ones that were sent.
    unanswered: AtomicBool,
}

impl Progress {
    /// A whole head has arrived.
    pub(super) fn request_arrived(&self) {
        self.opened.store(true, Ordering::Relaxed);
    }
}

/// The side that hyper reads and writes.
pub(super) struct Lent {
    /// `None` only while dropping.
    socket: Option<TokioIo<TcpStream>>,
    progress: Arc<Progress>,
    /// Longest time in which the client takes no byte.
    write_timeout: Duration,
    /// Exists only while the client takes none: its answer would wait for ever otherwise, and with it all that is
    /// held for it.
    stalled: Option<Pin<Box<Sleep>>>,
    back: Option<oneshot::Sender<TcpStream>>,
}

/// The side that outlives hyper.
pub(super) struct Lender {
    pub(super) progress: Arc<Progress>,
    back: oneshot::Receiver<TcpStream>,
}

/// Both sides of a socket.
pub(super) fn lend(stream: TcpStream, write_timeout: Duration) -> (Lent, Lender) {
    let progress = Arc::<Progress>::default();
    let (sender, back) = oneshot::channel();
    let lent = Lent {
        socket: Some(TokioIo::new(stream)),
        progress: Arc::clone(&progress),
        write_timeout,
        stalled: None,
        back: Some(sender),
    };
    (lent, Lender { progress, back })
}

impl Lender {
    /// Returns after `limit` if nothing was asked until then, and never otherwise.
    pub(super) async fn stays_silent(&self, limit: Duration) {
        tokio::time::sleep(limit).await;
        if self.progress.opened.load(Ordering::Relaxed) {
            std::future::pending().await
        }
    }

    /// Answers 408 if a head has begun. To be called when hyper is gone.
    pub(super) async fn refuse_unfinished_head(mut self) {
        let Ok(stream) = self.back.try_recv() else {
            return;
        };
        if self.progress.unanswered.load(Ordering::Relaxed) {
            let writable = tokio::time::timeout(LAST_ANSWER, stream.writable()).await;
            if matches!(writable, Ok(Ok(()))) {
                // A client that has left meanwhile is told nothing.
                let _ = stream.try_write(HEAD_TIMED_OUT);
            }
        }
    }
}

impl Lent {
    fn socket(&mut self) -> Pin<&mut TokioIo<TcpStream>> {
        Pin::new(self.socket.as_mut().expect("taken only when dropped"))
    }

    fn sent(
        &mut self,
        sent: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if sent.is_pending() {
            return self.poll_stalled(context).map(Err);
        }
        self.stalled = None;
        if matches!(sent, Poll::Ready(Ok(_))) {
            self.progress.opened.store(true, Ordering::Relaxed);
            self.progress.unanswered.store(false, Ordering::Relaxed);
        }
        sent
    }

    fn poll_stalled(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let limit = self.write_timeout;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(stalled.as_mut().poll(context));
        let message = format!("the client took no byte for {limit:?} (server.write_timeout_ms)");
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, message))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(socket), Some(back)) = (self.socket.take(), self.back.take()) {
            // If nobody wants it back, it is closed here.
            let _ = back.send(socket.into_inner());
        }
    }
}

impl Read for Lent {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.socket().poll_read(context, buffer);
        if matches!(read, Poll::Ready(Ok(()))) {
            self.progress.unanswered.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl Write for Lent {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = self.socket().poll_write(context, bytes);
        self.sent(sent, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = self.socket().poll_write_vectored(context, parts);
        self.sent(sent, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.as_ref().is_some_and(Write::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let client = TcpStream::connect(address).await.expect("a connection");
        let (served, _) = listener.accept().await.expect("a connection");
        let limit = Duration::from_secs(30);
        let (mut lent, _lender) = lend(served, limit);
        let piece = vec![0; 64 << 10];
        let error = loop {
            let write = |context: &mut Context<'_>| Pin::new(&mut lent).poll_write(context, &piece);
            if let Err(error) = poll_fn(write).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(client);
    }
}
