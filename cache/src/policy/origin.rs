//! Other HTTP services behind the edge, and which requests go to them.
//!
//! ```text
//!  path of a request   /search/v1/embeddings
//!  origin.path         /search/
//!  rest                        v1/embeddings
//!  origin.upstream     http://127.0.0.1:8080/
//!  URL                 http://127.0.0.1:8080/v1/embeddings
//! ```
//!
//! Not here: the requests themselves, and the edge's own routes, which go first.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Policy;
use super::path::{self, PathRefusal};

/// How long an origin may take where its `timeout` is not given.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// A service that answers below a prefix of request paths. Its limits are checked when it becomes
/// part of a [`Policy`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// What logs and metrics call it; unique.
    pub name: String,
    /// The prefix: begins and ends with `/`, unique, at most 256 bytes.
    pub path: String,
    /// The URL that takes the place of the prefix: `http` or `https`, its path ends with `/`, at
    /// most 512 bytes. The host must be allowed in `spin.toml` too.
    pub upstream: String,
    /// How long the head of its answer may take: whole seconds, from 1 s to 10 min.
    pub timeout: Duration,
    /// Routes below it whose answers depend on the JSON that is sent and on nothing else; up to 64.
    pub json: Vec<JsonRoute>,
}

/// A route of an origin to which JSON is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JsonRoute {
    /// Exactly what follows the origin's prefix; unique in the origin, at most 256 bytes.
    pub path: String,
    /// What rules are asked about: one of [`JSON_TASKS`](super::JSON_TASKS).
    pub task: String,
    /// How inputs are cached one by one; `None` if the answer is cached whole. Only for `embed`.
    pub items: Option<ItemFormat>,
}

/// Where a body has its inputs, and an answer their results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ItemFormat {
    /// The inputs are the member `input`, the results the member `data` of the answer.
    OpenAi,
    /// The inputs are the member `inputs`, the answer is a list of vectors.
    Tei,
}

/// A request that goes to an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToOrigin<'a> {
    /// Which.
    pub origin: &'a Origin,
    /// The request's path after the origin's prefix, as received. Has no dot segment, however
    /// often its escapes are decoded.
    pub rest: &'a str,
    /// The JSON route with that path. What other methods than POST do there is the caller's to say.
    pub json: Option<&'a JsonRoute>,
}

impl Policy {
    /// Where a request with this path, without its query, goes: to the origin with the longest
    /// prefix of it. `None` if there is none. Case and escapes are compared as they are.
    ///
    /// # Errors
    /// A path that belongs to an origin, and that the service behind it could resolve to one
    /// outside of `upstream`.
    pub fn route_to_origin<'a>(
        &'a self,
        path: &'a str,
    ) -> Result<Option<ToOrigin<'a>>, PathRefusal> {
        let below = |origin: &'a Origin| Some((origin, path.strip_prefix(&*origin.path)?));
        let candidates = self.origins().iter().filter_map(below);
        let Some((origin, rest)) = candidates.max_by_key(|(origin, _)| origin.path.len()) else {
            return Ok(None);
        };
        path::check(rest)?;
        let json = origin.json.iter().find(|route| route.path == rest);
        Ok(Some(ToOrigin { origin, rest, json }))
    }
}

impl ToOrigin<'_> {
    /// The URL to ask. The query is the request's, without its `?`.
    pub fn url(&self, query: Option<&str>) -> String {
        let mut url = [&self.origin.upstream, self.rest].concat();
        if let Some(query) = query {
            url.push('?');
            url.push_str(query);
        }
        url
    }
}
