//! Reads the beginning of a body before an instance is taken, so that a slow sender
//! holds no instance.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use wasmtime_wasi_http::WasiBody;

use super::{BodyFault, BoxError, LimitedBody};

/// A body of which the beginning, or all, has been read already.
#[derive(Debug)]
pub(in crate::guest) struct ReadAhead<B> {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
    /// What is still to come; `None` if all is here.
    rest: Option<LimitedBody<B>>,
}

impl<B> ReadAhead<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Reads `body` until it ends or until `limit` bytes are here. A limit of zero
    /// reads nothing.
    pub(in crate::guest) async fn read(
        mut body: LimitedBody<B>,
        limit: usize,
    ) -> Result<Self, BodyFault> {
        let mut gathered = Gathered::default();
        let mut trailers = None;
        while gathered.len() < limit && !body.is_end_stream() {
            let Some(frame) = body.frame().await else {
                return Ok(gathered.into_body(trailers, None));
            };
            match frame?.into_data() {
                Ok(data) => gathered.push(data),
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        let rest = (!body.is_end_stream()).then_some(body);
        Ok(gathered.into_body(trailers, rest))
    }

    /// All of the body, if all of it has been read and it has no trailers.
    pub(in crate::guest) fn whole(&self) -> Option<Bytes> {
        let is_whole = self.rest.is_none() && self.trailers.is_none();
        is_whole.then(|| self.data.clone().unwrap_or_default())
    }

    /// The form in which the WASI layer takes bodies.
    pub(in crate::guest) fn into_wasi(self) -> WasiBody
    where
        B: Send + 'static,
    {
        self.map_err(|fault| fault.to_guest()).boxed_unsync()
    }
}

/// Data read so far. One frame is kept as it is; several are joined, so that a
/// body of many tiny frames costs what its bytes cost.
#[derive(Default)]
struct Gathered {
    first: Bytes,
    joined: BytesMut,
}

impl Gathered {
    fn len(&self) -> usize {
        self.first.len() + self.joined.len()
    }

    fn push(&mut self, data: Bytes) {
        if self.len() == 0 {
            self.first = data;
            return;
        }
        if self.joined.is_empty() {
            self.joined
                .extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.joined.extend_from_slice(&data);
    }

    fn into_body<B>(
        self,
        trailers: Option<HeaderMap>,
        rest: Option<LimitedBody<B>>,
    ) -> ReadAhead<B> {
        let data = if self.joined.is_empty() {
            self.first
        } else {
            self.joined.freeze()
        };
        ReadAhead {
            data: Some(data).filter(|data| !data.is_empty()),
            trailers,
            rest,
        }
    }
}

impl<B> Body for ReadAhead<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none()
            && self.trailers.is_none()
            && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let here = self.data.as_ref().map_or(0, Bytes::len) as u64;
        let Some(rest) = &self.rest else {
            return SizeHint::with_exact(here);
        };
        let rest = rest.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(here));
        }
        hint.set_lower(rest.lower().saturating_add(here));
        hint
    }
}
