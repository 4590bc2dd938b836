//! `Cache-Groups` and `Cache-Group-Invalidation` (RFC 9875): stored responses that go together.
//!
//! Both fields are Lists of Strings. Groups belong to one origin: whoever compares them
//! compares origins (and, here, scopes) too.

use sfv::{BareItem, List, ListEntry, Parser};

/// Most groups that are read from a field; RFC 9875 §2 asks for at least 32.
pub const MAX_GROUPS: usize = 64;
/// Longest name of a group, in characters; RFC 9875 §2 asks for at least 32.
pub const MAX_GROUP_LENGTH: usize = 128;

/// The groups that a response belongs to, from `Cache-Groups`. Further and longer ones than the
/// limits allow are left out; a field that is no List of Strings counts as absent.
pub fn groups(value: &str) -> Vec<String> {
    let Ok(members) = Parser::new(value).parse::<List>() else {
        return Vec::new();
    };
    let names: Option<Vec<String>> = members.iter().map(name).collect();
    let names = names.unwrap_or_default().into_iter();
    names
        .filter(|name| name.len() <= MAX_GROUP_LENGTH)
        .take(MAX_GROUPS)
        .collect()
}

/// The value of `Cache-Groups` for these groups, of which only visible ASCII is written; `None` for
/// none at all.
pub fn written(groups: &[String]) -> Option<String> {
    let mut value = String::new();
    for group in groups.iter().take(MAX_GROUPS) {
        let separator = if value.is_empty() { "\"" } else { ", \"" };
        value.push_str(separator);
        for letter in group.chars().filter(|letter| (' '..='~').contains(letter)) {
            // RFC 9651 §4.1.6
            if matches!(letter, '"' | '\\') {
                value.push('\\');
            }
            value.push(letter);
        }
        value.push('"');
    }
    (!value.is_empty()).then_some(value)
}

/// The groups that a response to a request of this method invalidates, from
/// `Cache-Group-Invalidation`. None for safe methods: were a GET able to invalidate, any page
/// could make a browser do it.
pub fn invalidated_groups(method: &str, value: &str) -> Vec<String> {
    if is_safe(method) {
        Vec::new()
    } else {
        groups(value)
    }
}

/// The methods that RFC 9110 §9.2.1 and RFC 10008 call safe.
pub(super) fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "QUERY")
}

/// Parameters are ignored (RFC 9875 §2).
fn name(member: &ListEntry) -> Option<String> {
    match member {
        ListEntry::Item(item) => match &item.bare_item {
            BareItem::String(name) => Some(name.as_str().to_owned()),
            _ => None,
        },
        ListEntry::InnerList(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn written_groups_are_read_back(names in prop::collection::vec("[ -~]{0,20}", 0..6)) {
            let value = written(&names);
            prop_assert_eq!(value.is_none(), names.is_empty());
            prop_assert_eq!(groups(&value.unwrap_or_default()), names);
        }
    }

    #[test]
    fn groups_are_read() {
        let check = |rule: &str, value: &str, expected: &[&str]| {
            assert_eq!(groups(value), expected, "{value}: {rule}");
        };
        let rule = "9875 2: \"a List of Strings\"";
        check(rule, "\"scripts\"", &["scripts"]);
        check(rule, "\"a\", \"b c\",\t\"A\"", &["a", "b c", "A"]);
        check(rule, "", &[]);
        for broken in ["a", "\"a\", b", "\"a\",", "\"a", "(\"a\")", "5", "\"é\""] {
            check(
                "9651 1: a field that is not of its type is ignored as a whole",
                broken,
                &[],
            );
        }
        check(
            "9875 2: unrecognized parameters are ignored",
            "\"a\";x=1",
            &["a"],
        );
    }

    #[test]
    fn limits_are_wider_than_the_rfc_asks_for() {
        let many: Vec<_> = (0..100).map(|index| format!("\"{index:032}\"")).collect();
        assert_eq!(groups(&many.join(", ")).len(), MAX_GROUPS);
        let long = format!("\"{}\", \"short\"", "x".repeat(MAX_GROUP_LENGTH + 1));
        assert_eq!(groups(&long), ["short"]);
    }

    #[test]
    fn only_unsafe_requests_invalidate() {
        // RFC 9875 §3: the field is ignored on responses to requests that have a safe method.
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY"] {
            assert_eq!(invalidated_groups(method, "\"a\""), [""; 0], "{method}");
        }
        for method in ["POST", "PUT", "DELETE", "PATCH", "UNKNOWN"] {
            assert_eq!(invalidated_groups(method, "\"a\""), ["a"], "{method}");
        }
    }

    proptest! {
        #[test]
        fn any_value_is_read_without_a_panic(value in ".*") {
            groups(&value);
        }
    }
}
