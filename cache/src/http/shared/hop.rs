//! What ends at this hop: fields that are only about the connection (RFC 9110 §7.6.1), and the
//! `Via` that this hop adds (§7.6.3).
//!
//! A field that `Connection` names is gone for upstream, so it must be gone for the cache too: its
//! rules are asked about the fields that these functions give, or a client could choose one
//! response and have it stored as another.

use super::fields::Fields;

/// What this cache is called in `Via`: a pseudonym, so that no host's name is told.
pub const PSEUDONYM: &str = "brink-edge";

/// Removed whether or not `Connection` names them. `TE` with all its members: trailers are not
/// passed on. `Trailer` itself is about the message and stays.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// The fields of a request that go upstream. `Host` is the caller's to set.
pub fn forwardable_request(fields: &Fields) -> Fields {
    end_to_end(fields)
}

/// The fields of a response that go to clients and into the store (RFC 9111 §3.1).
pub fn forwardable_response(fields: &Fields) -> Fields {
    end_to_end(fields)
}

fn end_to_end(fields: &Fields) -> Fields {
    let named: Vec<_> = fields
        .tokens("connection")
        .map(str::to_ascii_lowercase)
        .collect();
    fields.filtered(|name| !HOP_BY_HOP.contains(&name) && !named.iter().any(|named| named == name))
}

/// The value of `Via` for a message that arrived with that value and in that version of HTTP, such
/// as `1.1` or `2`.
pub fn via(existing: Option<&str>, version: &str) -> String {
    match existing.map(str::trim).filter(|value| !value.is_empty()) {
        Some(existing) => format!("{existing}, {version} {PSEUDONYM}"),
        None => format!("{version} {PSEUDONYM}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_of_the_connection_go_no_further() {
        let check = |rule: &str, lines: &[(&str, &str)], expected: &[&str]| {
            let fields: Fields = lines.iter().map(|(n, v)| (n, v.to_string())).collect();
            let kept =
                |fields: &Fields| fields.iter().map(|(n, _)| n.to_owned()).collect::<Vec<_>>();
            assert_eq!(
                kept(&forwardable_request(&fields)),
                expected,
                "request: {rule}"
            );
            assert_eq!(
                kept(&forwardable_response(&fields)),
                expected,
                "response: {rule}"
            );
        };
        let rule = "9110 7.6.1: \"remove any header or trailer field(s) from the message with the same name \
                    as the connection-option, and then remove the Connection header field itself\"";
        check(
            rule,
            &[("Connection", "close, X-a"), ("x-A", "1"), ("x-b", "2")],
            &["x-b"],
        );
        check(
            rule,
            &[
                ("connection", "x-a"),
                ("connection", "X-B"),
                ("x-b", "2"),
                ("c", "3"),
            ],
            &["c"],
        );
        check(
            rule,
            &[("connection", ",, x-a ,"), ("x-a", "1"), ("x-a", "2")],
            &[],
        );
        let rule = "9110 7.6.1: \"intermediaries SHOULD remove or replace fields that are known to require \
                    removal before forwarding, whether or not they appear as a connection-option\"";
        for name in [
            "Proxy-Connection",
            "Keep-Alive",
            "TE",
            "Transfer-Encoding",
            "Upgrade",
        ] {
            check(rule, &[(name, "x"), ("a", "1")], &["a"]);
        }
        let rule = "9111 3.1: \"Header fields that are specific to the proxy that a cache uses when forwarding \
                    a request MUST NOT be stored\"";
        for name in [
            "Proxy-Authenticate",
            "Proxy-Authentication-Info",
            "Proxy-Authorization",
        ] {
            check(rule, &[(name, "x")], &[]);
        }
        check(
            "7540 3.2.1: HTTP2-Settings is a \"connection-specific header field\"",
            &[("HTTP2-Settings", "x")],
            &[],
        );
        let rule = "9111 3.1: \"Caches MUST include all received response header fields — including unrecognized ones\"";
        check(
            rule,
            &[("x-new", "1"), ("trailer", "x"), ("set-cookie", "a")],
            &["x-new", "trailer", "set-cookie"],
        );
    }

    #[test]
    fn via_grows_at_its_end() {
        let rule = "9110 7.6.3: \"Each intermediary appends its own information about how the message was received\"";
        let check = |existing, version, expected: &str| {
            assert_eq!(via(existing, version), expected, "{rule}");
        };
        check(None, "1.1", "1.1 brink-edge");
        check(Some(" "), "2", "2 brink-edge");
        check(Some("1.0 fred"), "1.1", "1.0 fred, 1.1 brink-edge");
    }

    proptest! {
        /// Nothing is left to remove, and nothing else than a removal happens.
        #[test]
        fn removal_is_complete(lines in prop::collection::vec(("connection|[a-c]|te|upgrade", "[a-c, é]{0,6}"), 0..8)) {
            let fields: Fields = lines.into_iter().collect();
            let once = forwardable_request(&fields);
            prop_assert_eq!(&forwardable_request(&once), &once);
            prop_assert!(once.iter().all(|line| fields.iter().any(|other| other == line)));
        }
    }
}
