//! JSON bodies, read strictly: every mistake names the member, the limit and the value.

use serde::Deserialize;

use crate::error::ApiError;

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
    let message = shorten_message(&error.to_string());
    if path != "." && path != "?" && error.is_data() {
        return ApiError::invalid(path, format!("{path}: {message}"));
    }
    match unknown_member(&message) {
        Some(name) => ApiError::invalid(name, message),
        None => ApiError::invalid_json(format!("the body is no valid request: {message}")),
    }
}

/// serde's errors quote the value; a long one is cut so that an error never echoes an input.
fn shorten_message(message: &str) -> String {
    const LONGEST: usize = 240;
    match message.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}

fn unknown_member(message: &str) -> Option<String> {
    let rest = message.strip_prefix("unknown field `")?;
    Some(rest.split('`').next()?.to_owned())
}
