//! `allowed_outbound_hosts`: which requests a component may send.
//!
//! The grammar is Spin's: `scheme://host[:port]`, where the scheme may be `*`,
//! the host `*`, `*.example.com`, `self`, an address or a network in CIDR form,
//! and the port `*` or a range `8000..8010` (its end excluded). Without a port
//! the scheme's own is meant. An empty list denies everything.

use std::{net::IpAddr, ops::Range};

use http::{Uri, uri::Scheme};

/// Requests to these hosts go back to the application itself, through its routes.
pub(super) const SELF_HOSTS: [&str; 2] = ["self", "self.alt"];

/// The requests that one component may send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList(Vec<AllowedHost>);

/// One entry of `allowed_outbound_hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHost {
    /// `None`: any scheme.
    scheme: Option<String>,
    host: HostPattern,
    /// `None`: any port.
    ports: Option<Range<u32>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPattern {
    Any,
    /// The application itself.
    ToSelf,
    /// With the leading dot: `.example.com`.
    AnySubdomain(String),
    Domain(String),
    Network {
        address: IpAddr,
        prefix: u8,
    },
}

/// Why an entry of `allowed_outbound_hosts` is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllowError {
    /// No `://`.
    #[error("the form is scheme://host[:port], with * as a wildcard for each")]
    NoScheme,
    /// The scheme holds something else than letters.
    #[error("a scheme is * or consists of letters")]
    Scheme,
    /// The host is not one of the forms.
    #[error("a host is *, *.DOMAIN, self, a domain, an address or a network")]
    Host,
    /// There is a path behind the host.
    #[error("a path is not allowed here")]
    Path,
    /// The port is not one of the forms.
    #[error("a port is *, a number or a range FIRST..END")]
    Port,
    /// No port, and the scheme has none of its own.
    #[error("the scheme has no port of its own, so a port is required")]
    PortRequired,
}

impl AllowList {
    /// A list of parsed entries.
    pub fn new(entries: Vec<AllowedHost>) -> Self {
        Self(entries)
    }

    /// Whether a request to `uri` may leave. A URI without host or port never may.
    pub fn allows(&self, uri: &Uri) -> bool {
        let (Some(scheme), Some(host)) = (uri.scheme(), uri.host()) else {
            return false;
        };
        let Some(port) = effective_port(uri) else {
            return false;
        };
        self.0
            .iter()
            .any(|entry| entry.allows(scheme, host, u32::from(port)))
    }
}

impl AllowedHost {
    /// Parses one entry, after its templates are resolved.
    pub fn parse(entry: &str) -> Result<Self, AllowError> {
        let (scheme, rest) = entry.trim().split_once("://").ok_or(AllowError::NoScheme)?;
        if scheme != "*" && !is_letters(scheme) {
            return Err(AllowError::Scheme);
        }
        let (host, port) = split_port(rest)?;
        let ports = match port {
            Some("*") => None,
            Some(port) => Some(parse_ports(port)?),
            None => {
                let port = own_port(scheme).ok_or(AllowError::PortRequired)?;
                Some(u32::from(port)..u32::from(port) + 1)
            }
        };
        Ok(Self {
            scheme: (scheme != "*").then(|| scheme.to_owned()),
            host: HostPattern::parse(host)?,
            ports,
        })
    }

    fn allows(&self, scheme: &Scheme, host: &str, port: u32) -> bool {
        self.scheme
            .as_deref()
            .is_none_or(|allowed| allowed.eq_ignore_ascii_case(scheme.as_str()))
            && self
                .ports
                .as_ref()
                .is_none_or(|ports| ports.contains(&port))
            && self.host.allows(host)
    }
}

impl HostPattern {
    fn parse(host: &str) -> Result<Self, AllowError> {
        if host == "*" {
            return Ok(Self::Any);
        }
        if SELF_HOSTS.contains(&host) {
            return Ok(Self::ToSelf);
        }
        if let Some((address, prefix)) = parse_network(host) {
            return Ok(Self::Network { address, prefix });
        }
        if host.contains('/') {
            return Err(AllowError::Path);
        }
        let (wildcard, domain) = match host.strip_prefix("*.") {
            Some(domain) => (true, domain),
            None => (false, host),
        };
        if !is_domain(domain) {
            return Err(AllowError::Host);
        }
        let domain = domain.to_ascii_lowercase();
        Ok(if wildcard {
            Self::AnySubdomain(format!(".{domain}"))
        } else {
            Self::Domain(domain)
        })
    }

    fn allows(&self, host: &str) -> bool {
        let host = host.trim_matches(['[', ']']);
        match self {
            Self::Any => true,
            Self::ToSelf => SELF_HOSTS.contains(&host),
            Self::AnySubdomain(suffix) => host.to_ascii_lowercase().ends_with(suffix),
            Self::Domain(domain) => host.eq_ignore_ascii_case(domain),
            Self::Network { address, prefix } => host
                .parse()
                .is_ok_and(|host| same_network(*address, host, *prefix)),
        }
    }
}

