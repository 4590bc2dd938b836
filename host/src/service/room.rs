//! Room for inputs that are read and not in a queue yet.
//!
//! A queue counts what waits in it, and refuses what is too much. Before that, a call has all its inputs read, and a
//! picture of a few kilobytes is a hundred times as much then. So room is asked for first, by what the inputs
//! will take at most, and before anything of them is allocated.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::error::InferError;

/// What takes no more is not counted: as many as calls that can be in flight, it is still less than what their messages
/// take.
const UNCOUNTED_BYTES: usize = 64 * 1024;

/// A permit's worth: permits are counted in 32 bits.
const UNIT_BYTES: usize = 1024;

/// Room for all calls together.
#[derive(Clone, Debug)]
pub(super) struct Room {
    max_bytes: usize,
    free: Arc<Semaphore>,
}

/// Room that a call has until its inputs are in a queue; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Room {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            free: Arc::new(Semaphore::new(max_bytes.div_ceil(UNIT_BYTES))),
        }
    }

    /// Room for so many bytes, once there is some.
    ///
    /// # Errors
    /// When there is not so much at all, and when the deadline passes first.
    pub(super) async fn take(&self, bytes: usize, deadline: Instant) -> Result<Taken, InferError> {
        if bytes <= UNCOUNTED_BYTES.min(self.max_bytes) {
            return Ok(Taken { _permit: None });
        }
        let too_much = InferError::TooMuchDecoded {
            bytes,
            max_bytes: self.max_bytes,
        };
        let Some(units) = u32::try_from(bytes.div_ceil(UNIT_BYTES))
            .ok()
            .filter(|_| bytes <= self.max_bytes)
        else {
            return Err(too_much);
        };
        let permit = Arc::clone(&self.free).acquire_many_owned(units);
        match tokio::time::timeout_at(deadline, permit).await {
            Ok(Ok(permit)) => Ok(Taken {
                _permit: Some(permit),
            }),
            // Nobody closes it.
            Ok(Err(_)) => Err(InferError::Lost),
            Err(_) => Err(InferError::DeadlineExceeded),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MIB: usize = 1 << 20;

    #[tokio::test(start_paused = true)]
    async fn what_fits_waits_for_room_and_what_never_fits_is_refused_at_once() {
        let room = Room::new(2 * MIB);
        let deadline = Instant::now() + Duration::from_secs(1);
        let error = room
            .take(2 * MIB + 1, deadline)
            .await
            .expect_err("too much");
        let told = error.to_string();
        assert!(
            told.contains("take 2097153 bytes") && told.contains("at most 2097152"),
            "{told}"
        );
        let first = room.take(2 * MIB, deadline).await.expect("room");
        let waiting = room.take(MIB, deadline).await.expect_err("no room in time");
        assert!(matches!(waiting, InferError::DeadlineExceeded));
        assert_eq!(Instant::now(), deadline);
        let later = deadline + Duration::from_secs(1);
        let (second, ()) = tokio::join!(room.take(MIB, later), async { drop(first) });
        assert!(second.is_ok());
    }

    #[tokio::test]
    async fn small_calls_never_wait() {
        let room = Room::new(MIB);
        let deadline = Instant::now();
        let _all = room.take(MIB, deadline).await.expect("room");
        assert!(room.take(UNCOUNTED_BYTES, deadline).await.is_ok());
    }
}
