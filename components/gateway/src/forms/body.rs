//! JSON bodies, read strictly: every mistake names the member and what is expected of it, and repeats nothing that was
//! sent.

use serde::Deserialize;

use crate::error::ApiError;
use crate::json_error::{reason, unknown_field};

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
    match unknown_field(error) {
        Some(name) => ApiError::invalid(shorten_path(&name), message),
        None => ApiError::invalid_json(format!("the body is no valid request: {message}")),
    }
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