/// The port that a request to `uri` goes to.
pub(super) fn effective_port(uri: &Uri) -> Option<u16> {
    uri.port_u16().or_else(|| own_port(uri.scheme_str()?))
}

pub(super) fn own_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        "mqtt" => Some(1883),
        "mysql" => Some(3306),
        "postgres" => Some(5432),
        "redis" => Some(6379),
        _ => None,
    }
}

/// Splits `host[:port][/]`; the host may be an address in brackets.
fn split_port(rest: &str) -> Result<(&str, Option<&str>), AllowError> {
    let rest = rest.trim_end_matches('/');
    if let Some(bracketed) = rest.strip_prefix('[') {
        let (host, tail) = bracketed.split_once(']').ok_or(AllowError::Host)?;
        return match tail.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if tail.is_empty() => Ok((host, None)),
            None => Err(AllowError::Host),
        };
    }
    match rest.split_once(':') {
        Some((host, port)) => Ok((host, Some(port).filter(|port| !port.is_empty()))),
        None => Ok((rest, None)),
    }
}

fn parse_ports(port: &str) -> Result<Range<u32>, AllowError> {
    let number = |text: &str| text.parse::<u16>().map_err(|_| AllowError::Port);
    let (first, end) = match port.split_once("..") {
        Some((first, end)) => (number(first)?, u32::from(number(end)?)),
        None => {
            let port = number(port)?;
            (port, u32::from(port) + 1)
        }
    };
    Ok(u32::from(first)..end)
}

/// An address, or a network as `10.0.0.0/8`.
fn parse_network(host: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = match host.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (host, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        Some(prefix) => prefix.parse().ok().filter(|prefix| *prefix <= bits)?,
        None => bits,
    };
    Some((address, prefix))
}

fn same_network(network: IpAddr, host: IpAddr, prefix: u8) -> bool {
    let prefix = u32::from(prefix);
    match (network, host) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            (a.to_bits() ^ b.to_bits()) & mask == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            (a.to_bits() ^ b.to_bits()) & mask == 0
        }
        _ => false,
    }
}

fn is_letters(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphabetic())
}

fn is_domain(text: &str) -> bool {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    !text.is_empty() && text.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(entry: &str, allowed: &[&str], denied: &[&str]) {
        let list = AllowList::new(vec![AllowedHost::parse(entry).unwrap()]);
        for uri in allowed {
            assert!(list.allows(&uri.parse().unwrap()), "{entry} allows {uri}");
        }
        for uri in denied {
            assert!(!list.allows(&uri.parse().unwrap()), "{entry} denies {uri}");
        }
    }

    #[test]
    fn entries_allow_what_they_name_and_nothing_else() {
        check(
            "http://model.internal",
            &["http://model.internal/x", "http://MODEL.internal:80/"],
            &[
                "https://model.internal/",
                "http://model.internal:81/",
                "http://x.model.internal/",
                "/relative",
            ],
        );
        check(
            "*://*.example.com:8000..8002",
            &[
                "http://a.example.com:8000/",
                "https://a.b.example.com:8001/",
            ],
            &[
                "http://example.com:8000/",
                "http://a.example.com:8002/",
                "http://aexample.com:8000/",
            ],
        );
        check(
            "http://10.0.0.0/8:*",
            &["http://10.200.1.2:99/"],
            &["http://11.0.0.1/", "http://ten.example/"],
        );
        check("http://[::1]:80", &["http://[::1]/"], &["http://[::2]/"]);
        check("http://self", &["http://self.alt/a"], &["http://selfish/"]);
        check("*://*:*", &["http://anything:1/", "https://[::1]/"], &[]);
        check("https://0.0.0.0/0:443", &["https://1.2.3.4/"], &[]);
    }

    #[test]
    fn an_empty_list_denies_everything() {
        let uri = "http://model.internal/".parse().unwrap();
        assert!(!AllowList::default().allows(&uri));
    }

    #[test]
    fn malformed_entries_are_refused_with_a_reason() {
        for (entry, expected) in [
            ("*", AllowError::NoScheme),
            ("model.internal", AllowError::NoScheme),
            ("ht+tp://a", AllowError::Scheme),
            ("http://a/b", AllowError::Path),
            ("http://*a.b", AllowError::Host),
            ("http://", AllowError::Host),
            ("http://a:b", AllowError::Port),
            ("http://a:99999", AllowError::Port),
            ("ftp://a", AllowError::PortRequired),
            ("*://a", AllowError::PortRequired),
        ] {
            assert_eq!(AllowedHost::parse(entry), Err(expected), "{entry}");
        }
    }
}
