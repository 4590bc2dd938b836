//! Request collapsing: what is being computed already is waited for, not computed again.
//!
//! The first request of a key is its **leader** and holds the [`Obligation`] to bring the result;
//! later ones are **followers** and hold a [`Waiter`]. Together they are a **flight**.
//!
//! ```text
//!  join(key) --> Leader(Obligation) --fulfil--> every waiter gets the result, flight over
//!            |                      --give_back, or dropped--> one follower gets the Obligation
//!            \-> Follower(Waiter)
//! ```
//!
//! An obligation is a value: a leader that is cancelled, times out or panics drops it, and the
//! drop hands the duty on. No follower waits for somebody who is gone. When the last waiter
//! leaves, [`Obligation::abandoned`] tells the leader that its work is of no use any more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use brink_cache::Key;
use tokio::time::Instant;

mod flight;

pub use flight::{Obligation, Verdict, Waiter};

use flight::Flight;

/// Limits of collapsing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CollapseLimits {
    /// Age above which a flight gets no new followers.
    pub max_leader_age: Duration,
    /// Most flights at once.
    pub max_flights: usize,
}

/// All flights of a service, whose results are `T`. Cheap to clone; clones share the flights.
#[derive(Debug)]
pub struct Collapse<T>(Arc<Flights<T>>);

/// The flights by key, each the newest of its key: a flight that grew too old goes on without an
/// entry here.
#[derive(Debug)]
struct Flights<T> {
    limits: CollapseLimits,
    /// A flight's own lock may be taken under this one, never the other way round.
    by_key: Mutex<HashMap<Key, Arc<Flight<T>>>>,
}

/// A request's part in a flight.
#[derive(Debug)]
pub enum Joined<T> {
    /// First: bring the result.
    Leader(Obligation<T>),
    /// Somebody does already.
    Follower(Waiter<T>),
}

/// As many flights as the limit allows are under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} results are being computed already")]
pub struct TooManyFlights(pub usize);

impl<T> Clone for Collapse<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Collapse<T> {
    /// No flights yet.
    pub fn new(limits: CollapseLimits) -> Self {
        Self(Arc::new(Flights {
            limits,
            by_key: Mutex::default(),
        }))
    }

    /// Joins the flight of a key, or starts it.
    pub fn join(&self, key: Key, now: Instant) -> Result<Joined<T>, TooManyFlights> {
        let mut flights = self.0.lock();
        if let Some(flight) = flights.get(&key)
            && flight.age(now) <= self.0.limits.max_leader_age
            && let Some(waiter) = Waiter::follow(flight)
        {
            return Ok(Joined::Follower(waiter));
        }
        self.start(&mut flights, key, now).map(Joined::Leader)
    }

    /// Starts a flight of one's own, for a request that has followed for too long. Later requests
    /// follow the new one.
    pub fn lead(&self, key: Key, now: Instant) -> Result<Obligation<T>, TooManyFlights> {
        self.start(&mut self.0.lock(), key, now)
    }

    /// Flights under way, without those that grew too old.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether nothing is being computed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn start(
        &self,
        flights: &mut HashMap<Key, Arc<Flight<T>>>,
        key: Key,
        now: Instant,
    ) -> Result<Obligation<T>, TooManyFlights> {
        let max_flights = self.0.limits.max_flights;
        if flights.len() >= max_flights && !flights.contains_key(&key) {
            return Err(TooManyFlights(max_flights));
        }
        let flight = Arc::new(Flight::new(key, now, Arc::downgrade(&self.0)));
        flights.insert(key, Arc::clone(&flight));
        Ok(Obligation::new(flight))
    }
}

impl<T> Flights<T> {
    /// A panic under the lock would be a defect of the map; waiting tasks must get an answer.
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Flight<T>>>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an ended flight out, unless a newer one has its place.
    fn remove(&self, flight: &Flight<T>) {
        let mut flights = self.lock();
        let newest = flights.get(&flight.key());
        if newest.is_some_and(|newest| std::ptr::eq(&**newest, flight)) {
            flights.remove(&flight.key());
        }
    }
}

#[cfg(test)]
mod tests;
