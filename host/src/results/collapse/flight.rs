//! One flight: the obligation, those who wait, and how the duty moves between them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use brink_cache::Key;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::Flights;

/// Most times that a flight changes its leader. A result that so many leaders could not bring is
/// not worth the followers' time.
const MAX_HAND_OVERS: u32 = 4;

/// What a waiter gets.
#[derive(Debug)]
pub enum Verdict<T> {
    /// The result.
    Done(T),
    /// The leader is gone; this request leads now.
    Lead(Obligation<T>),
    /// The leader is gone, and it was the last that the flight gets.
    Lost,
}

/// What leader and followers share.
#[derive(Debug)]
pub(super) struct Flight<T> {
    key: Key,
    started: Instant,
    flights: Weak<Flights<T>>,
    /// Locked to add, take or count waiters; nothing is sent under the lock.
    waiting: Mutex<Waiting<T>>,
    /// Woken when the last waiter leaves.
    empty: Notify,
}

#[derive(Debug)]
struct Waiting<T> {
    /// By arrival, so that the one who has waited longest leads next.
    waiters: BTreeMap<u64, oneshot::Sender<Verdict<T>>>,
    next_id: u64,
    hand_overs: u32,
    /// Nobody may join any more.
    over: bool,
}

impl<T> Flight<T> {
    pub(super) fn new(key: Key, started: Instant, flights: Weak<Flights<T>>) -> Self {
        Self {
            key,
            started,
            flights,
            waiting: Mutex::new(Waiting {
                waiters: BTreeMap::new(),
                next_id: 0,
                hand_overs: 0,
                over: false,
            }),
            empty: Notify::new(),
        }
    }

    pub(super) fn key(&self) -> Key {
        self.key
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the flight and returns those who still wait.
    fn end(&self) -> BTreeMap<u64, oneshot::Sender<Verdict<T>>> {
        let mut waiting = self.lock();
        waiting.over = true;
        let waiters = std::mem::take(&mut waiting.waiters);
        drop(waiting);
        if let Some(flights) = self.flights.upgrade() {
            flights.remove(self);
        }
        waiters
    }

    /// The next leader, or `None` if there is none to be had: the flight is over then.
    fn next_leader(&self) -> Option<oneshot::Sender<Verdict<T>>> {
        let mut waiting = self.lock();
        if waiting.hand_overs < MAX_HAND_OVERS
            && let Some((_, next)) = waiting.waiters.pop_first()
        {
            waiting.hand_overs += 1;
            return Some(next);
        }
        waiting.over = true;
        None
    }

    fn leave(&self, id: u64) {
        let mut waiting = self.lock();
        let sender = waiting.waiters.remove(&id);
        let is_last = sender.is_some() && waiting.waiters.is_empty();
        drop(waiting);
        if is_last {
            self.empty.notify_one();
        }
    }
}

/// The duty to bring a flight's result. Dropping it hands the duty on.
#[derive(Debug)]
pub struct Obligation<T> {
    flight: Arc<Flight<T>>,
    /// The leader's own place among those who wait.
    own: Option<u64>,
    /// The duty is done or was handed on.
    released: bool,
}

impl<T> Obligation<T> {
    pub(super) fn new(flight: Arc<Flight<T>>) -> Self {
        Self {
            flight,
            own: None,
            released: false,
        }
    }

    /// The key whose result is owed.
    pub fn key(&self) -> Key {
        self.flight.key
    }

    /// The leading request's own waiter. It gets the leader's errors, and never the duty again.
    pub fn waiter(&mut self) -> Waiter<T> {
        let waiter = Waiter::add(&self.flight, &mut self.flight.lock());
        self.own = Some(waiter.id);
        waiter
    }

    /// Returns once nobody waits: the client of the leader is gone, and all followers' too.
    pub async fn abandoned(&self) {
        while !self.is_abandoned() {
            self.flight.empty.notified().await;
        }
    }

    /// Whether nobody waits.
    pub fn is_abandoned(&self) -> bool {
        self.flight.lock().waiters.is_empty()
    }

    /// Hands the duty on, first taking the leading request out of those who may get it.
    /// `verdict` is what it gets, and what all get when there is no next leader.
    fn release(&mut self, verdict: impl Fn() -> Verdict<T>) {
        self.released = true;
        let own = self.own.take();
        if let Some(own) = own.and_then(|id| self.flight.lock().waiters.remove(&id)) {
            // A waiter that is gone needs no verdict; here and below.
            let _ = own.send(verdict());
        }
        while let Some(next) = self.flight.next_leader() {
            let duty = Self::new(Arc::clone(&self.flight));
            match next.send(Verdict::Lead(duty)) {
                Err(Verdict::Lead(mut duty)) => duty.released = true,
                _ => return,
            }
        }
        for (_, waiter) in self.flight.end() {
            let _ = waiter.send(verdict());
        }
    }
}

impl<T: Clone> Obligation<T> {
    /// Brings the result, or an error that every request of this key would get.
    pub fn fulfil(mut self, result: T) {
        self.released = true;
        for (_, waiter) in self.flight.end() {
            let _ = waiter.send(Verdict::Done(result.clone()));
        }
    }

    /// Gives the duty back with an error that is this leader's alone: its deadline, a full queue.
    /// A follower tries again.
    pub fn give_back(mut self, error: T) {
        self.release(|| Verdict::Done(error.clone()));
    }
}

impl<T> Drop for Obligation<T> {
    fn drop(&mut self) {
        if !self.released {
            self.release(|| Verdict::Lost);
        }
    }
}

/// A request that waits for a flight's result. Dropping it leaves the flight.
#[derive(Debug)]
pub struct Waiter<T> {
    receiver: oneshot::Receiver<Verdict<T>>,
    flight: Arc<Flight<T>>,
    id: u64,
}

impl<T> Waiter<T> {
    /// Joins a flight, unless it is over.
    pub(super) fn follow(flight: &Arc<Flight<T>>) -> Option<Self> {
        let mut waiting = flight.lock();
        (!waiting.over).then(|| Self::add(flight, &mut waiting))
    }

    fn add(flight: &Arc<Flight<T>>, waiting: &mut Waiting<T>) -> Self {
        let (sender, receiver) = oneshot::channel();
        let id = waiting.next_id;
        waiting.next_id += 1;
        waiting.waiters.insert(id, sender);
        Self {
            receiver,
            flight: Arc::clone(flight),
            id,
        }
    }

    /// What came of the flight.
    pub async fn verdict(mut self) -> Verdict<T> {
        (&mut self.receiver).await.unwrap_or(Verdict::Lost)
    }
}

impl<T> Drop for Waiter<T> {
    /// If the duty was sent here and not read, it is dropped with the receiver and goes on to the
    /// next follower.
    fn drop(&mut self) {
        self.flight.leave(self.id);
    }
}
