//! JSON bodies, read strictly: every mistake names the member and what is expected of it, and repeats nothing that was
//! sent.

use std::borrow::Cow;

use serde::Deserialize;

use crate::error::{ApiError, shorten};

/// Reads a JSON object.
pub(crate) fn read<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, ApiError> {
    // serde also reads a struct from an array of its members; the APIs do not.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(ApiError::invalid_json(
            "the body is an array; it must be an object",
        ));
    }
    serde_json::from_slice(body).map_err(|_| explain::<T>(body))
}

/// Reads a body that is known to be wrong once more, this time keeping track of where. The
/// common, correct body does not pay for that.
fn explain<'de, T: Deserialize<'de>>(body: &'de [u8]) -> ApiError {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Err(error) => {
            let path = error.path().to_string();
            at(&path, &error.into_inner())
        }
        Ok(_) => ApiError::invalid_json("the body has more after the end of the JSON object"),
    }
}

fn at(path: &str, error: &serde_json::Error) -> ApiError {
    let message = reason(error);
    // Names of members are the client's words, too.
    let path = shorten_path(path);
    if path != "." && path != "?" && error.is_data() {
        return ApiError::invalid(&*path, format!("{path}: {message}"));
    }
    match unknown_member(error) {
        Some(name) => ApiError::invalid(shorten_path(&name), message),
        None => ApiError::invalid_json(format!("the body is no valid request: {message}")),
    }
}

/// What is wrong and where, without what was sent: serde's own message quotes the value.
///
/// Its words are taken apart here, since it gives nothing else. What it quotes may hold any words, and what it expects
/// comes after them, and is ours: so only the last part of a message is ever told, and its first words
/// choose among sentences.
pub(crate) fn reason(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    let told = error.to_string();
    // Absent where an error was made outside of the text.
    let place = format!(" at line {line} column {column}");
    let told = told.strip_suffix(&place).unwrap_or(&told);
    let what = if error.is_data() {
        without_values(told)
    } else {
        told.into()
    };
    match line {
        0 => what.into_owned(),
        _ => format!("{what} at line {line} column {column}"),
    }
}

fn without_values(told: &str) -> Cow<'_, str> {
    const QUOTED: [&str; 3] = ["invalid type: ", "invalid value: ", "unknown variant "];
    if let Some(name) = unknown_field(told) {
        let name = shorten(name);
        return match expected(told) {
            Some(expected) => format!("unknown field {name}, expected {expected}").into(),
            None => format!("unknown field {name}").into(),
        };
    }
    let Some(kind) = QUOTED.into_iter().find(|kind| told.starts_with(kind)) else {
        // What is missing or there twice is a member of ours, and all other words are ours as well.
        return told.into();
    };
    let given = given(&told[kind.len()..]);
    match expected(told) {
        Some(expected) => format!("it is {given}, expected {expected}").into(),
        None => format!("it is {given}, which is not allowed").into(),
    }
}

/// What was sent, by its kind.
fn given(quoted: &str) -> &'static str {
    const KINDS: [(&str, &str); 7] = [
        ("string", "a string"),
        ("integer", "a whole number"),
        ("floating point", "a number with a fraction"),
        ("boolean", "a boolean"),
        ("null", "null"),
        ("sequence", "an array"),
        ("map", "an object"),
    ];
    let found = KINDS.iter().find(|(begin, _)| quoted.starts_with(begin));
    found.map_or("something else", |(_, kind)| kind)
}

/// The end of a message, which tells what is expected, in words of JSON.
fn expected(told: &str) -> Option<&str> {
    let (_, expected) = told.rsplit_once(", expected ")?;
    Some(match expected {
        "u8" => "a whole number from 0 to 255",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" => "a whole number from 0 to 18446744073709551615",
        other => other,
    })
}

fn unknown_field(told: &str) -> Option<&str> {
    let rest = told.strip_prefix("unknown field `")?;
    let end = rest
        .rfind("`, expected ")
        .or_else(|| rest.rfind("`, there "))?;
    Some(&rest[..end])
}

fn unknown_member(error: &serde_json::Error) -> Option<String> {
    unknown_field(&error.to_string()).map(str::to_owned)
}

/// A path is cut to a few words, like all that a client chooses.
fn shorten_path(path: &str) -> String {
    const LONGEST: usize = 64;
    match path.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &path[..end]),
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        #[serde(rename = "name")]
        _name: Option<String>,
        #[serde(rename = "count")]
        _count: Option<u8>,
        #[serde(rename = "kind")]
        _kind: Option<Kind>,
        #[serde(rename = "list")]
        _list: Option<Vec<Asked>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        One,
        Other,
    }

    fn refusal(body: &str) -> ApiError {
        read::<Asked>(body.as_bytes()).expect_err(body)
    }

    #[test]
    fn mistakes_are_told_by_place_and_kind() {
        let check = |body: &str, param: Option<&str>, message: &str| {
            let error = refusal(body);
            assert_eq!(error.param.as_deref(), param, "{body}");
            assert_eq!(error.message, message, "{body}");
        };
        check(
            r#"{"name":1}"#,
            Some("name"),
            "name: it is a whole number, expected a string at line 1 column 9",
        );
        check(
            r#"{"list":[{"count":"x"}]}"#,
            Some("list[0].count"),
            "list[0].count: it is a string, expected a whole number from 0 to 255 at line 1 column 21",
        );
        check(
            r#"{"count":300}"#,
            Some("count"),
            "count: it is a whole number, expected a whole number from 0 to 255 at line 1 column 12",
        );
        check(
            r#"{"kind":"three"}"#,
            Some("kind"),
            "kind: it is something else, expected `one` or `other` at line 1 column 15",
        );
        check(
            r#"{"nam":1}"#,
            Some("nam"),
            "nam: unknown field \"nam\", expected one of `name`, `count`, `kind`, `list` at line 1 column 6",
        );
        check(
            r#"{"name":"a""#,
            None,
            "the body is no valid request: EOF while parsing an object at line 1 column 11",
        );
    }

    #[test]
    fn nothing_that_was_sent_is_told() {
        let secret = "my secret, expected a string at line 1";
        for body in [
            format!(r#"{{"count":"{secret}"}}"#),
            format!(r#"{{"kind":"{secret}"}}"#),
            format!(r#"{{"list":"{secret}"}}"#),
            format!(r#"{{"list":["{secret}"]}}"#),
            format!(r#"{{"list":[{{"count":["{secret}"]}}]}}"#),
            format!(r#"{{"name":"{secret}"#),
            format!(r#"{{"name":"{secret}"}}"{secret}""#),
            format!(r#""{secret}""#),
        ] {
            let message = refusal(&body).message;
            assert!(!message.contains("secret"), "{body}: {message}");
        }
    }

    #[test]
    fn names_of_members_are_cut() {
        let long = "x".repeat(100_000);
        for body in [
            format!(r#"{{"{long}":1}}"#),
            format!(r#"{{"list":[{{"{long}":1}}]}}"#),
        ] {
            let error = refusal(&body);
            assert!(error.message.len() < 512, "{}", error.message);
            assert!(error.param.is_none_or(|param| param.len() < 128));
        }
    }

    proptest! {
        #[test]
        fn no_text_is_told(text in "[a-z`, :]{8,20}") {
            for body in [
                serde_json::json!({"count": text}),
                serde_json::json!({"kind": text}),
                serde_json::json!({"list": [{"list": text}]}),
            ] {
                let message = refusal(&body.to_string()).message;
                prop_assert!(!message.contains(&text), "{}", message);
            }
        }
    }
}
