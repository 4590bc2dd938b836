//! Answers that are passed on as they come, without an instance that waits.
//!
//! Each piece of the upstream's answer goes through the door, in whatever instance is free, together with what the
//! component has noted so far. Between two pieces a stream costs its request, its notes and a connection, and no memory of
//! Wasm. Pieces that are there together are one: a slow reader costs fewer calls.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http_body::{Body as _, Frame};
use tokio::time::Sleep;
use wasmtime_wasi_http::WasiBody;

use super::Door;
use super::instance::Message;
use crate::guest::error::GuestError;
use crate::guest::response::GuestBodyError;

/// Most bytes that are passed on at once; the rest is the next piece.
const MAX_PIECE: usize = 64 << 10;

/// An answer on its way.
pub(in crate::guest) struct Passing {
    door: Arc<Door>,
    /// What it is the answer to, for the end.
    request: Parts,
    body: Bytes,
    call: Message,
    /// What the component has noted; empty at first.
    notes: Bytes,
    upstream: WasiBody,
    is_over: bool,
    /// Longest wait for a piece.
    limit: Duration,
    /// Exists only while a piece has to be waited for.
    idle: Option<Pin<Box<Sleep>>>,
}

/// A call and the request that it was made for.
pub(super) struct Made<'a> {
    pub(super) request: &'a Parts,
    pub(super) body: &'a Bytes,
    pub(super) call: Message,
}

impl Passing {
    pub(super) fn new(door: Arc<Door>, made: Made<'_>, upstream: WasiBody) -> Self {
        Self {
            limit: door.response_idle_timeout,
            door,
            request: made.request.clone(),
            body: made.body.clone(),
            call: made.call,
            notes: Bytes::new(),
            upstream,
            is_over: false,
            idle: None,
        }
    }

    /// What has come, and whether more will; waits for the first piece only.
    fn poll_upstream(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(Bytes, bool), GuestBodyError>> {
        let mut gathered = BytesMut::new();
        while gathered.len() < MAX_PIECE {
            match Pin::new(&mut self.upstream).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        gathered.extend_from_slice(&data);
                    }
                }
                // A body that breaks off is one that ends: the component knows what is missing.
                Poll::Ready(Some(Err(_)) | None) => {
                    return Poll::Ready(Ok((gathered.freeze(), true)));
                }
                Poll::Pending if gathered.is_empty() => return self.poll_idle(cx).map(Err),
                Poll::Pending => break,
            }
        }
        self.idle = None;
        Poll::Ready(Ok((gathered.freeze(), false)))
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<GuestBodyError> {
        let limit = self.limit;
        let idle = self
            .idle
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(idle.as_mut().poll(cx));
        Poll::Ready(GuestBodyError::Idle(limit))
    }

    /// Passes a piece on, and gives what the client gets.
    fn pass(&mut self, piece: &[u8], last: bool) -> Result<Bytes, GuestBodyError> {
        let said = self.door.pass(&self.call.head, &self.notes, piece, last)?;
        self.notes = said.head;
        if last {
            self.is_over = true;
            let whole = std::mem::take(&mut self.notes);
            if !whole.is_empty() {
                self.door
                    .gathered(&self.request, &self.body, &self.call, whole);
            }
        }
        Ok(said.body)
    }

    pub(in crate::guest) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GuestBodyError>>> {
        while !self.is_over {
            let passed = match ready!(self.poll_upstream(cx)) {
                Ok((piece, last)) => self.pass(&piece, last),
                Err(error) => Err(error),
            };
            match passed {
                Ok(out) if out.is_empty() => {}
                Ok(out) => return Poll::Ready(Some(Ok(Frame::data(out)))),
                Err(error) => {
                    self.is_over = true;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        Poll::Ready(None)
    }
}

impl Door {
    /// What the component makes of a piece.
    fn pass(
        &self,
        call: &[u8],
        notes: &[u8],
        piece: &[u8],
        last: bool,
    ) -> Result<Message, GuestBodyError> {
        let passed = self
            .in_instance(|instance| instance.pass((call, notes, piece), last, self.deadline_ticks));
        let error = match passed {
            Ok(Some(said)) => return Ok(said),
            Ok(None) => GuestError::NoResponse {
                component: self.context.id.to_string(),
            },
            Err(error) => {
                self.failed(&error);
                GuestError::Trap {
                    component: self.context.id.to_string(),
                    source: error.into(),
                }
            }
        };
        Err(error.into())
    }

    /// Tells the component what became of the whole answer, which the client has.
    fn gathered(&self, request: &Parts, body: &Bytes, call: &Message, whole: Bytes) {
        let result = Message {
            head: Bytes::from_static(b"gathered"),
            body: whole,
        };
        let told = self.in_instance(|instance| {
            instance.resume(request, body, (call, &result), self.deadline_ticks)
        });
        if let Err(error) = told {
            self.failed(&error);
        }
    }
}
