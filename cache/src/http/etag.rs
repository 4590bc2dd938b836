//! Entity tags and `If-None-Match` (RFC 9110 §8.8.3 and §13.1.2).

/// A validator of a representation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityTag<'a> {
    /// Equal weak tags mean "as good as the same", not "the same bytes".
    pub is_weak: bool,
    /// What stands between the quotes.
    pub opaque: &'a str,
}

/// What a client has, as `If-None-Match` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfNoneMatch<'a> {
    /// `*`: any representation.
    Any,
    /// One of these.
    Tags(Vec<EntityTag<'a>>),
}

impl<'a> EntityTag<'a> {
    /// Reads a whole field value; `None` if it is no entity tag.
    pub fn parse(value: &'a str) -> Option<Self> {
        let (tag, rest) = Self::take(value.trim())?;
        rest.is_empty().then_some(tag)
    }

    /// Reads the tag that a text begins with, and gives what follows it. `W/` is case-sensitive.
    fn take(text: &'a str) -> Option<(Self, &'a str)> {
        let (is_weak, quoted) = match text.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, text),
        };
        let (opaque, rest) = quoted.strip_prefix('"')?.split_once('"')?;
        // etagc = %x21 / %x23-7E / obs-text
        let is_allowed = |byte: u8| byte == 0x21 || (0x23..=0x7e).contains(&byte) || byte >= 0x80;
        opaque
            .bytes()
            .all(is_allowed)
            .then_some((Self { is_weak, opaque }, rest))
    }

    /// Whether both are the same bytes: equal, and neither is weak.
    pub fn matches_strongly(&self, other: &EntityTag<'_>) -> bool {
        !self.is_weak && !other.is_weak && self.opaque == other.opaque
    }

    /// Whether one may stand for the other.
    pub fn matches_weakly(&self, other: &EntityTag<'_>) -> bool {
        self.opaque == other.opaque
    }
}

impl<'a> IfNoneMatch<'a> {
    /// Reads the field. `None` if it is malformed; the request then counts as unconditional,
    /// which costs a body and is never wrong.
    pub fn parse(value: &'a str) -> Option<Self> {
        let mut rest = value.trim();
        if rest == "*" {
            return Some(Self::Any);
        }
        let mut tags = Vec::new();
        while !rest.is_empty() {
            // Empty list elements are allowed (RFC 9110 §5.6.1.2).
            if let Some(after) = rest.strip_prefix(',') {
                rest = after.trim_start();
                continue;
            }
            let (tag, after) = EntityTag::take(rest)?;
            tags.push(tag);
            rest = after.trim_start();
            if !rest.is_empty() && !rest.starts_with(',') {
                return None;
            }
        }
        (!tags.is_empty()).then_some(Self::Tags(tags))
    }

    /// Whether the client has what is stored, so that 304 (for GET and HEAD) answers it.
    /// `stored` is the stored response's tag, if it has one.
    pub fn has(&self, stored: Option<&EntityTag<'_>>) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => {
                stored.is_some_and(|stored| tags.iter().any(|tag| tag.matches_weakly(stored)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tags_are_compared_as_the_rfc_s_table_says() {
        // RFC 9110 §8.8.3.2, the example table.
        let check = |one: &str, other: &str, strong: bool, weak: bool| {
            let tag = |text| EntityTag::parse(text).unwrap();
            let (a, b) = (tag(one), tag(other));
            assert_eq!(a.matches_strongly(&b), strong, "{one} {other}");
            assert_eq!(a.matches_weakly(&b), weak, "{one} {other}");
        };
        check("W/\"1\"", "W/\"1\"", false, true);
        check("W/\"1\"", "W/\"2\"", false, false);
        check("W/\"1\"", "\"1\"", false, true);
        check("\"1\"", "\"1\"", true, true);
    }

    #[test]
    fn what_is_no_tag_is_refused() {
        for value in [
            "",
            "1",
            "\"1",
            "1\"",
            "w/\"1\"",
            "W/1",
            "\"a b\"",
            "\"a\"b",
            "\"a\", \"b\"",
            "W/ \"1\"",
        ] {
            assert_eq!(EntityTag::parse(value), None, "{value}");
        }
        assert_eq!(EntityTag::parse(" \"\" ").map(|tag| tag.opaque), Some(""));
    }

    #[test]
    fn condition_uses_the_weak_comparison() {
        let check = |rule: &str, value: &str, stored: Option<&str>, expected: Option<bool>| {
            let stored = stored.map(|text| EntityTag::parse(text).unwrap());
            let found = IfNoneMatch::parse(value).map(|condition| condition.has(stored.as_ref()));
            assert_eq!(found, expected, "{value}: {rule}");
        };
        let rule = "9110 13.1.2: \"A recipient MUST use the weak comparison function when comparing entity tags for If-None-Match\"";
        check(rule, "\"a\"", Some("\"a\""), Some(true));
        check(rule, "W/\"a\"", Some("\"a\""), Some(true));
        check(rule, "\"b\", W/\"a\"", Some("W/\"a\""), Some(true));
        check(rule, "\"b\"", Some("\"a\""), Some(false));
        check(rule, "\"a,b\" ,\"c\"", Some("\"a,b\""), Some(true));
        check(rule, "\"a\"", None, Some(false));
        let rule = "9110 13.1.2: \"If the field value is \"*\", the condition is false if the origin server has a current representation\"";
        check(rule, "*", Some("\"a\""), Some(true));
        check(
            "9110 5.6.1.2: empty list elements",
            ", \"a\",,",
            Some("\"a\""),
            Some(true),
        );
        for malformed in ["", ",", "a", "\"a\" \"b\"", "*, \"a\"", "\"a\", b"] {
            check("malformed: unconditional", malformed, Some("\"a\""), None);
        }
    }

    proptest! {
        #[test]
        fn any_value_is_read_without_a_panic(value in ".*", tricky in "[W/\"a,* é]{0,12}") {
            let _ = IfNoneMatch::parse(&value);
            let _ = IfNoneMatch::parse(&tricky);
            let _ = EntityTag::parse(&tricky);
        }
    }
}
