//! The opening handshake (RFC 6455 §4.2), read and checked. Pure.
//!
//! Browsers cannot set header fields, so an API key may come as a subprotocol: `brink.v1, bearer.<API key>`. The
//! answer names `brink.v1` alone.

use http::header::{
    AUTHORIZATION, CONNECTION, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};

/// The subprotocol of docs/websocket.md.
pub(super) const PROTOCOL: &str = "brink.v1";
const BEARER: &str = "bearer.";

/// A proper handshake.
#[derive(Debug)]
pub(super) struct Handshake {
    /// The client's key, of which the answer's is made.
    pub(super) key: String,
    /// Whether the client asked for [`PROTOCOL`]; if so, it is named in the answer.
    pub(super) names_protocol: bool,
    /// Who asks, as the field of the same name.
    pub(super) authorization: Option<HeaderValue>,
    /// `Sec-WebSocket-Extensions`, if the client also asked for compression in the URL: browsers always offer it, and
    /// it costs hundreds of kilobytes.
    pub(super) compression: Option<String>,
}

/// What is wrong with a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HandshakeFault {
    /// Another method than GET.
    #[error("a WebSocket is opened with GET")]
    Method,
    /// A request as any other, or one that came over HTTP/2.
    #[error("this path answers WebSockets only: send \"Upgrade: websocket\" over HTTP/1.1")]
    NoUpgrade,
    /// A version of the protocol that nobody speaks.
    #[error("Sec-WebSocket-Version is not 13")]
    Version,
    /// The key is not 16 bytes in base64.
    #[error("Sec-WebSocket-Key is not 16 bytes in base64")]
    Key,
    /// Only subprotocols that are not spoken here.
    #[error("Sec-WebSocket-Protocol names no protocol that is spoken here; brink.v1 is")]
    Protocol,
    /// A subprotocol `bearer.` that holds no key.
    #[error("the subprotocol \"bearer.\" holds no API key")]
    Bearer,
    /// Two credentials, of which none may be picked.
    #[error("an API key came both in \"Authorization\" and as a subprotocol; send one")]
    TwoKeys,
}

impl HandshakeFault {
    /// The status. No `_` arm: a new fault needs one.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoUpgrade | Self::Version => StatusCode::UPGRADE_REQUIRED,
            Self::Key | Self::Protocol | Self::Bearer | Self::TwoKeys => StatusCode::BAD_REQUEST,
        }
    }
}

/// Reads a handshake.
pub(super) fn read(parts: &Parts) -> Result<Handshake, HandshakeFault> {
    if parts.method != Method::GET {
        return Err(HandshakeFault::Method);
    }
    let headers = &parts.headers;
    let upgrades = has_token(headers, &CONNECTION, "upgrade");
    if parts.version != Version::HTTP_11 || !upgrades || !has_token(headers, &UPGRADE, "websocket")
    {
        return Err(HandshakeFault::NoUpgrade);
    }
    if headers
        .get(SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        return Err(HandshakeFault::Version);
    }
    let protocols = protocols(headers)?;
    let given = headers.get(AUTHORIZATION).cloned();
    let authorization = match (given, protocols.bearer) {
        (Some(_), Some(_)) => return Err(HandshakeFault::TwoKeys),
        (given, bearer) => given.or(bearer),
    };
    let wants_compression = parts.uri.query().is_some_and(|query| {
        let mut pairs = query.split('&');
        pairs.any(|pair| pair == "compress=1")
    });
    Ok(Handshake {
        key: key(headers)?,
        names_protocol: protocols.named,
        authorization,
        compression: wants_compression.then(|| joined(headers, &SEC_WEBSOCKET_EXTENSIONS)),
    })
}

#[derive(Default)]
struct Protocols {
    named: bool,
    bearer: Option<HeaderValue>,
}

