//! What an origin may say.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::num::NonZeroU16;

use super::Check;
use crate::file::shown;
use crate::policy::limits::{
    JSON_TASKS, MAX_JSON_ROUTES, MAX_ORIGIN_TIMEOUT, MAX_ORIGINS, MAX_PATH_BYTES,
    MAX_UPSTREAM_BYTES, MIN_ORIGIN_TIMEOUT,
};
use crate::policy::origin::{JsonRoute, Origin};
use crate::policy::path;

/// Paths that the edge itself answers; nobody may take them from it.
const ADMIN: &str = "/admin/";

/// What a path is made of, for messages.
const SEGMENTS: &str =
    "of letters, digits and -._~!$&'()*+,;=:@ between single slashes, without dot segments";

impl Check {
    pub(super) fn origins(&mut self, origins: &[Origin]) {
        if origins.len() > MAX_ORIGINS {
            let count = origins.len();
            let problem = format!("has {count} origins; at most {MAX_ORIGINS} are allowed");
            self.add("origin", problem);
            return;
        }
        let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
        for (index, origin) in origins.iter().enumerate() {
            self.at("origin", index, &origin.name);
            self.name("name", &origin.name);
            if !names.insert(&origin.name) {
                let problem = format!("is {}, as of an earlier origin", shown(&origin.name));
                self.add("name", problem);
            }
            self.prefix(&origin.path);
            if !paths.insert(&origin.path) {
                let problem = format!("is {}, as of an earlier origin", shown(&origin.path));
                self.add("path", problem);
            }
            self.upstream(&origin.upstream);
            let (least, most) = (MIN_ORIGIN_TIMEOUT, MAX_ORIGIN_TIMEOUT);
            self.duration("timeout", origin.timeout, least, most);
            self.json_routes(origin, origins);
        }
        self.place = None;
    }

    fn prefix(&mut self, path: &str) {
        if path.starts_with(ADMIN) {
            let shown = shown(path);
            self.add("path", format!("is {shown}; {ADMIN:?} is the edge's own"));
        } else if path.len() > MAX_PATH_BYTES || !path::is_prefix(path) {
            let problem = format!(
                "is {}; wanted: up to {MAX_PATH_BYTES} bytes that begin and end with /, {SEGMENTS}",
                shown(path)
            );
            self.add("path", problem);
        }
    }

    /// A URL with a user name or a query is not repeated: it may hold a secret.
    fn upstream(&mut self, url: &str) {
        if url.len() <= MAX_UPSTREAM_BYTES && is_http_url(url) {
            return;
        }
        let found = if url.contains(['@', '?', '#']) {
            "has @, ? or #".to_owned()
        } else {
            format!("is {}", shown(url))
        };
        let problem = format!(
            "{found}; wanted: up to {MAX_UPSTREAM_BYTES} bytes such as \"http://127.0.0.1:8080/\", with http or \
             https, a path that ends with /, {SEGMENTS}, and no user name, query or fragment"
        );
        self.add("upstream", problem);
    }

    fn json_routes(&mut self, origin: &Origin, origins: &[Origin]) {
        self.count("json", origin.json.len(), MAX_JSON_ROUTES);
        let mut paths = BTreeSet::new();
        for (route, number) in origin.json.iter().zip(1usize..) {
            let key = format!("json.{number}.path");
            if !paths.insert(&route.path) {
                let problem = format!("is {}, as of an earlier route", shown(&route.path));
                self.add(&key, problem);
            } else if let Some(nearer) = nearer(origin, route, origins) {
                let problem = format!(
                    "is never reached: origin {:?} has the longer path {}",
                    nearer.name,
                    shown(&nearer.path)
                );
                self.add(&key, problem);
            }
            self.json_route(route, number);
        }
    }

    fn json_route(&mut self, route: &JsonRoute, number: usize) {
        let JsonRoute { path, task, items } = route;
        if path.len() > MAX_PATH_BYTES || !path::is_plain(path) {
            let problem = format!(
                "is {}; wanted: 1 to {MAX_PATH_BYTES} bytes that do not begin with /, {SEGMENTS}",
                shown(path)
            );
            self.add(&format!("json.{number}.path"), problem);
        }
        if !JSON_TASKS.contains(&task.as_str()) {
            let problem = format!("is {}; one of {JSON_TASKS:?} is wanted", shown(task));
            self.add(&format!("json.{number}.task"), problem);
        } else if items.is_some() && task != "embed" {
            let problem = format!("has no meaning for the task {task:?}, only for \"embed\"");
            self.add(&format!("json.{number}.items"), problem);
        }
    }
}

/// Another origin to which requests for this route would go.
fn nearer<'o>(origin: &Origin, route: &JsonRoute, origins: &'o [Origin]) -> Option<&'o Origin> {
    let takes_it = |other: &&Origin| {
        let below = other.path.strip_prefix(&*origin.path);
        below.is_some_and(|below| !below.is_empty() && route.path.starts_with(below))
    };
    origins.iter().find(takes_it)
}

/// Whether a text is an absolute URL of the form that upstreams have (RFC 9110 §4.2): scheme,
/// host, perhaps a port, and a path that is a prefix.
fn is_http_url(url: &str) -> bool {
    let rest = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"));
    let Some((authority, path)) = rest.and_then(|rest| rest.split_at_checked(rest.find('/')?))
    else {
        return false;
    };
    is_authority(authority) && path::is_prefix(path)
}

/// Host and port (RFC 3986 §3.2), without a user name.
fn is_authority(authority: &str) -> bool {
    let bracketed = authority.strip_prefix('[');
    let (host_is_fine, port) = match bracketed.and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (address.parse::<Ipv6Addr>().is_ok(), port),
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            (is_host(&authority[..end]), &authority[end..])
        }
    };
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<NonZeroU16>().is_ok()
    };
    host_is_fine && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

/// A name or an IPv4 address.
fn is_host(host: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    host.starts_with(|first: char| first.is_ascii_alphanumeric()) && host.bytes().all(is_allowed)
}
