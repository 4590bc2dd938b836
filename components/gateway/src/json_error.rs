//! What is wrong in JSON, told by place and kind, and without what was sent.

use std::borrow::Cow;

use crate::error::shorten;

/// The member that is not known, if that is the mistake.
pub fn unknown_field(error: &serde_json::Error) -> Option<String> {
    named(&error.to_string()).map(str::to_owned)
}

/// What is wrong and where, without what was sent: serde's own message quotes the value.
///
/// Its words are taken apart here, since it gives nothing else. What it quotes may hold any words, and what it expects
/// comes after them, and is ours: so only the last part of a message is ever told, and its first words
/// choose among sentences.
pub fn reason(error: &serde_json::Error) -> String {
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
    if let Some(name) = named(told) {
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

/// The member that serde does not know.
fn named(told: &str) -> Option<&str> {
    let rest = told.strip_prefix("unknown field `")?;
    let end = rest
        .rfind("`, expected ")
        .or_else(|| rest.rfind("`, there "))?;
    Some(&rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_kind_and_place_of_a_value_are_told() {
        let check = |json: &str, expected: &str| {
            let error = serde_json::from_str::<Vec<u8>>(json).unwrap_err();
            assert_eq!(reason(&error), expected, "{json}");
        };
        let number = "expected a whole number from 0 to 255";
        check(
            r#"["a, expected b"]"#,
            &format!("it is a string, {number} at line 1 column 16"),
        );
        check(
            "[4711]",
            &format!("it is a whole number, {number} at line 1 column 5"),
        );
        check(
            "[-1.5]",
            &format!("it is a number with a fraction, {number} at line 1 column 5"),
        );
        check(
            "[true]",
            &format!("it is a boolean, {number} at line 1 column 5"),
        );
        check(
            "[null]",
            &format!("it is null, {number} at line 1 column 5"),
        );
        check(
            "[{}]",
            &format!("it is an object, {number} at line 1 column 1"),
        );
        check(
            "[[]]",
            &format!("it is an array, {number} at line 1 column 1"),
        );
        check("[1", "EOF while parsing a list at line 1 column 2");
        check("[1,x]", "expected value at line 1 column 4");
    }
}
