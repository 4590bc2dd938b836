//! Which of the operator's routes a request asks for.

use brink_cache::policy::limits::MAX_SOURCE_BYTES as MAX_POLICY_BYTES;
use brink_cache::tenant::MAX_SOURCE_BYTES as MAX_TENANTS_BYTES;
use brink_gateway::error::shorten;
use http::StatusCode;

use crate::problem::{Problem, Wrong};

/// Most bytes of a purge's body: a request for embeddings to be purged may be in it.
pub const MAX_PURGE_BYTES: usize = 1024 * 1024;

/// What an operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `GET /admin/policy`
    ShowPolicy,
    /// `PUT /admin/policy`
    PutPolicy,
    /// `DELETE /admin/policy`
    DropPolicy,
    /// `GET /admin/tenants`
    ShowTenants,
    /// `PUT /admin/tenants`
    PutTenants,
    /// `DELETE /admin/tenants`
    DropTenants,
    /// `GET /admin/purge`
    ShowMarks,
    /// `POST /admin/purge`
    Purge,
    /// `GET /admin/audit`
    ShowAudit,
}

/// Methods of a route and what they do, and the value of `Allow`.
type Methods = (&'static [(&'static str, Route)], &'static str);

impl Route {
    /// Finds the route, or says what is wrong: 404 for the path, 405 for the method.
    pub(crate) fn find(method: &str, path: &str) -> Result<Self, Problem> {
        let (methods, allow): Methods = match path {
            "/admin/policy" => (
                &[
                    ("GET", Self::ShowPolicy),
                    ("PUT", Self::PutPolicy),
                    ("DELETE", Self::DropPolicy),
                ],
                "GET, HEAD, PUT, DELETE",
            ),
            "/admin/tenants" => (
                &[
                    ("GET", Self::ShowTenants),
                    ("PUT", Self::PutTenants),
                    ("DELETE", Self::DropTenants),
                ],
                "GET, HEAD, PUT, DELETE",
            ),
            "/admin/purge" => (
                &[("GET", Self::ShowMarks), ("POST", Self::Purge)],
                "GET, HEAD, POST",
            ),
            "/admin/audit" => (&[("GET", Self::ShowAudit)], "GET, HEAD"),
            _ => return Err(unknown(path)),
        };
        let sought = if method == "HEAD" { "GET" } else { method };
        let found = methods.iter().find(|(name, _)| *name == sought);
        found
            .map(|(_, route)| *route)
            .ok_or_else(|| wrong_method(method, allow))
    }

    /// Most bytes of its body; zero where a body means nothing and is not read.
    pub fn max_body_bytes(self) -> usize {
        match self {
            Self::PutPolicy => MAX_POLICY_BYTES,
            Self::PutTenants => MAX_TENANTS_BYTES,
            Self::Purge => MAX_PURGE_BYTES,
            Self::ShowPolicy
            | Self::DropPolicy
            | Self::ShowTenants
            | Self::DropTenants
            | Self::ShowMarks
            | Self::ShowAudit => 0,
        }
    }
}

fn unknown(path: &str) -> Problem {
    let detail = format!(
        "There is no route {}; the routes are /admin/policy, /admin/tenants, /admin/purge and /admin/audit.",
        shorten(path)
    );
    Problem::new(
        StatusCode::NOT_FOUND,
        "unknown-route",
        "There is no such route",
        detail,
    )
}

fn wrong_method(method: &str, allow: &'static str) -> Problem {
    let problem = format!("is {}, which is not allowed here", shorten(method));
    let wrong = Wrong::field("the method", problem).limit(allow);
    Problem {
        status: StatusCode::METHOD_NOT_ALLOWED,
        name: "method-not-allowed",
        title: "The route has no such method",
        ..Problem::invalid(wrong)
    }
    .with("allow", allow)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_methods_are_told_apart() {
        let check = |method: &str, path: &str, expected: Result<Route, u16>| {
            let found = Route::find(method, path).map_err(|problem| problem.status.as_u16());
            assert_eq!(found, expected, "{method} {path}");
        };
        check("GET", "/admin/policy", Ok(Route::ShowPolicy));
        check("HEAD", "/admin/policy", Ok(Route::ShowPolicy));
        check("PUT", "/admin/policy", Ok(Route::PutPolicy));
        check("DELETE", "/admin/tenants", Ok(Route::DropTenants));
        check("POST", "/admin/purge", Ok(Route::Purge));
        check("GET", "/admin/audit", Ok(Route::ShowAudit));
        check("POST", "/admin/policy", Err(405));
        check("get", "/admin/policy", Err(405));
        check("DELETE", "/admin/audit", Err(405));
        check("OPTIONS", "/admin/purge", Err(405));
        check("GET", "/admin", Err(404));
        check("GET", "/admin/policy/", Err(404));
    }

    #[test]
    fn wrong_method_names_the_right_ones() {
        let problem = Route::find("PATCH", "/admin/purge").unwrap_err();
        assert_eq!(problem.header, Some(("allow", "GET, HEAD, POST")));
        assert!(problem.detail.contains("PATCH"), "{}", problem.detail);
    }
}
