//! The id that ties a client's request to our logs.

use std::hash::{BuildHasher, RandomState};

use crate::head::Head;
use crate::reply::X_REQUEST_ID;

/// Longest id taken over from a client, in bytes.
const MAX_LENGTH: usize = 128;

/// The client's own id when it is harmless in logs and headers, a random one otherwise.
pub fn of(head: &Head<'_>) -> String {
    head.get(X_REQUEST_ID)
        .filter(|id| is_harmless(id))
        .map_or_else(random, str::to_owned)
}

fn is_harmless(id: &str) -> bool {
    let allowed =
        |byte| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'-'..=b':' | b'_' | b'+' | b'=');
    !id.is_empty() && id.len() <= MAX_LENGTH && id.bytes().all(allowed)
}

/// 128 bits from the seeds that the standard library asks of its host. Unpredictability is
/// not needed, only that two requests differ.
fn random() -> String {
    let state = RandomState::new();
    format!("req-{:016x}{:016x}", state.hash_one(0), state.hash_one(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_ids_are_kept_and_others_replaced() {
        let check = |id: &str, kept: bool| {
            let wire = format!("GET /\nx-request-id: {id}");
            let head = Head::parse(wire.as_bytes()).unwrap();
            assert_eq!(of(&head) == id, kept, "{id}");
        };
        check("6f1d2c1e-7b0e-4f53-9f5e-0c2f6a3f1b11", true);
        check("", false);
        check("a b", false);
        check("é", false);
        check(&"x".repeat(129), false);
    }

    #[test]
    fn random_ids_differ() {
        assert_ne!(random(), random());
    }
}
