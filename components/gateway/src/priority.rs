//! `Priority` (RFC 9218): how urgent a request is among those of its tenant.
//!
//! Of the two parameters only the urgency means something here: no answer is delivered in pieces.

use brink_protocol::infer::{DEFAULT_URGENCY, LEAST_URGENCY};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use crate::head::Head;

/// The urgency that a request asks for. A field that is malformed is as if it were not there, and so is
/// a value out of range (RFC 9218 §4): it is a wish, and its mistakes are no errors.
pub fn urgency(head: &Head<'_>) -> u8 {
    let mut values = head.get_all("priority").peekable();
    if values.peek().is_none() {
        return DEFAULT_URGENCY;
    }
    // All fields of the name are one (RFC 9110 §5.3).
    let field = values.collect::<Vec<_>>().join(&b", "[..]);
    let wishes = Parser::new(&field).parse::<Dictionary>();
    let wanted = wishes.as_ref().ok().and_then(|wishes| wishes.get("u"));
    wanted.and_then(level).unwrap_or(DEFAULT_URGENCY)
}

fn level(member: &ListEntry) -> Option<u8> {
    let ListEntry::Item(item) = member else {
        return None;
    };
    let BareItem::Integer(value) = &item.bare_item else {
        return None;
    };
    let level = u8::try_from(i64::from(*value)).ok()?;
    (level <= LEAST_URGENCY).then_some(level)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(fields: &str) -> u8 {
        let wire = format!("POST /v1/embeddings{fields}");
        urgency(&Head::parse(wire.as_bytes()).unwrap())
    }

    #[test]
    fn urgency_is_read_and_what_is_malformed_ignored() {
        let check = |value: &str, expected: u8| {
            assert_eq!(of(&format!("\npriority: {value}")), expected, "{value}");
        };
        check("u=0", 0);
        check("u=7, i", 7);
        check("i, u=1;x=y", 1);
        check("u=1, u=5", 5);
        for ignored in [
            "", "u", "u=8", "u=-1", "u=1.0", "u=\"1\"", "u=(1)", "U=1", "u=1,", "é",
        ] {
            check(ignored, DEFAULT_URGENCY);
        }
        assert_eq!(of(""), DEFAULT_URGENCY);
        assert_eq!(of("\npriority: i\npriority: u=6"), 6, "they are one field");
    }

    proptest! {
        #[test]
        fn any_field_is_read_without_a_panic(value in "[^\n]*") {
            let _ = of(&format!("\npriority: {value}"));
        }
    }
}
