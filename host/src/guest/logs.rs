//! What guests print: forwarded line by line to `tracing`.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

/// Longest line that is logged, in bytes; the rest of a longer one is left out.
const MAX_LINE_BYTES: usize = 4096;

/// What a stream takes in one write.
const WRITE_BUDGET_BYTES: usize = 64 << 10;

/// Standard output or standard error of one instance.
#[derive(Clone)]
pub(super) struct LineLog(Arc<Mutex<Lines>>);

/// The line that is being written.
struct Lines {
    component: Arc<str>,
    stream: &'static str,
    line: Vec<u8>,
    cut: bool,
}

impl LineLog {
    /// `stream` is `stdout` or `stderr`.
    pub(super) fn new(component: Arc<str>, stream: &'static str) -> Self {
        Self(Arc::new(Mutex::new(Lines {
            component,
            stream,
            line: Vec::new(),
            cut: false,
        })))
    }

    fn append(&self, bytes: &[u8]) {
        // A panic under this lock leaves at worst a torn line.
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.append(bytes);
    }
}

impl Lines {
    fn append(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            let room = MAX_LINE_BYTES - self.line.len();
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            self.cut |= text.len() > room;
            if text.len() < piece.len() {
                self.emit();
            }
        }
    }

    fn emit(&mut self) {
        let text = String::from_utf8_lossy(&self.line);
        let (component, stream) = (&*self.component, self.stream);
        let cut = self.cut;
        tracing::info!(target: "brink::guest", component, stream, cut, "{}", text.trim_end());
        self.line.clear();
        self.cut = false;
    }
}

/// A last line without its end is logged too.
impl Drop for Lines {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.emit();
        }
    }
}

impl IsTerminal for LineLog {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LineLog {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LineLog {
    async fn ready(&mut self) {}
}

impl OutputStream for LineLog {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.append(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BUDGET_BYTES)
    }
}

impl AsyncWrite for LineLog {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.append(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> LineLog {
        LineLog::new("test".into(), "stdout")
    }

    fn state(log: &LineLog) -> (usize, bool) {
        let lines = log.0.lock().unwrap();
        (lines.line.len(), lines.cut)
    }

    #[test]
    fn a_line_is_kept_until_it_ends() {
        let log = log();
        log.append(b"first\nsec");
        assert_eq!(state(&log), (3, false));
        log.append(b"ond\n");
        assert_eq!(state(&log), (0, false));
    }

    #[test]
    fn a_line_without_end_is_cut_and_costs_no_more_memory() {
        let log = log();
        for _ in 0..100 {
            log.append(&[b'x'; 1000]);
        }
        assert_eq!(state(&log), (MAX_LINE_BYTES, true));
        log.append(b"\nnext");
        assert_eq!(state(&log), (4, false));
    }
}
