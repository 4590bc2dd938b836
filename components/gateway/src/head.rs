//! The head of a request, seen without copying it, whichever door it came through.

use http::HeaderMap;

/// Method, target and headers of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// The method, as sent: methods are case-sensitive (RFC 9110 §9.1).
    pub method: &'a str,
    /// The path, without the query.
    pub path: &'a str,
    /// The query, without its question mark.
    pub query: Option<&'a str>,
    /// Header names in lower case, and values. Requests have a dozen: a list beats a map.
    fields: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Head<'a> {
    /// The head of a request that came through `wasi:http`.
    pub fn new(
        method: &'a str,
        path: &'a str,
        query: Option<&'a str>,
        headers: &'a HeaderMap,
    ) -> Self {
        let fields = headers
            .iter()
            .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        Self {
            method,
            path,
            query,
            fields: fields.collect(),
        }
    }

    /// Reads the form that `brink:edge/fast` takes. `None` for anything else.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut lines = Lines(Some(bytes));
        let (method, target) = std::str::from_utf8(lines.next()?).ok()?.split_once(' ')?;
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let mut fields = Vec::with_capacity(16);
        for line in lines {
            let colon = memchr::memchr(b':', line)?;
            fields.push((&line[..colon], line[colon + 1..].strip_prefix(b" ")?));
        }
        Some(Self {
            method,
            path,
            query,
            fields,
        })
    }

    /// Every field: its name in lower case, and its value.
    pub fn fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + '_ {
        self.fields.iter().copied()
    }

    /// All values of a header, in order. `name` is in lower case.
    pub fn get_all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let name = name.as_bytes();
        let named = move |(field, value): &(&[u8], &'a [u8])| (*field == name).then_some(*value);
        self.fields.iter().filter_map(named)
    }

    /// The first value of a header, if it is visible ASCII, as values of interest here are.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        let value = self.get_all(name).next()?;
        let visible = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~');
        let text = std::str::from_utf8(value).ok()?;
        value.iter().all(visible).then_some(text)
    }
}

/// Lines between line feeds, like `slice::split`, with a faster search.
struct Lines<'a>(Option<&'a [u8]>);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0?;
        let end = memchr::memchr(b'\n', rest);
        self.0 = end.map(|end| &rest[end + 1..]);
        Some(end.map_or(rest, |end| &rest[..end]))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_forms_give_the_same_head() {
        let mut headers = HeaderMap::new();
        headers.append("host", HeaderValue::from_static("edge.example"));
        headers.append("cache-control", HeaderValue::from_static("no-cache"));
        headers.append("cache-control", HeaderValue::from_static(""));
        let wire = b"POST /v1/embeddings?a=b\nhost: edge.example\ncache-control: no-cache\ncache-control: ";
        let parsed = Head::parse(wire).unwrap();
        assert_eq!(
            parsed,
            Head::new("POST", "/v1/embeddings", Some("a=b"), &headers)
        );
        assert_eq!(parsed.get("host"), Some("edge.example"));
        assert_eq!(parsed.get_all("cache-control").count(), 2);
        assert_eq!(parsed.get("missing"), None);
    }

    #[test]
    fn values_that_are_no_visible_ascii_are_not_text() {
        let head = Head::parse(b"GET /\nx: \xff\ny: \x01").unwrap();
        assert_eq!((head.get("x"), head.get("y")), (None, None));
        assert_eq!(head.get_all("x").next(), Some(b"\xff".as_slice()));
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for bytes in [
            &b""[..],
            b"GET",
            b"GET /\n",
            b"GET /\nname",
            b"GET /\nname:value",
            b"\xff /",
        ] {
            assert_eq!(Head::parse(bytes), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes: Vec<u8>) {
            let _ = Head::parse(&bytes);
        }
    }
}
