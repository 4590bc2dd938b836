//! The `spin-*` headers that a component finds in its request, as under Spin.

use std::net::SocketAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue, Uri,
    header::{CONNECTION, HOST},
    request::Parts,
    uri::Authority,
};

use super::router::{RouteMatch, RoutePattern};

const PATH_INFO: HeaderName = HeaderName::from_static("spin-path-info");
const FULL_URL: HeaderName = HeaderName::from_static("spin-full-url");
const MATCHED_ROUTE: HeaderName = HeaderName::from_static("spin-matched-route");
const BASE_PATH: HeaderName = HeaderName::from_static("spin-base-path");
const RAW_COMPONENT_ROUTE: HeaderName = HeaderName::from_static("spin-raw-component-route");
const COMPONENT_ROUTE: HeaderName = HeaderName::from_static("spin-component-route");
const CLIENT_ADDR: HeaderName = HeaderName::from_static("spin-client-addr");

/// The headers that depend on the route only, made once.
#[derive(Clone, Debug)]
pub(super) struct RouteHeaders {
    raw: HeaderValue,
    prefix: HeaderValue,
}

impl RouteHeaders {
    pub(super) fn new(route: &RoutePattern) -> Self {
        Self {
            raw: value(route.raw()),
            prefix: value(route.prefix()),
        }
    }

    /// For a component that is called by its name, not through a route.
    pub(super) fn any() -> Self {
        Self {
            raw: HeaderValue::from_static("/..."),
            prefix: HeaderValue::from_static(""),
        }
    }

    /// Sets all headers; what a client sent under these names is replaced.
    pub(super) fn set(&self, parts: &mut Parts, matched: &RouteMatch<'_>, client: SocketAddr) {
        let full_url = full_url(&parts.uri, &parts.headers);
        let headers = &mut parts.headers;
        headers.insert(PATH_INFO, value(matched.path_info));
        headers.insert(FULL_URL, full_url);
        headers.insert(MATCHED_ROUTE, self.raw.clone());
        headers.insert(BASE_PATH, HeaderValue::from_static("/"));
        headers.insert(RAW_COMPONENT_ROUTE, self.raw.clone());
        headers.insert(COMPONENT_ROUTE, self.prefix.clone());
        headers.insert(CLIENT_ADDR, value(&client.to_string()));
        for (name, captured) in &matched.captures {
            let name = format!("spin-path-match-{}", name.to_ascii_lowercase());
            // Names in routes are checked, so this is always a header name.
            if let Ok(name) = HeaderName::try_from(name) {
                headers.insert(name, value(captured));
            }
        }
    }
}

/// Gives the URI the authority that HTTP/1.1 carries in `Host`: components see it there.
pub(super) fn set_authority(parts: &mut Parts) {
    if parts.uri.authority().is_some() {
        return;
    }
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = host.and_then(|host| host.parse::<Authority>().ok());
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    uri.authority = Some(authority.unwrap_or_else(|| Authority::from_static("localhost")));
    uri.scheme = Some(http::uri::Scheme::HTTP);
    // A relative URI has a path, and with scheme and authority it is complete.
    parts.uri = Uri::from_parts(uri).unwrap_or_default();
}

/// Drops the fields that `Connection` names: they are about the connection that the message came
/// through (RFC 9110 §7.6.1). Components never see `Connection` itself, so they could not.
pub(super) fn end_connection_fields(headers: &mut HeaderMap) {
    let lines = headers.get_all(CONNECTION).iter();
    let named: Vec<HeaderName> = lines
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
}

fn full_url(uri: &Uri, headers: &HeaderMap) -> HeaderValue {
    let scheme = uri.scheme_str().unwrap_or("http");
    let host = uri
        .authority()
        .map(Authority::as_str)
        .or_else(|| headers.get(HOST)?.to_str().ok())
        .unwrap_or("localhost");
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    value(&format!("{scheme}://{host}{path}"))
}

/// Parts of a URI and of the manifest are visible ASCII or UTF-8, both allowed in a value.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text)
        .or_else(|_| HeaderValue::from_bytes(text.as_bytes()))
        .unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::guest::router::Router;

    #[test]
    fn what_connection_names_ends_with_the_connection() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-One"),
            ("connection", "x-two,, not a name"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-two", "3"),
            ("x-three", "4"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        end_connection_fields(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["connection", "x-three"]);
    }

    #[test]
    fn a_component_finds_the_headers_that_spin_sets() {
        let route = RoutePattern::parse("/users/:id/...").unwrap();
        let router = Router::new([route.clone()]);
        let matched = router.route("/users/7/a").unwrap();
        let request = Request::get("/users/7/a?b=c")
            .header("host", "edge.example")
            .header("spin-client-addr", "forged")
            .body(())
            .unwrap();
        let (mut parts, ()) = request.into_parts();
        set_authority(&mut parts);
        let client = "127.0.0.1:5000".parse().unwrap();
        RouteHeaders::new(&route).set(&mut parts, &matched, client);
        for (name, expected) in [
            ("spin-path-info", "/a"),
            ("spin-full-url", "http://edge.example/users/7/a?b=c"),
            ("spin-matched-route", "/users/:id/..."),
            ("spin-base-path", "/"),
            ("spin-raw-component-route", "/users/:id/..."),
            ("spin-component-route", "/users/:id"),
            ("spin-client-addr", "127.0.0.1:5000"),
            ("spin-path-match-id", "7"),
        ] {
            assert_eq!(parts.headers[name], expected, "{name}");
        }
        assert_eq!(parts.uri.host(), Some("edge.example"));
    }
}
