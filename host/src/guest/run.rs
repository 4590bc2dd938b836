//! Runs a guest inside the task that asked for it.
//!
//! There is no worker task and no queue: the caller polls the guest until the head
//! is there, then the response body carries the running guest, so that the guest is
//! polled exactly when the connection wants the next frame. Dropping the future or
//! the body stops the guest, and only this guest.
//!
//! ```text
//!  call ----- head ----- body ----- end of body ----- background ----- pool
//!    |          \________ GuestBody polls _________/        |
//!    '-- time-out, client gone: guest dropped               '-- own task, own limits
//! ```

use std::{future::poll_fn, pin::Pin, sync::Arc, task::Poll};

use http::{Method, Request, Response, uri::Scheme};
use tokio::{sync::oneshot, time::timeout};
use wasmtime::component::Accessor;
use wasmtime_wasi_http::{Error as HttpError, FieldMap, WasiBody, WasiHttpView, p3};

use super::{
    body::FaultCell,
    drive::{Run, poll_guest},
    error::GuestError,
    pool::{Lease, Pool},
    response::GuestBody,
    state::GuestState,
    stats::add,
};
use crate::telemetry::{Span, SpanKind, Trace};

type Head = Response<WasiBody>;

/// Calls the component's handler and returns when the response head is there.
/// `fault` belongs to the request's body: its limits are reported in place of
/// whatever the guest makes of them.
pub(super) async fn call(
    pool: &Arc<Pool>,
    request: Request<WasiBody>,
    fault: FaultCell,
) -> Result<Response<GuestBody>, GuestError> {
    let lease = pool.lease()?;
    // The answer to HEAD has no body that anyone reads, so its end is reached at once.
    let head_only = request.method() == Method::HEAD;
    let (sender, mut receiver) = oneshot::channel();
    let mut run = Some(Box::pin(serve(lease, pool.clone(), request, sender)) as Run);
    let head = poll_fn(|cx| {
        if let Poll::Ready(Err(error)) = poll_guest(&mut run, cx) {
            return Poll::Ready(Err(fault.get().cloned().map_or(error, GuestError::Body)));
        }
        if let Some(fault) = fault.get() {
            return Poll::Ready(Err(GuestError::Body(fault.clone())));
        }
        Pin::new(&mut receiver)
            .poll(cx)
            .map_err(|_| GuestError::NoResponse {
                component: pool.component(),
            })
    });
    let limit = pool.shared.config.request_timeout;
    let response = match timeout(limit, head).await {
        Ok(response) => response?,
        Err(_) => {
            add(&pool.stats.timed_out);
            return Err(GuestError::TimedOut {
                component: pool.component(),
                timeout: limit,
            });
        }
    };
    Ok(GuestBody::respond(response, run, head_only, pool))
}

/// One request from beginning to end, work after the response included.
async fn serve(
    lease: Lease,
    pool: Arc<Pool>,
    request: Request<WasiBody>,
    head: oneshot::Sender<Head>,
) -> Result<(), GuestError> {
    let trace = Trace::of(request.extensions()).cloned();
    let span = trace
        .as_ref()
        .and_then(|trace| trace.span("component", SpanKind::Internal));
    let trace = span.as_ref().map(Span::trace).or(trace);
    let outcome = answer(lease, &pool, request, head, trace).await;
    if let Some(span) = span {
        tell(span, &pool, &outcome);
    }
    outcome
}

fn tell(mut span: Span, pool: &Pool, outcome: &Result<(), GuestError>) {
    span.set("brink.component", pool.component());
    if let Err(error) = outcome {
        span.fail(error.kind());
    }
    span.end();
}

async fn answer(
    mut lease: Lease,
    pool: &Pool,
    request: Request<WasiBody>,
    head: oneshot::Sender<Head>,
    trace: Option<Trace>,
) -> Result<(), GuestError> {
    let warm = lease.instance().await?;
    warm.store.data_mut().work_under(trace);
    let (request, io) = to_guest(request, warm.store.data_mut());
    let service = &warm.service;
    let outcome = warm
        .store
        .run_concurrent(async |accessor| {
            let request = accessor.with(|mut store| store.get().table.push(request))?;
            let answer = service
                .wasi_http_handler()
                .call_handle(accessor, request)
                .await?;
            let response = match answer {
                Ok(response) => response,
                Err(code) => return Ok(Err(code)),
            };
            let response = accessor.with(|mut store| {
                let response = store.get().table.delete(response)?;
                response.into_http(&mut store, io)
            })?;
            // The caller may be gone; then this future is about to be dropped as well.
            let _ = head.send(response);
            wait_for_guest(accessor).await;
            Ok(Ok(()))
        })
        .await
        .and_then(|outcome| outcome);
    warm.store.data_mut().work_under(None);
    match outcome {
        Ok(Ok(())) => {
            lease.give_back();
            Ok(())
        }
        Ok(Err(code)) => {
            lease.give_back();
            Err(GuestError::Failed {
                component: pool.component(),
                code: format!("{code:?}"),
            })
        }
        Err(source) => Err(trapped(pool, source)),
    }
}

fn trapped(pool: &Pool, source: wasmtime::Error) -> GuestError {
    add(&pool.stats.trapped);
    let component = pool.component();
    tracing::warn!(component, error = format!("{source:#}"), "a guest trapped");
    GuestError::Trap {
        component,
        source: source.into(),
    }
}

/// Body writes, and whatever else the guest does after its head.
async fn wait_for_guest(accessor: &Accessor<GuestState>) {
    poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
}

fn to_guest(
    request: Request<WasiBody>,
    state: &mut GuestState,
) -> (
    p3::Request,
    impl Future<Output = Result<(), HttpError>> + Send + 'static,
) {
    let (parts, body) = request.into_parts();
    let uri = parts.uri.into_parts();
    let headers = FieldMap::new_immutable(state.http().hooks, parts.headers);
    p3::Request::new(
        parts.method,
        uri.scheme.or(Some(Scheme::HTTP)),
        uri.authority,
        uri.path_and_query,
        headers,
        None,
        body,
    )
}
