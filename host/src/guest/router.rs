//! Matches request paths to routes, as Spin's HTTP trigger does.
//!
//! Pure: patterns in, one match out. A path is compared segment by segment. Of
//! several matching routes the most specific wins, decided at the first segment
//! that differs: literal before `:name` before the trailing wildcard. So an exact
//! route beats a single-segment one, that beats a wildcard, and the longest
//! wildcard wins. A trailing slash never matters for matching.

use std::cmp::Ordering;

/// A parsed route such as `/a/b`, `/users/:id` or `/static/...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutePattern {
    raw: String,
    segments: Vec<Segment>,
    wildcard: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    /// `:name` matches any one segment.
    Named(String),
}

/// Why a route is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// A wildcard that is not the last segment.
    #[error("a wildcard '...' is allowed only at the end, as '/...'")]
    Wildcard,
    /// `:` without a name, or with one that cannot become a header name.
    #[error("':' must be followed by a name of letters, digits, '-' and '_'")]
    Name,
    /// Spin keeps this prefix for itself.
    #[error("the prefix /.well-known/spin/ is reserved")]
    Reserved,
}

/// Paths below this prefix belong to the host, as under Spin.
pub(super) const WELL_KNOWN_PREFIX: &str = "/.well-known/spin/";

impl RoutePattern {
    /// Parses a route as written in the manifest. A missing leading slash is added.
    pub fn parse(route: &str) -> Result<Self, RouteError> {
        if format!("{route}/").starts_with(WELL_KNOWN_PREFIX) {
            return Err(RouteError::Reserved);
        }
        let trimmed = route.trim_matches('/');
        let mut parts: Vec<&str> = trimmed.split('/').filter(|part| !part.is_empty()).collect();
        let wildcard = matches!(parts.last(), Some(&"..." | &"*"));
        if wildcard {
            parts.pop();
        }
        let segments = parts
            .into_iter()
            .map(Segment::parse)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            raw: route.to_owned(),
            segments,
            wildcard,
        })
    }

    /// The route as written.
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// The route without its trailing wildcard.
    pub fn prefix(&self) -> &str {
        self.raw
            .strip_suffix("/...")
            .or_else(|| self.raw.strip_suffix("/*"))
            .unwrap_or(&self.raw)
    }

    /// Whether both match exactly the same paths.
    pub fn same_paths(&self, other: &Self) -> bool {
        self.cmp_specificity(other) == Ordering::Equal
            && self
                .segments
                .iter()
                .zip(&other.segments)
                .all(|pair| match pair {
                    (Segment::Literal(a), Segment::Literal(b)) => a == b,
                    (a, b) => a.rank() == b.rank(),
                })
    }

    fn matches<'p>(&self, path: &'p str) -> Option<RouteMatch<'p>> {
        let mut rest = path.trim_start_matches('/');
        let mut captures = Vec::new();
        for segment in &self.segments {
            let (part, tail) = rest.split_once('/').unwrap_or((rest, ""));
            match segment {
                Segment::Literal(literal) if literal == part => {}
                Segment::Named(name) if !part.is_empty() => captures.push((name.clone(), part)),
                _ => return None,
            }
            rest = tail;
        }
        if !self.wildcard && !rest.trim_matches('/').is_empty() {
            return None;
        }
        // Behind the matched segments, from the slash on; Spin keeps a trailing slash.
        let path_info = if self.wildcard {
            let end = path.len() - rest.len();
            let slash = path[..end].ends_with('/');
            &path[end - usize::from(slash)..]
        } else {
            ""
        };
        Some(RouteMatch {
            index: 0,
            path_info,
            captures,
        })
    }

    /// Most specific first.
    fn cmp_specificity(&self, other: &Self) -> Ordering {
        self.ranks().cmp(other.ranks())
    }

    fn ranks(&self) -> impl Iterator<Item = u8> {
        let end = if self.wildcard { 2 } else { 0 };
        self.segments.iter().map(Segment::rank).chain([end])
    }
}

impl Segment {
    fn parse(part: &str) -> Result<Self, RouteError> {
        let Some(name) = part.strip_prefix(':') else {
            return if part == "..." || part == "*" {
                Err(RouteError::Wildcard)
            } else {
                Ok(Self::Literal(part.to_owned()))
            };
        };
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
        if name.is_empty() || !name.chars().all(allowed) {
            return Err(RouteError::Name);
        }
        Ok(Self::Named(name.to_owned()))
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Literal(_) => 0,
            Self::Named(_) => 1,
        }
    }
}

