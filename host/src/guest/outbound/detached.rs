//! Calls a guest for another guest.
//!
//! A guest cannot be polled from inside another one, so the called guest gets a task
//! of its own, and its response comes through a channel. Dropping the response, or
//! the wait for it, ends the task and with it the called guest.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::{
    sync::{mpsc, oneshot},
    task::AbortHandle,
};
use wasmtime_wasi_http::{Error as HttpError, WasiBody};

/// Frames between the two guests. One is under way while the next is made; more
/// would only be memory.
const FRAMES: usize = 2;

type FrameResult = Result<Frame<Bytes>, HttpError>;

/// Runs `call` in a task of its own and passes its response on.
pub(in crate::guest) async fn detached<F, B>(call: F) -> Result<Response<WasiBody>, HttpError>
where
    F: Future<Output = Result<Response<B>, HttpError>> + Send + 'static,
    B: Body<Data = Bytes, Error = HttpError> + Send + Unpin + 'static,
{
    let (head, answered) = oneshot::channel();
    let (frames, received) = mpsc::channel(FRAMES);
    let task = tokio::spawn(async move {
        let body = match call.await {
            Ok(response) => {
                let (parts, body) = response.into_parts();
                // Without a receiver this task is about to be aborted.
                let _ = head.send(Ok(parts));
                body
            }
            Err(error) => {
                let _ = head.send(Err(error));
                return;
            }
        };
        pump(body, frames).await;
    });
    let body = ReceivedBody {
        frames: received,
        _task: AbortOnDrop(task.abort_handle()),
    };
    let parts = answered
        .await
        .map_err(|_| HttpError::ConnectionTerminated)??;
    Ok(Response::from_parts(parts, body.boxed_unsync()))
}

async fn pump<B>(mut body: B, frames: mpsc::Sender<FrameResult>)
where
    B: Body<Data = Bytes, Error = HttpError> + Unpin,
{
    while let Some(frame) = body.frame().await {
        if frames.send(frame).await.is_err() {
            return;
        }
    }
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The called guest's body. The task ends the channel when the body has ended.
struct ReceivedBody {
    frames: mpsc::Receiver<FrameResult>,
    _task: AbortOnDrop,
}

impl Body for ReceivedBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<FrameResult>> {
        self.frames.poll_recv(cx)
    }
}
