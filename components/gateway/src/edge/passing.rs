//! Bodies of answers: whole ones, those that pass through, and those that are kept on their way.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use spin_sdk::wasip3::http::types::ErrorCode;
use spin_sdk::wasip3::http_compat::IncomingResponseBody;

use super::texts::Live;

/// The body of an answer.
pub(super) enum EdgeBody {
    /// All of it is here.
    Whole(Full<Bytes>),
    /// An origin's, frame by frame as it comes.
    Passing(IncomingResponseBody),
    /// The same, and a copy for the store.
    Kept(Box<Kept>),
    /// Written while it is sent.
    Live(Live),
}

/// A body that passes through and is copied meanwhile.
pub(super) struct Kept {
    body: IncomingResponseBody,
    /// What has passed. `None` once the copy is given up.
    copy: Option<BytesMut>,
    /// Most bytes of the copy.
    limit: usize,
    /// What becomes of the copy of a whole body. Dropped unused if the body breaks off: a part must
    /// never be stored (RFC 9111 §3.3).
    keep: Option<Box<dyn FnOnce(Bytes)>>,
}

impl Kept {
    pub(super) fn new(
        body: IncomingResponseBody,
        limit: usize,
        keep: impl FnOnce(Bytes) + 'static,
    ) -> Self {
        Self {
            body,
            copy: Some(BytesMut::new()),
            limit,
            keep: Some(Box::new(keep)),
        }
    }

    /// Reads all of the body for the copy alone, until there is none to be had.
    pub(super) async fn drain(mut self) {
        while self.copy.is_some() {
            let Some(Ok(_)) = self.frame().await else {
                return;
            };
        }
    }

    fn copy(&mut self, frame: &Frame<Bytes>) {
        let Some(copy) = &mut self.copy else {
            return;
        };
        match frame.data_ref() {
            Some(data) if copy.len() + data.len() <= self.limit => copy.extend_from_slice(data),
            // Too large, or with trailers, which are not kept.
            _ => self.copy = None,
        }
    }
}

impl Body for Kept {
    type Data = Bytes;
    type Error = ErrorCode;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ErrorCode>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => self.copy(frame),
            Some(Err(_)) => self.copy = None,
            None => {
                if let (Some(copy), Some(keep)) = (self.copy.take(), self.keep.take()) {
                    keep(copy.freeze());
                }
            }
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Body for EdgeBody {
    type Data = Bytes;
    type Error = ErrorCode;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ErrorCode>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|never| match never {}),
            Self::Passing(body) => Pin::new(body).poll_frame(cx),
            Self::Kept(kept) => Pin::new(&mut **kept).poll_frame(cx),
            Self::Live(live) => {
                let piece = ready!(live.as_mut().poll_next(cx));
                Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Passing(body) => body.size_hint(),
            Self::Kept(kept) => kept.size_hint(),
            Self::Live(_) => SizeHint::default(),
        }
    }
}

impl From<Bytes> for EdgeBody {
    fn from(body: Bytes) -> Self {
        Self::Whole(Full::new(body))
    }
}
