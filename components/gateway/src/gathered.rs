//! A body that comes in frames, gathered within a limit and without room for two of it.
//!
//! An instance's memory is a small multiple of the largest body, and what it once had it keeps. So a body is
//! gathered where it will stay: room is made for all that was announced, or else for twice as much as
//! came, and never for more than the limit.

use bytes::{Bytes, BytesMut};

/// What has come of a body.
#[derive(Debug)]
pub struct Gathered {
    /// The only frame so far. Most bodies are one; those are never copied.
    first: Bytes,
    joined: BytesMut,
    /// Bytes that were announced.
    announced: Option<usize>,
    limit: usize,
}

/// The body is above the limit: it has at least so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge(pub u64);

impl Gathered {
    /// Nothing yet. `announced` is the body's length if that was told.
    ///
    /// # Errors
    /// When more is announced than `limit`, in bytes.
    pub fn new(announced: Option<u64>, limit: u64) -> Result<Self, TooLarge> {
        match announced {
            Some(length) if length > limit => Err(TooLarge(length)),
            _ => Ok(Self {
                first: Bytes::new(),
                joined: BytesMut::new(),
                announced: announced.and_then(|length| usize::try_from(length).ok()),
                limit: usize::try_from(limit).unwrap_or(usize::MAX),
            }),
        }
    }

    /// Adds a frame.
    ///
    /// # Errors
    /// When there is more than the limit now.
    pub fn push(&mut self, frame: Bytes) -> Result<(), TooLarge> {
        let length = self.first.len() + self.joined.len() + frame.len();
        if length > self.limit {
            return Err(TooLarge(length as u64));
        }
        if self.first.is_empty() && self.joined.is_empty() {
            self.first = frame;
            return Ok(());
        }
        self.make_room(length);
        let first = std::mem::take(&mut self.first);
        self.joined.extend_from_slice(&first);
        self.joined.extend_from_slice(&frame);
        Ok(())
    }

    /// All of it.
    pub fn finish(self) -> Bytes {
        match self.joined.is_empty() {
            true => self.first,
            false => self.joined.freeze(),
        }
    }

    fn make_room(&mut self, length: usize) {
        if self.joined.capacity() >= length {
            return;
        }
        let twice = length.saturating_mul(2).min(self.limit);
        // Whoever announced less than it sends is not believed again.
        let announced = self
            .announced
            .take()
            .filter(|announced| *announced >= length);
        let mut larger = BytesMut::with_capacity(announced.unwrap_or(twice));
        larger.extend_from_slice(&self.joined);
        self.joined = larger;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn gather(announced: Option<u64>, limit: u64, frames: &[&[u8]]) -> Result<Bytes, TooLarge> {
        let mut gathered = Gathered::new(announced, limit)?;
        for frame in frames {
            gathered.push(Bytes::copy_from_slice(frame))?;
            let capacity = gathered.joined.capacity() as u64;
            assert!(
                capacity <= limit,
                "room for {capacity}, at most {limit} may come"
            );
        }
        Ok(gathered.finish())
    }

    #[test]
    fn a_body_may_have_as_much_as_the_limit_and_no_byte_more() {
        let check = |announced, frames: &[&[u8]], expected: Result<&'static [u8], u64>| {
            let expected = expected.map(Bytes::from_static).map_err(TooLarge);
            assert_eq!(gather(announced, 4, frames), expected, "{frames:?}");
        };
        check(None, &[], Ok(b""));
        check(None, &[b"abcd"], Ok(b"abcd"));
        check(None, &[b"a", b"", b"bc", b"d"], Ok(b"abcd"));
        check(None, &[b"abc", b"de"], Err(5));
        check(Some(4), &[b"ab", b"cd"], Ok(b"abcd"));
        check(Some(2), &[b"ab", b"cd"], Ok(b"abcd"));
        check(Some(5), &[], Err(5));
    }

    #[test]
    fn announced_bodies_are_gathered_in_one_place() {
        let mut gathered = Gathered::new(Some(100), 1000).unwrap();
        gathered.push(Bytes::from_static(b"a")).unwrap();
        gathered.push(Bytes::from_static(b"b")).unwrap();
        let place = gathered.joined.as_ptr();
        for _ in 2..100 {
            gathered.push(Bytes::from_static(b"c")).unwrap();
        }
        assert_eq!(
            (gathered.joined.as_ptr(), gathered.joined.capacity()),
            (place, 100)
        );
    }

    proptest! {
        #[test]
        fn frames_are_joined_in_order(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20), announced: Option<u16>) {
            let slices: Vec<_> = frames.iter().map(Vec::as_slice).collect();
            let joined = gather(announced.map(u64::from), 100_000, &slices).unwrap();
            prop_assert_eq!(joined, frames.concat());
        }
    }
}
