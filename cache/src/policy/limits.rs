//! What a policy may hold. The same checks see a policy from a file and one from a store.

use std::time::Duration;

/// Most rules: with more, the search itself would be felt on a hit.
pub const MAX_RULES: usize = 256;
/// Most bytes of a policy file.
pub const MAX_SOURCE_BYTES: usize = 256 * 1024;
/// Most bytes of the compiled form: what an edge may have to read at any request.
pub const MAX_COMPILED_BYTES: usize = 256 * 1024;
/// Most bytes of a reason.
pub const MAX_REASON_BYTES: usize = 256;
/// Most bytes of a pattern; as long as a model's name may be.
pub const MAX_PATTERN_BYTES: usize = 256;
/// Most alternatives in one condition.
pub const MAX_PATTERNS: usize = 64;
/// Most request fields named by one rule.
pub const MAX_KEY_FIELDS: usize = 64;
/// Most bytes of the name of a request field.
pub const MAX_KEY_FIELD_BYTES: usize = 128;
/// Most surrogate keys of one rule.
pub const MAX_SURROGATE_KEYS: usize = 16;
/// Most bytes of a surrogate key as the policy writes it.
pub const MAX_TEMPLATE_BYTES: usize = 128;
/// Longest freshness lifetime: a year, the most that HTTP caches are asked to honour.
pub const MAX_FRESH: Duration = days(365);
/// Longest stale-while-revalidate: a result that old was not asked for in a month.
pub const MAX_STALE_WHILE_REVALIDATE: Duration = days(30);
/// Longest stale-if-error: an outage that long is no outage any more.
pub const MAX_STALE_IF_ERROR: Duration = days(30);

/// Most origins: a request's path is compared with the prefix of each.
pub const MAX_ORIGINS: usize = 32;
/// Most routes of one origin to which JSON is sent.
pub const MAX_JSON_ROUTES: usize = 64;
/// Most bytes of an origin's prefix, and of a route below it.
pub const MAX_PATH_BYTES: usize = 256;
/// Most bytes of an upstream's URL.
pub const MAX_UPSTREAM_BYTES: usize = 512;
/// Shortest time that an origin may be given for its answer.
pub const MIN_ORIGIN_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest time that an origin may be given: beyond it no client is still there.
pub const MAX_ORIGIN_TIMEOUT: Duration = minutes(10);
/// Most aliases.
pub const MAX_ALIASES: usize = 256;
/// Most bytes of a model's name; as long as a pattern may be.
pub const MAX_MODEL_BYTES: usize = MAX_PATTERN_BYTES;

/// What a model may be asked to do. `origin` is a GET or HEAD request that is passed to another
/// HTTP service.
pub const TASKS: [&str; 5] = ["embed", "classify", "complete", "generic", ORIGIN_TASK];
/// The task of requests that are passed on and that no model's task describes.
pub const ORIGIN_TASK: &str = "origin";
/// The tasks that a route of an origin may have: all that have a body to make a key of.
pub const JSON_TASKS: [&str; 4] = ["embed", "classify", "complete", "generic"];

/// Errors that may be kept, and for how long at most.
///
/// They are those that the same request meets again: it is wrong (400, 422), too large (413),
/// names something that does not exist (404), or breaks the model (500; the host halves batches
/// until the guilty item is alone, so the error is its own, and meeting it again costs a batch).
/// All others tell of a moment or a caller (401, 403, 409, 429, 502, 503, 504): keeping those
/// would prolong an outage, or hand one caller's refusal to another.
pub const NEGATIVE: [(u16, Duration); 5] = [
    (400, minutes(5)),
    (404, minutes(5)),
    (413, minutes(5)),
    (422, minutes(5)),
    (500, Duration::from_secs(30)),
];

const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 86_400)
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}
