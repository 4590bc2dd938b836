//! The query of a URL, read strictly: a `dryrun=true` that is ignored would put a policy in force.

use brink_gateway::error::shorten;
use serde_json::Value;

use crate::problem::{Problem, Wrong};

/// The value of the only parameter that a route takes.
///
/// # Errors
/// Another parameter, or this one twice.
fn only<'q>(query: Option<&'q str>, name: &str) -> Result<Option<&'q str>, Problem> {
    let mut found = None;
    let pairs = query.unwrap_or_default().split('&');
    for pair in pairs.filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if key != name {
            let known = if name.is_empty() { "none" } else { name };
            let problem = "is no parameter of this route";
            return Err(wrong(shorten(key), problem, known));
        }
        if found.replace(value).is_some() {
            return Err(wrong(name, "is given twice", "once"));
        }
    }
    Ok(found)
}

/// For routes without parameters.
pub(crate) fn none(query: Option<&str>) -> Result<(), Problem> {
    only(query, "").map(|_| ())
}

/// `dry-run=true`: check, and change nothing.
pub(crate) fn is_dry_run(query: Option<&str>) -> Result<bool, Problem> {
    match only(query, "dry-run")? {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(value) => {
            let problem = format!("is {}; true or false is wanted", shorten(value));
            Err(wrong("dry-run", &problem, "true or false"))
        }
    }
}

/// `limit=N`: at most so many.
pub(crate) fn limit(query: Option<&str>, default: usize, most: usize) -> Result<usize, Problem> {
    let Some(value) = only(query, "limit")? else {
        return Ok(default);
    };
    let number = value
        .parse()
        .ok()
        .filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| {
        let problem = format!(
            "is {}; a whole number from 1 to {most} is wanted",
            shorten(value)
        );
        wrong("limit", &problem, most)
    })
}

fn wrong(name: impl Into<String>, problem: &str, limit: impl Into<Value>) -> Problem {
    Problem::invalid(Wrong::field(name, problem).limit(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_and_others_refused() {
        assert_eq!(is_dry_run(None), Ok(false));
        assert_eq!(is_dry_run(Some("")), Ok(false));
        assert_eq!(is_dry_run(Some("dry-run=true")), Ok(true));
        assert_eq!(limit(Some("limit=7"), 100, 1000), Ok(7));
        assert_eq!(limit(Some("limit=1000"), 100, 1000), Ok(1000));
        assert_eq!(limit(None, 100, 1000), Ok(100));
        assert_eq!(none(Some("&")), Ok(()));
        for wrong in [
            "dry-run",
            "dry-run=1",
            "dryrun=true",
            "dry-run=true&dry-run=true",
        ] {
            let problem = is_dry_run(Some(wrong)).unwrap_err();
            assert_eq!(problem.status.as_u16(), 400, "{wrong}");
        }
        for wrong in ["limit=0", "limit=1001", "limit=-1", "limit=", "limits=1"] {
            assert!(limit(Some(wrong), 100, 1000).is_err(), "{wrong}");
        }
        assert!(none(Some("a=b")).is_err());
    }
}
