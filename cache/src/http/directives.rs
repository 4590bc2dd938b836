//! Splits `Cache-Control` into directives (RFC 9111 §5.2): names, and arguments that may be
//! tokens or quoted strings, with commas inside the quotes.

use std::borrow::Cow;

/// Each directive: its name as written, and its argument without quotes.
pub(super) fn directives(value: &str) -> impl Iterator<Item = (&str, Option<Cow<'_, str>>)> {
    let mut rest = value;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (one, after) = split_at_comma(rest);
        rest = after;
        Some(directive(one))
    })
    .filter(|(name, _)| !name.is_empty())
}

/// The text up to the first comma outside quotes, and what follows the comma.
fn split_at_comma(text: &str) -> (&str, &str) {
    let mut in_quotes = false;
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_quotes => is_escaped = true,
            b'"' => in_quotes = !in_quotes,
            b',' if !in_quotes => return (&text[..at], &text[at + 1..]),
            _ => {}
        }
    }
    (text, "")
}

fn directive(text: &str) -> (&str, Option<Cow<'_, str>>) {
    match text.split_once('=') {
        None => (text.trim(), None),
        Some((name, argument)) => (name.trim(), Some(unquoted(argument.trim()))),
    }
}

/// A quoted string's content (RFC 9110 §5.6.4); anything else as it is.
fn unquoted(text: &str) -> Cow<'_, str> {
    let inner = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    match inner {
        None => Cow::Borrowed(text),
        Some(inner) if !inner.contains('\\') => Cow::Borrowed(inner),
        Some(inner) => {
            let mut is_escaped = false;
            let kept = inner.chars().filter(|&c| {
                is_escaped = c == '\\' && !is_escaped;
                !is_escaped
            });
            Cow::Owned(kept.collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn directives_are_split() {
        let check = |value: &str, expected: &[(&str, Option<&str>)]| {
            let found: Vec<_> = directives(value).collect();
            let found: Vec<_> = found.iter().map(|(n, a)| (*n, a.as_deref())).collect();
            assert_eq!(found, expected, "{value}");
        };
        check("", &[]);
        check(" , ,", &[]);
        check("no-store", &[("no-store", None)]);
        check(
            "max-age=5 , Public",
            &[("max-age", Some("5")), ("Public", None)],
        );
        check(
            r#"private="a, b", max-age="5""#,
            &[("private", Some("a, b")), ("max-age", Some("5"))],
        );
        check(r#"x="a\"\\b",y"#, &[("x", Some(r#"a"\b"#)), ("y", None)]);
        check(r#"x="open, y"#, &[("x", Some("\"open, y"))]);
    }

    proptest! {
        #[test]
        fn any_value_is_split_without_a_panic(value in ".*", tricky in "[a\",=\\\\ é]{0,12}") {
            let _ = directives(&value).count();
            let _ = directives(&tricky).count();
        }
    }
}
