//! What the rules need of the world around them, and what they know of a request.

use brink_cache::UnixSeconds;
use brink_gateway::head::Head;

/// The key-value store that the edges read, and a log.
pub trait World {
    /// The value of `key`, if there is one.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Vec<u8>>, StoreError>>;
    /// Sets `key`, replacing an earlier value.
    fn set(&self, key: &str, value: Vec<u8>) -> impl Future<Output = Result<(), StoreError>>;
    /// Removes `key`; it is no error if it is not there.
    fn delete(&self, key: &str) -> impl Future<Output = Result<(), StoreError>>;
    /// Writes a line to the log.
    fn log(&self, line: &str);
}

/// The store did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key-value store failed: {0}")]
pub struct StoreError(pub String);

/// A request of an operator.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The name of the admin key.
    pub who: &'a str,
    /// Query and headers.
    pub head: &'a Head<'a>,
    /// The whole body.
    pub body: &'a [u8],
    /// Its id, for the record.
    pub request_id: &'a str,
    /// The time.
    pub now: UnixSeconds,
    /// A number that no other request has: how a writer knows its own record again.
    pub nonce: u64,
}
