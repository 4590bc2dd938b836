//! URIs (RFC 3986) as far as a cache compares them (RFC 9110 §4.2.3).
//!
//! Only what cannot change a URI's meaning is made equal: servers exist that tell `%7E` from `~`
//! and `/a/../b` from `/b`, and a key that merges them would hand out the wrong response.

/// A URI, cut where RFC 3986 appendix B cuts it; without its fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parts<'a> {
    scheme: Option<&'a str>,
    authority: Option<&'a str>,
    path: &'a str,
    /// With its question mark; empty if there is none.
    query: &'a str,
}

impl<'a> Parts<'a> {
    fn of(uri: &'a str) -> Self {
        let uri = uri.split('#').next().unwrap_or_default();
        let (scheme, rest) = match uri.split_once(':') {
            Some((scheme, rest)) if is_scheme(scheme) => (Some(scheme), rest),
            _ => (None, uri),
        };
        let (authority, rest) = match rest.strip_prefix("//") {
            None => (None, rest),
            Some(rest) => {
                let end = rest.find(['/', '?']).unwrap_or(rest.len());
                (Some(&rest[..end]), &rest[end..])
            }
        };
        let (path, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
        Self {
            scheme,
            authority,
            path,
            query,
        }
    }
}

fn is_scheme(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(is_inner)
}

/// The form in which absolute URIs are compared: scheme and host in lower case, no default port, `/`
/// for an empty path, hexadecimal digits of escapes in upper case, no fragment. Everything else, and
/// what is no absolute URI with an authority, stays as it is.
pub fn normalise(uri: &str) -> String {
    let parts = Parts::of(uri);
    let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
        return uri.to_owned();
    };
    let scheme = scheme.to_ascii_lowercase();
    let (userinfo, host) = match authority.rsplit_once('@') {
        Some((userinfo, host)) => (format!("{userinfo}@"), host),
        None => (String::new(), authority),
    };
    let host = normal_host(&scheme, host);
    let path = if parts.path.is_empty() {
        "/"
    } else {
        parts.path
    };
    with_upper_case_escapes(&format!("{scheme}://{userinfo}{host}{path}{}", parts.query))
}

/// Scheme, host and port (RFC 9110 §4.3.1) in the form `https://example.com:8443`; `None` for what
/// has none.
pub fn origin(uri: &str) -> Option<String> {
    let parts = Parts::of(uri);
    let scheme = parts.scheme?.to_ascii_lowercase();
    let authority = parts.authority?;
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let host = normal_host(&scheme, host);
    (!host.is_empty()).then(|| with_upper_case_escapes(&format!("{scheme}://{host}")))
}

/// Host and port in lower case, without the port that goes without saying.
fn normal_host(scheme: &str, host: &str) -> String {
    let host = host.to_ascii_lowercase();
    let default_port = match scheme {
        "http" => "80",
        "https" => "443",
        _ => "",
    };
    match host.rsplit_once(':') {
        // An address of IPv6 has colons of its own, inside brackets.
        Some((name, port))
            if (name.ends_with(']') || !name.contains(':'))
                && (port.is_empty() || port == default_port) =>
        {
            name.to_owned()
        }
        _ => host,
    }
}

fn with_upper_case_escapes(uri: &str) -> String {
    let mut left = 0;
    let upper = |(at, letter): (usize, char)| {
        let mut digits = uri.bytes().skip(at + 1).take(2);
        if letter == '%' && digits.len() == 2 && digits.all(|digit| digit.is_ascii_hexdigit()) {
            left = 2;
            return letter;
        }
        if left == 0 {
            return letter;
        }
        left -= 1;
        letter.to_ascii_uppercase()
    };
    uri.char_indices().map(upper).collect()
}

/// The URI that a reference means beside a base (RFC 3986 §5.2), normalised; `None` if the base is
/// no absolute URI with an authority, or the result is none.
pub fn resolve(base: &str, reference: &str) -> Option<String> {
    let base = Parts::of(base);
    let reference = Parts::of(reference.trim());
    let (Some(base_scheme), Some(base_authority)) = (base.scheme, base.authority) else {
        return None;
    };
    if reference.scheme.is_some() && reference.authority.is_none() {
        return None;
    }
    let scheme = reference.scheme.unwrap_or(base_scheme);
    let is_own = reference.authority.is_some();
    let authority = reference.authority.unwrap_or(base_authority);
    let (path, query) = if is_own || reference.path.starts_with('/') {
        (without_dot_segments(reference.path), reference.query)
    } else if reference.path.is_empty() {
        let is_query = !reference.query.is_empty();
        let query = if is_query {
            reference.query
        } else {
            base.query
        };
        (base.path.to_owned(), query)
    } else {
        let directory = base.path.rfind('/').map_or("/", |end| &base.path[..=end]);
        let merged = format!("{directory}{}", reference.path);
        (without_dot_segments(&merged), reference.query)
    };
    Some(normalise(&format!("{scheme}://{authority}{path}{query}")))
}

/// RFC 3986 §5.2.4, for paths that are empty or begin with a slash.
fn without_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            _ => {
                kept.push(segment);
                continue;
            }
        }
        if is_last {
            kept.push("");
        }
    }
    kept.iter().map(|segment| format!("/{segment}")).collect()
}
