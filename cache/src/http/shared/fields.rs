//! The header fields of one message.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Most field lines of a response that is stored.
pub const MAX_FIELDS: usize = 256;
/// Most bytes of the names and values of a response that is stored.
pub const MAX_FIELD_BYTES: usize = 64 * 1024;

/// Field lines in their order (RFC 9110 §5.3): lower-case names, and values as received.
///
/// Values are bytes, because a field may hold more than ASCII (RFC 9110 §5.5). What the caller's
/// HTTP library let through is taken as it is; what a store gives back is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(String, Bytes)>")]
pub struct Fields(Vec<(String, Bytes)>);

impl Fields {
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// The first line of that name; `None` if there is none or it is no text in UTF-8. For fields
    /// that have one value. Names are lower-case here and in all functions that look for one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name)
            .next()
            .and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The combined value (RFC 9110 §5.3): all lines of that name, joined by commas.
    pub fn joined_bytes(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let mut lines = self.all(name);
        let first = lines.next()?;
        let Some(second) = lines.next() else {
            return Some(Cow::Borrowed(first));
        };
        let mut joined = first.to_vec();
        for line in std::iter::once(second).chain(lines) {
            joined.extend_from_slice(b", ");
            joined.extend_from_slice(line);
        }
        Some(Cow::Owned(joined))
    }

    /// The combined value as text. What is not UTF-8 is replaced by U+FFFD, so that one broken
    /// member of a list does not hide the others, `no-store` among them.
    pub fn joined(&self, name: &str) -> Option<Cow<'_, str>> {
        self.joined_bytes(name).map(|value| match value {
            Cow::Borrowed(value) => String::from_utf8_lossy(value),
            Cow::Owned(value) => Cow::Owned(String::from_utf8_lossy(&value).into_owned()),
        })
    }

    /// The members of the combined value, trimmed, for fields that are lists of tokens.
    pub(super) fn tokens(&self, name: &str) -> impl Iterator<Item = &str> {
        self.all(name)
            .filter_map(|value| std::str::from_utf8(value).ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|token| !token.is_empty())
    }

    /// Every line of that name.
    pub fn all<'f>(&'f self, name: &str) -> impl Iterator<Item = &'f Bytes> {
        self.0
            .iter()
            .filter(move |(field, _)| field == name)
            .map(|(_, value)| value)
    }

    /// Whether there is a line of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|(field, _)| field == name)
    }

    /// Adds a line after those that are there.
    pub fn append(&mut self, name: &str, value: impl Into<Bytes>) {
        self.0.push((name.to_ascii_lowercase(), value.into()));
    }

    /// Puts one line in the place of all of that name.
    pub fn insert(&mut self, name: &str, value: impl Into<Bytes>) {
        self.remove(&name.to_ascii_lowercase());
        self.append(name, value);
    }

    /// Adds a line with the first value that `name` has in `from`, under another name.
    pub(super) fn copy_first(&mut self, from: &Self, name: &str, under: &str) {
        if let Some(value) = from.all(name).next() {
            self.append(under, value.clone());
        }
    }

    /// Drops every line of that name.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(field, _)| field != name);
    }

    /// Every line: name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The number of lines.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no line.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lines of the names for which `keeps` holds.
    pub(super) fn filtered(&self, keeps: impl Fn(&str) -> bool) -> Self {
        let lines = self.0.iter().filter(|(name, _)| keeps(name));
        Self(lines.cloned().collect())
    }

    /// Whether these fields are within [`MAX_FIELDS`] and [`MAX_FIELD_BYTES`].
    pub fn fit(&self) -> bool {
        let bytes: usize = self
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        self.len() <= MAX_FIELDS && bytes <= MAX_FIELD_BYTES
    }
}

impl<N: AsRef<str>, V: Into<Bytes>> FromIterator<(N, V)> for Fields {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(lines: I) -> Self {
        let lines = lines.into_iter();
        Self(
            lines
                .map(|(name, value)| (name.as_ref().to_ascii_lowercase(), value.into()))
                .collect(),
        )
    }
}

/// Why stored lines are no fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldsError {
    /// More or longer lines than are ever stored.
    #[error("the fields are above the limits of {MAX_FIELDS} lines and {MAX_FIELD_BYTES} bytes")]
    TooLarge,
    /// A name that is no lower-case token, or a value with control characters: whoever sends it
    /// on would send fields that nobody wrote.
    #[error("a field's name or value has bytes that are not allowed")]
    NotAllowed,
}

