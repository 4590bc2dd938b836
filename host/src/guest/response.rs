//! The response body that carries the guest which writes it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tokio::time::Sleep;
use wasmtime_wasi_http::{Error as HttpError, WasiBody};

use super::{
    door::Passing,
    drive::{Run, finish_in_background, poll_guest},
    error::GuestError,
    pool::Pool,
};

/// Why a response body broke off.
#[derive(Debug, thiserror::Error)]
pub enum GuestBodyError {
    /// The guest trapped after its head.
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// No frame came for too long.
    #[error("the response made no progress for {0:?}")]
    Idle(Duration),
    /// The guest, or the upstream whose body it passes on, broke off.
    #[error("the response body broke off: {0}")]
    Broken(HttpError),
}

/// A response body. It may carry the guest that still writes it: dropping it before
/// its end stops that guest.
pub struct GuestBody(Inner);

enum Inner {
    Fixed(Full<Bytes>),
    Running(Box<Running>),
    /// Passed on through the synchronous door: no guest waits.
    Passing(Box<Passing>),
}

struct Running {
    /// `None` once the guest is done; the body may still hold frames then.
    run: Option<Run>,
    body: WasiBody,
    /// Whether the receiver has all it needs: what the guest still does is background work.
    ended: bool,
    /// Exists only while a frame has to be waited for.
    idle: Option<Pin<Box<Sleep>>>,
    pool: Arc<Pool>,
}

impl GuestBody {
    /// A body without a guest.
    pub fn fixed(data: impl Into<Bytes>) -> Self {
        Self(Inner::Fixed(Full::new(data.into())))
    }

    /// What comes from upstream, through the door.
    pub(super) fn passing(passing: Passing) -> Self {
        Self(Inner::Passing(Box::new(passing)))
    }

    /// A response whose body goes on driving `run`. The answer to a HEAD request, and
    /// some others, have no body that anyone reads: those have ended with their head.
    pub(super) fn respond(
        response: Response<WasiBody>,
        run: Option<Run>,
        head_only: bool,
        pool: &Arc<Pool>,
    ) -> Response<Self> {
        let bodiless = head_only || has_no_body(response.status());
        response.map(|body| {
            let ended = bodiless || is_over(&body);
            Self(Inner::Running(Box::new(Running {
                run,
                body,
                ended,
                idle: None,
                pool: pool.clone(),
            })))
        })
    }
}

fn has_no_body(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// A server stops polling once it has as many bytes as `content-length` says, so that
/// counts as the end, too.
fn is_over(body: &WasiBody) -> bool {
    body.is_end_stream() || body.size_hint().exact() == Some(0)
}

impl Running {
    fn poll_run(&mut self, cx: &mut Context<'_>) -> Result<(), GuestError> {
        let Poll::Ready(result) = poll_guest(&mut self.run, cx) else {
            return Ok(());
        };
        // Behind the end the receiver has everything; the trap is counted and logged already.
        if self.ended { Ok(()) } else { result }
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GuestBodyError>>> {
        if let Err(error) = self.poll_run(cx) {
            return Poll::Ready(Some(Err(error.into())));
        }
        let frame = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => return self.poll_idle(cx).map(|error| Some(Err(error))),
        };
        self.idle = None;
        self.ended |= frame.is_none() || is_over(&self.body);
        if self.ended {
            // Most guests are done now: this spares them a task of their own.
            let _ = self.poll_run(cx);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(GuestBodyError::Broken)))
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<GuestBodyError> {
        let limit = self.pool.shared.config.response_idle_timeout;
        let sleep = self
            .idle
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(sleep.as_mut().poll(cx));
        self.run = None;
        Poll::Ready(GuestBodyError::Idle(limit))
    }
}

impl Body for GuestBody {
    type Data = Bytes;
    type Error = GuestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GuestBodyError>>> {
        match &mut self.0 {
            Inner::Running(running) => running.poll_frame(cx),
            Inner::Passing(passing) => passing.poll_frame(cx),
            Inner::Fixed(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|never| match never {}))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Running(running) => running.body.is_end_stream(),
            Inner::Passing(_) => false,
            Inner::Fixed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Running(running) => running.body.size_hint(),
            Inner::Passing(_) => SizeHint::default(),
            Inner::Fixed(body) => body.size_hint(),
        }
    }
}

/// Behind the end of the body the guest may finish its work; before it, nobody waits
/// for the answer any more, and the guest is dropped with the body.
impl Drop for Running {
    fn drop(&mut self) {
        if let Some(run) = self.run.take()
            && self.ended
        {
            finish_in_background(run, &self.pool);
        }
    }
}
