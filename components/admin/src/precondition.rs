//! `If-Match` (RFC 9110 §13.1.1): a change is made only to what the operator has seen.

use brink_cache::http::{EntityTag, IfNoneMatch};
use brink_gateway::error::shorten;
use brink_gateway::head::Head;
use http::StatusCode;

use crate::problem::{Problem, Wrong};

/// Holds the field against the version in force; `None` where nothing is stored.
///
/// # Errors
/// 412 for another version, 400 for a field that cannot be read.
pub(crate) fn check(head: &Head<'_>, version: Option<&str>) -> Result<(), Problem> {
    // Several fields are one list (RFC 9110 §5.3). What is no UTF-8 matches nothing.
    let fields: Vec<_> = head
        .get_all("if-match")
        .map(String::from_utf8_lossy)
        .collect();
    if fields.is_empty() {
        return Ok(());
    }
    holds(&fields.join(","), version)
}

fn holds(value: &str, version: Option<&str>) -> Result<(), Problem> {
    let is_met = match list(value)? {
        IfNoneMatch::Any => version.is_some(),
        IfNoneMatch::Tags(tags) => version.is_some_and(|opaque| {
            let current = EntityTag {
                is_weak: false,
                opaque,
            };
            tags.iter().any(|tag| tag.matches_strongly(&current))
        }),
    };
    if is_met {
        return Ok(());
    }
    let current = version.map_or("nothing is stored".to_owned(), |version| {
        format!("in force is \"{version}\"")
    });
    let problem = format!("is {}; {current}", shorten(value));
    Err(Problem {
        status: StatusCode::PRECONDITION_FAILED,
        name: "precondition-failed",
        title: "Something else is in force than the request expects; nothing was changed",
        ..Problem::invalid(Wrong::field("if-match", problem).value(value))
    })
}

/// Both fields have one grammar; they differ in what follows from a match.
fn list(value: &str) -> Result<IfNoneMatch<'_>, Problem> {
    IfNoneMatch::parse(value).ok_or_else(|| {
        let problem = format!(
            "is {}; \"*\" or versions in quotes are wanted",
            shorten(value)
        );
        Problem::invalid(Wrong::field("if-match", problem))
    })
}

/// The value of `ETag`.
pub(crate) fn etag(version: &str) -> String {
    format!("\"{version}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_operator_has_seen_is_changed() {
        let check = |field: Option<&str>, version: Option<&str>, expected: Result<(), u16>| {
            let wire = field.map_or("PUT /".to_owned(), |field| {
                format!("PUT /\nif-match: {field}")
            });
            let head = Head::parse(wire.as_bytes()).unwrap();
            let found = super::check(&head, version).map_err(|problem| problem.status.as_u16());
            assert_eq!(found, expected, "{field:?} {version:?}");
        };
        check(None, None, Ok(()));
        check(None, Some("a"), Ok(()));
        check(Some("*"), Some("a"), Ok(()));
        check(Some("*"), None, Err(412));
        check(Some("\"a\""), Some("a"), Ok(()));
        check(Some("\"b\", \"a\""), Some("a"), Ok(()));
        check(Some("\"b\""), Some("a"), Err(412));
        check(Some("\"a\""), None, Err(412));
        check(Some("W/\"a\""), Some("a"), Err(412));
        check(Some("a"), Some("a"), Err(400));
        check(Some(""), Some("a"), Err(400));
    }
}