impl TryFrom<Vec<(String, Bytes)>> for Fields {
    type Error = FieldsError;

    fn try_from(lines: Vec<(String, Bytes)>) -> Result<Self, FieldsError> {
        let fields = Self(lines);
        if !fields.fit() {
            return Err(FieldsError::TooLarge);
        }
        let is_allowed = |(name, value): (&str, &Bytes)| is_name(name) && is_value(value);
        if !fields.iter().all(is_allowed) {
            return Err(FieldsError::NotAllowed);
        }
        Ok(fields)
    }
}

/// RFC 9110 §5.1, in lower case.
fn is_name(name: &str) -> bool {
    let is_token = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
    };
    !name.is_empty() && name.bytes().all(is_token)
}

/// RFC 9110 §5.5: no control character but the tab.
fn is_value(value: &[u8]) -> bool {
    value
        .iter()
        .all(|byte| *byte == b'\t' || !byte.is_ascii_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_name_are_one_value() {
        let check = |rule: &str, lines: &[(&str, &[u8])], expected: Option<&str>| {
            let lines = lines.iter().map(|(name, value)| (name, value.to_vec()));
            let fields: Fields = lines.collect();
            assert_eq!(fields.joined("a").as_deref(), expected, "{rule}");
        };
        let rule =
            "9110 5.2: \"concatenated in order, with each field line value separated by a comma\"";
        check(
            rule,
            &[("A", b"1"), ("b", b"2"), ("a", b"3, 4")],
            Some("1, 3, 4"),
        );
        check(rule, &[("A", b"1")], Some("1"));
        check(rule, &[("a", b""), ("a", b"x")], Some(", x"));
        check("absent is not empty", &[("b", b"1")], None);
        check("absent is not empty", &[("a", b"")], Some(""));
        check(
            "broken text hides nothing",
            &[("a", b"\xff, x")],
            Some("\u{fffd}, x"),
        );
        check(
            "broken text hides nothing",
            &[("a", b"\xff"), ("a", b"x")],
            Some("\u{fffd}, x"),
        );
    }

    #[test]
    fn lines_are_replaced_and_removed_by_name() {
        let mut fields: Fields = [("A", "1"), ("b", "2"), ("a", "3")].into_iter().collect();
        fields.insert("A", "4");
        let lines: Vec<_> = fields
            .iter()
            .map(|(name, value)| (name, &value[..]))
            .collect();
        assert_eq!(lines, [("b", &b"2"[..]), ("a", b"4")]);
        fields.remove("b");
        assert!(!fields.contains("b") && fields.get("a") == Some("4"));
        fields.insert("a", &b"\xff"[..]);
        assert_eq!(fields.get("a"), None, "no text");
    }

    #[test]
    fn limits_are_inclusive() {
        let check = |lines: usize, bytes: usize, expected: bool| {
            let mut fields: Fields = (1..lines).map(|_| ("a", "")).collect();
            fields.append("b", vec![b'x'; bytes - lines]);
            assert_eq!(fields.fit(), expected, "{lines} lines, {bytes} bytes");
        };
        check(MAX_FIELDS, MAX_FIELD_BYTES, true);
        check(MAX_FIELDS + 1, MAX_FIELD_BYTES, false);
        check(MAX_FIELDS, MAX_FIELD_BYTES + 1, false);
    }

    #[test]
    fn stored_lines_are_checked() {
        let check = |name: &str, value: &str, expected: bool| {
            let lines = vec![(name.to_owned(), Bytes::copy_from_slice(value.as_bytes()))];
            assert_eq!(Fields::try_from(lines).is_ok(), expected, "{name}: {value}");
        };
        check("content-type", "text/plain;\tcharset=é", true);
        check("Content-Type", "text/plain", false);
        check("", "x", false);
        check("a b", "x", false);
        check("a:", "x", false);
        check("a", "x\r\nset-cookie: y", false);
        check("a", "x\0", false);
        let many = vec![("a".to_owned(), Bytes::new()); MAX_FIELDS + 1];
        assert_eq!(Fields::try_from(many), Err(FieldsError::TooLarge));
    }
}
