//! When spans began and ended, as the rest of the world calls it.

use std::time::SystemTime;

use tokio::time::Instant;

/// One moment by both clocks. All spans of a trace that are made here share it: times are measured by the
/// monotonic clock, so none of them ends before it begins, or begins before what it is a part of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    at: Instant,
    wall: SystemTime,
}

impl Clock {
    /// Both clocks, read now.
    #[expect(
        clippy::disallowed_methods,
        reason = "spans of several machines are compared by it; nothing is decided by it"
    )]
    pub(super) fn read() -> Self {
        Self {
            at: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    /// When it was read, by the monotonic clock.
    pub(super) fn at(self) -> Instant {
        self.at
    }

    /// That moment by the wall clock.
    pub(super) fn wall(self, moment: Instant) -> SystemTime {
        let moved = match moment.checked_duration_since(self.at) {
            Some(after) => self.wall.checked_add(after),
            None => self
                .wall
                .checked_sub(self.at.saturating_duration_since(moment)),
        };
        moved.unwrap_or(self.wall)
    }
}