fn protocols(headers: &HeaderMap) -> Result<Protocols, HandshakeFault> {
    let mut found = Protocols::default();
    let all = joined(headers, &SEC_WEBSOCKET_PROTOCOL);
    let mut any = false;
    for protocol in all
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
    {
        any = true;
        if protocol == PROTOCOL {
            found.named = true;
        } else if let Some(token) = protocol.strip_prefix(BEARER) {
            let value = HeaderValue::try_from(format!("Bearer {token}"));
            let value = value.ok().filter(|_| !token.is_empty());
            let mut value = value.ok_or(HandshakeFault::Bearer)?;
            value.set_sensitive(true);
            if found.bearer.replace(value).is_some() {
                return Err(HandshakeFault::TwoKeys);
            }
        }
    }
    if any && !found.named {
        return Err(HandshakeFault::Protocol);
    }
    Ok(found)
}

/// 16 bytes are 22 digits of base64 and two signs of padding.
fn key(headers: &HeaderMap) -> Result<String, HandshakeFault> {
    let key = headers
        .get(SEC_WEBSOCKET_KEY)
        .and_then(|key| key.to_str().ok());
    let key = key.map(str::trim).unwrap_or_default();
    let digits = key.strip_suffix("==").unwrap_or_default();
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
    if digits.len() == 22 && digits.bytes().all(is_digit) {
        Ok(key.to_owned())
    } else {
        Err(HandshakeFault::Key)
    }
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let all = joined(headers, name);
    all.split(',')
        .any(|one| one.trim().eq_ignore_ascii_case(token))
}

fn joined(headers: &HeaderMap, name: &HeaderName) -> String {
    let lines = headers.get_all(name).iter();
    let lines: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
    lines.join(",")
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn parts(more: &[(&str, &str)]) -> Parts {
        let mut request = Request::get("/v1/ws?compress=1");
        let usual = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", KEY),
        ];
        let is_given = |name: &str| more.iter().any(|(given, _)| *given == name);
        for (name, value) in usual.iter().filter(|(name, _)| !is_given(name)).chain(more) {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_key_may_come_as_a_subprotocol() {
        let handshake = read(&parts(&[(
            "sec-websocket-protocol",
            "brink.v1, bearer.sk-1",
        )]))
        .unwrap();
        assert_eq!(handshake.authorization.unwrap(), "Bearer sk-1");
        assert!(handshake.names_protocol);
        let handshake = read(&parts(&[("authorization", "Bearer sk-2")])).unwrap();
        assert_eq!(handshake.authorization.unwrap(), "Bearer sk-2");
        assert!(!handshake.names_protocol);
        assert_eq!(handshake.key, KEY);
    }

    #[test]
    fn compression_is_for_those_who_ask_for_it_in_the_url() {
        let offer = ("sec-websocket-extensions", "permessage-deflate");
        let mut parts = parts(&[offer]);
        let handshake = read(&parts).unwrap();
        assert_eq!(handshake.compression.as_deref(), Some("permessage-deflate"));
        parts.uri = "/v1/ws".parse().unwrap();
        assert_eq!(read(&parts).unwrap().compression, None);
    }

    #[test]
    fn every_fault_is_told() {
        let check = |more: &[(&str, &str)], fault: HandshakeFault| {
            assert_eq!(read(&parts(more)).unwrap_err(), fault, "{more:?}");
        };
        check(&[("connection", "close")], HandshakeFault::NoUpgrade);
        check(&[("upgrade", "h2c")], HandshakeFault::NoUpgrade);
        check(&[("sec-websocket-version", "8")], HandshakeFault::Version);
        check(&[("sec-websocket-key", "short")], HandshakeFault::Key);
        check(
            &[("sec-websocket-protocol", "chat")],
            HandshakeFault::Protocol,
        );
        check(
            &[("sec-websocket-protocol", "bearer.x")],
            HandshakeFault::Protocol,
        );
        check(
            &[("sec-websocket-protocol", "brink.v1, bearer.")],
            HandshakeFault::Bearer,
        );
        let two = [
            ("authorization", "Bearer a"),
            ("sec-websocket-protocol", "brink.v1, bearer.b"),
        ];
        check(&two, HandshakeFault::TwoKeys);
        let mut post = parts(&[]);
        post.method = Method::POST;
        assert_eq!(read(&post).unwrap_err(), HandshakeFault::Method);
        let mut second = parts(&[]);
        second.version = Version::HTTP_2;
        assert_eq!(read(&second).unwrap_err(), HandshakeFault::NoUpgrade);
    }
}
