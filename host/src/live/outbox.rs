//! An [`Outbox`] between tasks: those that answer put in, the one that writes to the client takes out.
//!
//! Neither waits for the other with text: a producer that is faster than the client merges, until the budget is spent;
//! then the client is too slow and everybody learns it. Only whole frames wait for room.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::merge::{Key, Outbox, OutboxLimits, Piece, Take, TooSlow};

/// What was pushed goes nowhere any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undeliverable {
    /// The client is too slow.
    #[error(transparent)]
    TooSlow(#[from] TooSlow),
    /// The request was cancelled.
    #[error("the request was cancelled")]
    Cancelled,
}

#[derive(Debug)]
struct Shared {
    /// Held for pushing and taking only, never across an await.
    state: Mutex<State>,
    /// Something was put in.
    filled: Notify,
    /// Something was taken out.
    room: Notify,
    /// The budget was exceeded, or everything was put in.
    ended: Notify,
}

#[derive(Debug)]
struct State {
    outbox: Outbox,
    /// Requests that may still put something in. A task that was aborted may be in the middle of a poll.
    open: Vec<u64>,
    too_slow: Option<TooSlow>,
    pushed: u64,
}

/// The side of those who answer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sender(Arc<Shared>);

/// The side of the one that writes.
#[derive(Debug)]
pub struct Receiver(Arc<Shared>);

/// Both sides of an empty outbox.
pub fn outbox(limits: OutboxLimits) -> (Sender, Receiver) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            outbox: Outbox::new(limits),
            open: Vec::new(),
            too_slow: None,
            pushed: 0,
        }),
        filled: Notify::new(),
        room: Notify::new(),
        ended: Notify::new(),
    });
    (Sender(shared.clone()), Receiver(shared))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sender {
    /// Adds text; it is merged with what waits of the same key.
    ///
    /// # Errors
    /// When the client will never see it.
    pub fn text(&self, key: &Key, text: &str) -> Result<(), Undeliverable> {
        self.push(key, |outbox| outbox.push_text(key, text))
    }

    /// Adds text that is sent by itself, for comparison.
    ///
    /// # Errors
    /// When the client will never see it.
    pub fn alone(&self, key: &Key, text: &str) -> Result<(), Undeliverable> {
        self.push(key, |outbox| outbox.push_alone(key, text))
    }

    fn push(
        &self,
        key: &Key,
        push: impl FnOnce(&mut Outbox) -> Result<(), TooSlow>,
    ) -> Result<(), Undeliverable> {
        let mut state = self.0.lock();
        if !state.open.contains(&key.request) {
            return Err(Undeliverable::Cancelled);
        }
        if let Err(error) = push(&mut state.outbox) {
            state.too_slow = Some(error);
            drop(state);
            self.0.ended.notify_one();
            return Err(error.into());
        }
        state.pushed += 1;
        drop(state);
        self.0.filled.notify_one();
        Ok(())
    }

    /// Ends a request from this side. What waits of it is still sent.
    pub fn close(&self, request: u64) {
        self.0.lock().open.retain(|open| *open != request);
        self.0.filled.notify_one();
    }

    /// Adds a frame of a request as soon as there is room for it.
    ///
    /// # Errors
    /// When the request was cancelled.
    pub async fn frame(&self, request: u64, frame: String) -> Result<(), Undeliverable> {
        let mut frame = frame;
        loop {
            let mut room = std::pin::pin!(self.0.room.notified());
            // From here on no word is missed.
            room.as_mut().enable();
            {
                let mut state = self.0.lock();
                if !state.open.contains(&request) {
                    return Err(Undeliverable::Cancelled);
                }
                match state.outbox.push_frame(Some(request), frame) {
                    Ok(()) => break,
                    Err(back) => frame = back,
                }
            }
            room.await;
        }
        self.0.filled.notify_one();
        Ok(())
    }
}

impl Receiver {
    /// Lets a request put things in.
    pub fn open(&self, request: u64) {
        self.0.lock().open.push(request);
    }

    /// Ends a request: what it puts in from now on is refused. What waits of it goes with `forget`.
    pub fn close(&self, request: u64, forget: bool) {
        let mut state = self.0.lock();
        state.open.retain(|open| *open != request);
        if forget {
            state.outbox.forget(request);
        }
    }

    /// Adds a frame of the connection itself.
    ///
    /// # Errors
    /// When the client has let too many of them pile up.
    pub fn frame(&self, frame: String) -> Result<(), TooSlow> {
        let mut state = self.0.lock();
        let budget = state.outbox.limits().budget;
        let pushed = state.outbox.push_frame(None, frame);
        pushed.map_err(|_| TooSlow { budget })
    }

    /// Everything that waits, if it is time.
    pub fn take(&self, now: Instant) -> Take {
        let taken = self.0.lock().outbox.take(now);
        if matches!(taken, Take::Pieces(_)) {
            self.0.room.notify_waiters();
        }
        taken
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.0.lock().outbox.is_empty()
    }

    /// How many texts were put in since this was asked last, merged or not.
    pub fn pushed(&self) -> u64 {
        std::mem::take(&mut self.0.lock().pushed)
    }

    /// Returns when something was put in.
    pub async fn filled(&self) {
        self.0.filled.notified().await;
    }

    /// Returns when the client was found to be too slow.
    pub async fn too_slow(&self) -> TooSlow {
        loop {
            if let Some(error) = self.0.lock().too_slow {
                return error;
            }
            self.0.ended.notified().await;
        }
    }

    /// What is to be sent next, when it is time: for answers that have a connection of their own. `None` once no
    /// request is open and nothing waits.
    ///
    /// # Errors
    /// When the client is too slow.
    pub async fn next(&self) -> Result<Option<Vec<Piece>>, TooSlow> {
        loop {
            let now = Instant::now();
            match self.take(now) {
                Take::Pieces(pieces) => return Ok(Some(pieces)),
                Take::NotBefore(at) => tokio::time::sleep_until(at).await,
                Take::Nothing => {
                    if self.is_over()? {
                        return Ok(None);
                    }
                    tokio::select! {
                        () = self.0.filled.notified() => {}
                        _ = self.too_slow() => {}
                    }
                }
            }
        }
    }

    fn is_over(&self) -> Result<bool, TooSlow> {
        let state = self.0.lock();
        match state.too_slow {
            Some(error) => Err(error),
            None => Ok(state.open.is_empty()),
        }
    }
}
