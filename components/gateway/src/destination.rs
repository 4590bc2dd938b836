//! Where a request goes: to a route of this edge, or to an origin behind it.

use brink_cache::policy::ToOrigin;

use crate::error::ApiError;
use crate::head::Head;
use crate::in_force::InForce;
use crate::route::{Items, Route};

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination<'a> {
    /// To a route of this edge.
    Own(Route),
    /// To an origin of the policy.
    Origin(ToOrigin<'a>),
}

impl InForce {
    /// Where a request goes. Texts that an origin writes are asked of it, also where a model of this edge could.
    /// For the rest, below `/v1/` the routes of this edge go first, with any method: an origin there
    /// cannot take `/v1/embeddings` over by answering PUT. Elsewhere origins do: names such as `/health` or
    /// `/info` are those of many services, and an operator who puts one behind the edge means it.
    ///
    /// # Errors
    /// 404 for a path of nobody, 405 for a method that a route does not have, 400 for a path that an
    /// origin could resolve to another one.
    pub fn destination<'a>(&'a self, head: &Head<'a>) -> Result<Destination<'a>, ApiError> {
        let own = Route::find(head.method, head.path);
        let is_known = !matches!(&own, Err(error) if error.code == ApiError::UNKNOWN_ROUTE);
        let are_texts = matches!(&own, Ok(Route::Items(Items::Chat | Items::Completion)));
        if is_known && head.path.starts_with("/v1/") && !are_texts {
            return own.map(Destination::Own);
        }
        match self.policy().route_to_origin(head.path) {
            Ok(Some(to)) => self.to_origin(head, to),
            Ok(None) => own.map(Destination::Own),
            Err(refusal) => Err(ApiError::path_refused(refusal)),
        }
    }

    /// Browsers send no key with a preflight, so an edge that asks for keys answers it itself; another
    /// one leaves CORS to the origin.
    fn to_origin<'a>(
        &self,
        head: &Head<'_>,
        to: ToOrigin<'a>,
    ) -> Result<Destination<'a>, ApiError> {
        let is_preflight =
            head.method == "OPTIONS" && head.get("access-control-request-method").is_some();
        Ok(match is_preflight && self.takes_api_keys() {
            true => Destination::Own(Route::Preflight),
            false => Destination::Origin(to),
        })
    }
}

#[cfg(test)]
mod tests {
    use brink_cache::{Policy, Tenant, TenantLimits, Tenants};

    use super::*;
    use crate::in_force::{KnownMarks, Tenancy};

    const POLICY: &str = r#"
        version = 1
        [[rule]]
        name = "all"
        fresh = "1m"
        [[origin]]
        name = "rest"
        path = "/v1/"
        upstream = "http://127.0.0.1:1/"
    "#;

    fn in_force(tenancy: Tenancy) -> InForce {
        let policy = Policy::parse(POLICY).unwrap();
        InForce::new(policy, KnownMarks::default(), tenancy)
    }

    fn where_to(in_force: &InForce, head: &str) -> String {
        let head = Head::parse(head.as_bytes()).unwrap();
        match in_force.destination(&head) {
            Ok(Destination::Own(route)) => format!("{route:?}"),
            Ok(Destination::Origin(to)) => format!("{}: {}", to.origin.name, to.rest),
            Err(error) => error.code.to_owned(),
        }
    }

    #[test]
    fn own_routes_go_first_and_the_rest_to_origins() {
        let open = in_force(Tenancy::Open);
        let check = |head: &str, expected: &str| {
            assert_eq!(where_to(&open, head), expected, "{head}");
        };
        check("POST /v1/embeddings", "Items(Embeddings(Post))");
        check("PUT /v1/embeddings", "method_not_allowed");
        check("GET /v1/models", "Models");
        check("POST /v1/chat/completions", "rest: chat/completions");
        check("GET /v1/../admin", "path_refused");
        check("GET /elsewhere", "unknown_route");
        check("GET /v2/health/live", "Served(Live)");
        check("PUT /v2", "method_not_allowed");
    }

    #[test]
    fn outside_of_v1_origins_go_first() {
        let triton = POLICY.replace("/v1/", "/v2/");
        let policy = Policy::parse(&triton).unwrap();
        let in_force = InForce::new(policy, KnownMarks::default(), Tenancy::Open);
        for (head, expected) in [
            ("POST /v2/models/m/infer", "rest: models/m/infer"),
            ("PUT /v2/models/m/infer", "rest: models/m/infer"),
            ("GET /v2", "Served(Server)"),
            ("POST /v1/classify", "Items(Classify)"),
        ] {
            assert_eq!(where_to(&in_force, head), expected, "{head}");
        }
    }

    #[test]
    fn preflights_are_answered_here_only_where_keys_are_asked_for() {
        let preflight =
            "OPTIONS /v1/files\norigin: https://a.example\naccess-control-request-method: PUT";
        let tenant = Tenant {
            name: "a".to_owned(),
            key_hashes: Vec::new(),
            limits: TenantLimits::default(),
        };
        let keys = Tenancy::Keys(Tenants::new(vec![tenant]).unwrap());
        assert_eq!(where_to(&in_force(keys), preflight), "Preflight");
        assert_eq!(where_to(&in_force(Tenancy::Open), preflight), "rest: files");
        assert_eq!(
            where_to(&in_force(Tenancy::Closed), "OPTIONS /v1/files"),
            "rest: files"
        );
    }
}
