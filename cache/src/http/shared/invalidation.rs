//! What the answer to an unsafe request makes invalid (RFC 9111 §4.4).

use super::fields::Fields;
use super::uri;
use crate::http::groups::{invalidated_groups, is_safe};

/// Most URIs that one answer invalidates.
pub const MAX_INVALIDATED: usize = 4;

/// The URIs that the answer to such a request invalidates, normalised, the target first. None for
/// safe methods and for errors.
///
/// `target` is the absolute URI of the request. `Location` and `Content-Location` count where they
/// are of its origin, or one site could empty the cache of another.
pub fn invalidates(method: &str, status: u16, target: &str, response: &Fields) -> Vec<String> {
    if !changes_state(method, status) {
        return Vec::new();
    }
    let mut invalid = vec![uri::normalise(target)];
    let origin = uri::origin(target);
    let others = response
        .all("location")
        .chain(response.all("content-location"))
        .filter_map(|reference| std::str::from_utf8(reference).ok())
        .filter_map(|reference| uri::resolve(target, reference));
    for other in others {
        if invalid.len() < MAX_INVALIDATED
            && uri::origin(&other) == origin
            && !invalid.contains(&other)
        {
            invalid.push(other);
        }
    }
    invalid
}

/// The groups that the answer to such a request invalidates (RFC 9875 §3); their origin is that of
/// the target. An error invalidates nothing, here as in [`invalidates`].
pub fn groups(method: &str, status: u16, response: &Fields) -> Vec<String> {
    if !changes_state(method, status) {
        return Vec::new();
    }
    let value = response.joined("cache-group-invalidation");
    invalidated_groups(method, &value.unwrap_or_default())
}

/// An unsafe method, or one whose safety is unknown, with a non-error status.
fn changes_state(method: &str, status: u16) -> bool {
    !is_safe(method) && (200..400).contains(&status)
}