/// A path that matched a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteMatch<'p> {
    /// The route's place in the list that the router was built from.
    pub index: usize,
    /// What the trailing wildcard matched, with its slash; empty otherwise.
    pub path_info: &'p str,
    /// What each `:name` matched.
    pub captures: Vec<(String, &'p str)>,
}

/// All routes of an application.
#[derive(Clone, Debug, Default)]
pub struct Router {
    /// Most specific first, with the index in the list it was built from.
    routes: Vec<(usize, RoutePattern)>,
}

impl Router {
    /// Builds a router; matches report the position of the pattern in `patterns`.
    pub fn new(patterns: impl IntoIterator<Item = RoutePattern>) -> Self {
        let mut routes: Vec<_> = patterns.into_iter().enumerate().collect();
        routes.sort_by(|(_, a), (_, b)| a.cmp_specificity(b));
        Self { routes }
    }

    /// The most specific route that matches `path` (without its query).
    pub fn route<'p>(&self, path: &'p str) -> Option<RouteMatch<'p>> {
        self.routes.iter().find_map(|(index, pattern)| {
            let matched = pattern.matches(path)?;
            Some(RouteMatch {
                index: *index,
                ..matched
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(routes: &[&str], path: &str, expected: Option<(&str, &str)>) {
        let patterns: Vec<_> = routes
            .iter()
            .map(|r| RoutePattern::parse(r).unwrap())
            .collect();
        let router = Router::new(patterns);
        let found = router.route(path).map(|m| (routes[m.index], m.path_info));
        assert_eq!(found, expected, "{path} in {routes:?}");
    }

    #[test]
    fn the_most_specific_route_wins() {
        let routes = ["/...", "/a/...", "/a/b/...", "/a/:x", "/a/b", "/:x/b", "/"];
        for (path, expected) in [
            ("/", Some(("/", ""))),
            ("/a/b", Some(("/a/b", ""))),
            ("/a/c", Some(("/a/:x", ""))),
            ("/c/b", Some(("/:x/b", ""))),
            ("/a", Some(("/a/...", ""))),
            ("/a/b/c", Some(("/a/b/...", "/c"))),
            ("/a/c/d", Some(("/a/...", "/c/d"))),
            ("/z/z", Some(("/...", "/z/z"))),
        ] {
            check(&routes, path, expected);
        }
    }

    #[test]
    fn paths_match_whole_segments_and_ignore_a_trailing_slash() {
        for (route, path, expected) in [
            ("/a", "/a/", Some(("/a", ""))),
            ("/a", "/ab", None),
            ("/a", "/a/b", None),
            ("/a", "/A", None),
            ("/a/...", "/ab", None),
            ("/a/...", "/a/", Some(("/a/...", "/"))),
            ("/a/...", "/a/b/", Some(("/a/...", "/b/"))),
            ("/a/*", "/a/b", Some(("/a/*", "/b"))),
            ("/...", "/", Some(("/...", "/"))),
            ("/:x", "/", None),
            ("/:x/...", "/v", Some(("/:x/...", ""))),
        ] {
            check(&[route], path, expected);
        }
    }

    #[test]
    fn named_segments_are_captured() {
        let router = Router::new([RoutePattern::parse("/users/:id/files/:file").unwrap()]);
        let matched = router.route("/users/7/files/a.txt").unwrap();
        let expected = vec![("id".to_owned(), "7"), ("file".to_owned(), "a.txt")];
        assert_eq!(matched.captures, expected);
    }

    #[test]
    fn malformed_routes_are_refused() {
        for (route, expected) in [
            ("/.../a", RouteError::Wildcard),
            ("/:", RouteError::Name),
            ("/:a b", RouteError::Name),
            ("/.well-known/spin/x", RouteError::Reserved),
            ("/.well-known/spin", RouteError::Reserved),
        ] {
            assert_eq!(RoutePattern::parse(route), Err(expected), "{route}");
        }
    }

    #[test]
    fn routes_that_match_the_same_paths_are_duplicates() {
        let parse = |route| RoutePattern::parse(route).unwrap();
        assert!(parse("/:a/b").same_paths(&parse("/:b/b/")));
        assert!(!parse("/a").same_paths(&parse("/b")));
        assert!(!parse("/a").same_paths(&parse("/a/...")));
    }
}
