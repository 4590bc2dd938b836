//! What waits for one client: text is merged while it waits, and there is a limit to it.
//!
//! Whoever produces text pushes it as it comes; whoever writes to the client takes everything that waits when the
//! last write has ended. So a fast client gets every token by itself, and a slow one gets fewer, longer pieces:
//! the connection itself sets the pace, and nothing is lost or delayed on purpose. A minimum gap between two takes
//! saves system calls where thousands of clients are served; the first token after a pause never waits for it.
//!
//! Pure: no clock, no I/O. Text is appended, never replaced. Order is kept within a request, not between requests.
//!
//! Not here: who waits for whom (see [`outbox`](super::outbox)), and how pieces are written.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// Which text belongs together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The request, by its number on this connection. Clients reuse ids, so those do not do.
    pub request: u64,
    /// The request's id, as its client wrote it.
    pub id: Arc<str>,
    /// Which of several choices of one answer.
    pub choice: u32,
}

/// What may wait for one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxLimits {
    /// Most bytes of text. A client that lets more pile up is too slow. Frames have a budget of the same size: beyond
    /// it their senders wait; a single frame may be larger.
    pub budget: usize,
    /// Least time between two takes of text.
    pub gap: Duration,
}

impl Default for OutboxLimits {
    fn default() -> Self {
        Self {
            budget: 256 << 10,
            gap: Duration::from_millis(40),
        }
    }
}

/// Something to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Everything that one stream has produced since the last take.
    Text {
        /// The stream.
        key: Key,
        /// Its text.
        text: String,
        /// Never merged, and sent by itself: what benchmarks compare with.
        alone: bool,
    },
    /// A whole message, which is never merged.
    Frame {
        /// The request that it belongs to; none belongs to the connection.
        request: Option<u64>,
        /// The message.
        frame: String,
    },
}

/// What each piece takes besides its text.
const PIECE: usize = 64;

impl Piece {
    fn request(&self) -> Option<u64> {
        match self {
            Self::Text { key, .. } => Some(key.request),
            Self::Frame { request, .. } => *request,
        }
    }
}

/// More text waits than may: the client does not read as fast as its answers come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {budget} bytes wait for the client")]
pub struct TooSlow {
    /// The limit.
    pub budget: usize,
}

/// What there is to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Take {
    /// Nothing waits.
    Nothing,
    /// Something waits, and the gap is not over before this.
    NotBefore(Instant),
    /// All of this, in this order.
    Pieces(Vec<Piece>),
}

/// What waits for one client.
#[derive(Debug)]
pub struct Outbox {
    limits: OutboxLimits,
    pieces: VecDeque<Piece>,
    text_bytes: usize,
    frame_bytes: usize,
    /// Frames that wait: they are never held back for the gap.
    frames: usize,
    last_taken: Option<Instant>,
}

impl Outbox {
    /// An empty one.
    pub fn new(limits: OutboxLimits) -> Self {
        Self {
            limits,
            pieces: VecDeque::new(),
            text_bytes: 0,
            frame_bytes: 0,
            frames: 0,
            last_taken: None,
        }
    }

    /// Its limits.
    pub fn limits(&self) -> OutboxLimits {
        self.limits
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Appends text to what waits of its stream.
    ///
    /// # Errors
    /// When more would wait than may; then nothing was added.
    pub fn push_text(&mut self, key: &Key, text: &str) -> Result<(), TooSlow> {
        if text.is_empty() {
            return Ok(());
        }
        self.spend(text.len())?;
        if let Some(waiting) = self.waiting(key) {
            waiting.push_str(text);
            return Ok(());
        }
        self.text_bytes += PIECE;
        self.push_piece(key, text, false);
        Ok(())
    }

    /// Adds text that is never merged.
    ///
    /// # Errors
    /// As for [`push_text`](Self::push_text).
    pub fn push_alone(&mut self, key: &Key, text: &str) -> Result<(), TooSlow> {
        self.spend(text.len() + PIECE)?;
        self.push_piece(key, text, true);
        Ok(())
    }

    /// Adds a whole message.
    ///
    /// # Errors
    /// The message itself, while there is no room for it.
    pub fn push_frame(&mut self, request: Option<u64>, frame: String) -> Result<(), String> {
        let bytes = frame.len() + PIECE;
        if self.frame_bytes > 0 && self.frame_bytes + bytes > self.limits.budget {
            return Err(frame);
        }
        self.frame_bytes += bytes;
        self.frames += 1;
        self.pieces.push_back(Piece::Frame { request, frame });
        Ok(())
    }

    /// Drops everything that waits of a request that was cancelled.
    pub fn forget(&mut self, request: u64) {
        let waiting = std::mem::take(&mut self.pieces);
        (self.text_bytes, self.frame_bytes, self.frames) = (0, 0, 0);
        for piece in waiting {
            if piece.request() != Some(request) {
                self.count(&piece);
                self.pieces.push_back(piece);
            }
        }
    }

    /// Everything that waits, if it is time.
    pub fn take(&mut self, now: Instant) -> Take {
        let Some(first) = self.pieces.front() else {
            return Take::Nothing;
        };
        let is_alone = |piece: &Piece| matches!(piece, Piece::Text { alone: true, .. });
        let count = if is_alone(first) {
            1
        } else {
            if self.frames == 0
                && let Some(last) = self.last_taken
                && now < last + self.limits.gap
            {
                return Take::NotBefore(last + self.limits.gap);
            }
            let alone = self.pieces.iter().position(is_alone);
            alone.unwrap_or(self.pieces.len())
        };
        let taken: Vec<Piece> = self.pieces.drain(..count).collect();
        for piece in &taken {
            self.uncount(piece);
        }
        self.last_taken = Some(now);
        Take::Pieces(taken)
    }

    fn spend(&mut self, bytes: usize) -> Result<(), TooSlow> {
        let budget = self.limits.budget;
        if self.text_bytes + bytes > budget {
            return Err(TooSlow { budget });
        }
        self.text_bytes += bytes;
        Ok(())
    }

    /// The text of this stream that waits, unless a frame of the same request waits behind it.
    fn waiting(&mut self, key: &Key) -> Option<&mut String> {
        let mut of_request = self.pieces.iter_mut().rev();
        of_request.find_map(|piece| match piece {
            Piece::Text {
                key: other,
                text,
                alone: false,
            } if other == key => Some(Some(text)),
            Piece::Frame { request, .. } if *request == Some(key.request) => Some(None),
            _ => None,
        })?
    }

    fn push_piece(&mut self, key: &Key, text: &str, alone: bool) {
        self.pieces.push_back(Piece::Text {
            key: key.clone(),
            text: text.to_owned(),
            alone,
        });
    }

    fn count(&mut self, piece: &Piece) {
        match piece {
            Piece::Text { text, .. } => self.text_bytes += text.len() + PIECE,
            Piece::Frame { frame, .. } => {
                self.frame_bytes += frame.len() + PIECE;
                self.frames += 1;
            }
        }
    }

    fn uncount(&mut self, piece: &Piece) {
        match piece {
            Piece::Text { text, .. } => self.text_bytes -= text.len() + PIECE,
            Piece::Frame { frame, .. } => {
                self.frame_bytes -= frame.len() + PIECE;
                self.frames -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests;
