//! Polls running guests: never one inside another, and after their response in tasks
//! of their own.

use std::{
    cell::Cell,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout},
};

use super::{
    error::GuestError,
    pool::Pool,
    stats::{add, subtract},
};

/// A guest that answers a request. Dropping it drops its instance.
pub(super) type Run = Pin<Box<dyn Future<Output = Result<(), GuestError>> + Send>>;

thread_local! {
    /// Whether this thread is inside a guest right now.
    static INSIDE_GUEST: Cell<bool> = const { Cell::new(false) };
    /// Since when it is, or since [`stretch`] was last asked.
    static SINCE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// How long the guest of this thread has run without leaving, or since this was last asked.
pub(super) fn stretch() -> Duration {
    let now = Instant::now();
    let since = SINCE.replace(Some(now));
    since.map_or(Duration::ZERO, |since| now.duration_since(since))
}

/// Resets the flag even if the poll panics.
struct LeaveOnDrop;

impl Drop for LeaveOnDrop {
    fn drop(&mut self) {
        INSIDE_GUEST.set(false);
    }
}

/// Polls a guest that still runs. `Pending` also if there is none any more.
///
/// Wasmtime panics when a guest is polled from inside another one, so that becomes an
/// error here: whoever calls a guest on behalf of a guest needs a task for it.
pub(super) fn poll_guest(
    run: &mut Option<Run>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), GuestError>> {
    let Some(running) = run else {
        return Poll::Pending;
    };
    if INSIDE_GUEST.replace(true) {
        *run = None;
        return Poll::Ready(Err(GuestError::Nested));
    }
    let inside = LeaveOnDrop;
    SINCE.set(Some(Instant::now()));
    let result = running.as_mut().poll(cx);
    drop(inside);
    if result.is_ready() {
        *run = None;
    }
    result
}

/// Lets a guest finish what it does after its response. If too many do so already, it
/// is stopped instead.
pub(super) fn finish_in_background(run: Run, pool: &Arc<Pool>) {
    let Ok(permit) = pool.shared.background.clone().try_acquire_owned() else {
        add(&pool.stats.background_cut);
        return;
    };
    let background = Background::new(pool.clone(), permit);
    let finish = async move {
        let pool = &background.pool;
        let limit = pool.shared.config.background_timeout;
        // Dropped at the end of this block: a guest that is cut off is counted first.
        let mut run = Some(run);
        let finished = poll_fn(|cx| poll_guest(&mut run, cx));
        if timeout(limit, finished).await.is_err() {
            add(&pool.stats.background_cut);
            tracing::warn!(component = %pool.context.id, "work after a response was cut off");
        }
    };
    pool.shared.runtime.spawn(finish);
}

/// One guest that finishes its work, counted as long as this lives.
struct Background {
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

impl Background {
    fn new(pool: Arc<Pool>, permit: OwnedSemaphorePermit) -> Self {
        add(&pool.stats.background);
        Self {
            pool,
            _permit: permit,
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        subtract(&self.pool.stats.background, 1);
    }
}
