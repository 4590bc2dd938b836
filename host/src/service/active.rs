//! Counts calls, so that shutdown can wait for those that were accepted.

use std::sync::Arc;

use tokio::sync::watch;

/// The calls being answered.
#[derive(Debug)]
pub(super) struct ActiveCalls(Arc<watch::Sender<State>>);

#[derive(Clone, Copy, Debug, Default)]
struct State {
    active: usize,
    closed: bool,
}

impl Default for ActiveCalls {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(State::default())))
    }
}

impl ActiveCalls {
    /// Counts a call for as long as the guard lives. `None` after [`ActiveCalls::close`].
    pub(super) fn enter(&self) -> Option<ActiveCall> {
        let entered = self.0.send_if_modified(|state| {
            state.active += usize::from(!state.closed);
            !state.closed
        });
        entered.then(|| ActiveCall(Arc::clone(&self.0)))
    }

    /// Refuses calls from now on.
    pub(super) fn close(&self) {
        self.0.send_modify(|state| state.closed = true);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.borrow().closed
    }

    /// Returns when no call is being answered.
    pub(super) async fn idle(&self) {
        let idle = |state: &State| state.active == 0;
        // The sender is `self`, so it cannot be gone.
        let _ = self.0.subscribe().wait_for(idle).await;
    }
}

/// A call being answered.
#[derive(Debug)]
pub(super) struct ActiveCall(Arc<watch::Sender<State>>);

impl Drop for ActiveCall {
    fn drop(&mut self) {
        self.0.send_modify(|state| state.active -= 1);
    }
}
